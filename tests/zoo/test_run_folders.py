"""A run has a folder that no other run has, and one process at a time trains in it."""

import os
from types import SimpleNamespace

import pytest

pytest.importorskip("rl_zoo3")
import rl_zoo3.enjoy
import rl_zoo3.exp_manager
import rl_zoo3.load_from_hub
import rl_zoo3.train
import rl_zoo3.utils
import stable_baselines3.common.env_util

from sb3_nbsp.zoo import commands, run_folders
from sb3_nbsp.zoo.checkpointed import CheckpointedExperimentManager
from sb3_nbsp.zoo.experiments import SequenceExperimentManager
from sb3_nbsp.zoo.find_agents import folder_of
from sb3_nbsp.zoo.resume import CheckpointOptions
from sb3_nbsp.zoo.run_folders import latest_run_id, lock_run, new_run

ENV, NAME = "sb3_nbsp/PointGoal-v0", "sb3_nbsp-PointGoal-v0"


def manager(folder, algo="nbspsac", options=None, **kwargs):
    args = SimpleNamespace(conf_file=None, tensorboard_log="")
    return CheckpointedExperimentManager(args, algo, ENV, str(folder), options=options or CheckpointOptions(), **kwargs)


@pytest.mark.parametrize("folder", ["logs", "l [1]", "l*", "a?b"])
def test_runs_are_counted_in_any_folder(tmp_path, folder):
    logs = tmp_path / folder / "nbspsac"
    assert latest_run_id(logs, "Env-v0") == 0
    for number in (1, 2, 3):
        assert new_run(logs, "Env-v0")[0] == logs / f"Env-v0_{number}"
    for other in ("Env-v0_9_0a1b", "Other-Env-v0_8", "Env-v0_x", "Env-v1_7"):
        (logs / other).mkdir()
    (logs / "Env-v0_10").mkdir()
    assert latest_run_id(logs, "Env-v0") == 10
    assert new_run(logs, "Env-v0", "_uuid")[0].name == "Env-v0_11_uuid"


def test_runs_that_begin_together_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folders, "latest_run_id", lambda *_: 0)  # all of them have looked before any made its folder
    begun = [manager(tmp_path / "logs") for _ in range(3)]
    for one in begun:
        one.create_log_folder()
    assert [os.path.basename(one.save_path) for one in begun] == [f"{NAME}_{number}" for number in (1, 2, 3)]
    assert all(os.path.isdir(one.params_path) and one.params_path.startswith(one.save_path) for one in begun)


def test_a_run_that_still_trains_is_left_alone(tmp_path):
    run, lock = new_run(tmp_path, NAME)
    (run / ".saving-x").mkdir()  # of the process that trains
    with pytest.raises(ValueError, match=rf"Process {os.getpid()} is training the run in .*{NAME}_1"):
        manager(tmp_path, options=CheckpointOptions(run=run))
    assert (run / ".saving-x").is_dir()
    lock.close()
    (run / ".lock").write_text("999999999\n")  # what is left behind locks nothing
    manager(tmp_path, options=CheckpointOptions(run=run)).lock.close()
    assert not (run / ".saving-x").exists()
    lock_run(run).close()


def test_what_shows_an_agent_finds_it_in_any_folder(tmp_path, monkeypatch):
    changed = [
        *((rl_zoo3.train, name) for name in ("ExperimentManager", "argparse")),
        (rl_zoo3.exp_manager, "TrialEvalCallback"),
        (rl_zoo3.enjoy, "create_test_env"),
        *((rl_zoo3.utils, name) for name in ("get_latest_run_id", "glob")),
        (rl_zoo3.load_from_hub, "get_latest_run_id"),
        (stable_baselines3.common.env_util, "Monitor"),
    ]
    for module, name in changed:
        monkeypatch.setattr(module, name, getattr(module, name))  # as they were, after this test
    commands.register()
    monkeypatch.chdir(tmp_path)
    run = new_run("l [1]/nbspsac", NAME)[0]
    (run / f"{NAME}.zip").touch()
    assert rl_zoo3.utils.get_model_path(0, "l [1]", "nbspsac", NAME)[1] == str(run / f"{NAME}.zip")
    for steps in (5, 50, 9):
        (run / f"rl_model_{steps}_steps.zip").touch()
    last = rl_zoo3.utils.get_model_path(0, "l [1]", "nbspsac", NAME, load_last_checkpoint=True)
    assert last[1] == str(run / "rl_model_50_steps.zip")
    assert rl_zoo3.load_from_hub.get_latest_run_id("l [1]/nbspsac", NAME) == 1  # pull makes the next one
    (run / NAME).mkdir()
    (run / NAME / "args.yml").write_text(f"env: {ENV}\n")
    assert list(rl_zoo3.get_trained_models("l [1]").values()) == [("nbspsac", ENV)]
    new_run("agents/nbspsac", NAME)
    assert folder_of("nbspsac", NAME) == "agents"


def test_an_empty_name_is_no_folder():
    with pytest.raises(ValueError, match="-f must name a folder for the runs; got an empty name"):
        SequenceExperimentManager(SimpleNamespace(conf_file=None), "nbspsac", ENV, "")


def test_how_to_go_on_can_be_typed(tmp_path):
    one = manager(tmp_path / "my logs")
    one.create_log_folder()
    assert one._how_to_go_on().endswith(f"train --resume '{tmp_path}/my logs/nbspsac/{NAME}_1'")
