"""The experiment manager of a run that goes on: its checkpoints, settings and mark."""

import json
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

pytest.importorskip("rl_zoo3")
import rl_zoo3

from sb3_nbsp import NBSPSAC
from sb3_nbsp.zoo.checkpointed import CheckpointedExperimentManager
from sb3_nbsp.zoo.experiments import SequenceExperimentManager
from sb3_nbsp.zoo.resume import CheckpointOptions

ENV = "sb3_nbsp/PointGoal-v0"


def manager(folder: Path, algo: str = "nbspsac", conf_file=None, env=ENV, **options):
    kwargs = {name: options.pop(name) for name in ("hyperparams", "n_timesteps") if name in options}
    args = SimpleNamespace(conf_file=conf_file, tensorboard_log="tb")
    return CheckpointedExperimentManager(
        args, algo, env, str(folder), options=CheckpointOptions(**options), config=conf_file, **kwargs
    )


@pytest.mark.parametrize(("algo", "freq", "expected"), [("nbspsac", 0, True), ("nbspsac", -1, False), ("sac", 100, False)])
def test_a_run_without_a_checkpoint_begins_anew_as_it_began(tmp_path, algo, freq, expected):
    one = manager(tmp_path, algo, run=tmp_path, freq=freq)
    assert one.has_checkpoints is expected and not one.continue_training
    one.create_callbacks()
    assert any("RunCheckpoints" in str(callback) for callback in one.callbacks) is expected


def test_settings_are_read_from_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(rl_zoo3.ALGOS, "nbspsac", NBSPSAC)
    began = {"gamma": 0.9, "policy": "MlpPolicy", "env_kwargs": {"steps_per_task": 400}, "n_timesteps": 5, "tau": 0.1}
    (tmp_path / "config.yml").write_text(yaml.dump(began))
    today = tmp_path / "c.yml"
    today.write_text(yaml.dump({ENV: {**began, "gamma": 0.5, "env_kwargs": {"steps_per_task": 200}}}))
    monkeypatch.chdir(tmp_path)
    one = manager(tmp_path, conf_file="c.yml", settings=tmp_path / "config.yml", hyperparams={"tau": 0.2})
    used, saved = one.read_hyperparameters()
    assert one.sequence.total_steps == used["n_timesteps"] == saved["n_timesteps"] == 4 * 400
    assert (used["gamma"], used["tau"], list(saved)) == (0.9, 0.2, sorted(began))
    assert (one.args.conf_file, one.args.tensorboard_log) == (str(today), str(tmp_path / "tb"))
    assert manager(tmp_path, conf_file="c.yml").read_hyperparameters()[0]["gamma"] == 0.5


def test_a_modules_settings_are_those_of_no_other_run(monkeypatch, tmp_path):
    told = {ENV: {"policy": "MlpPolicy", "n_timesteps": 100, "gamma": 0.9}}
    monkeypatch.setitem(sys.modules, "own_settings", SimpleNamespace(hyperparams=deepcopy(told)))
    gammas = []
    for given in ({"gamma": 0.5}, {}):
        one = manager(tmp_path, "sac", conf_file="own_settings", hyperparams=given)
        gammas.append(one.read_hyperparameters()[0].pop("gamma"))
    assert gammas == [0.5, 0.9] and sys.modules["own_settings"].hyperparams == told


def test_steps_may_be_given_among_the_settings(tmp_path):
    given = [manager(tmp_path, **more).steps_given for more in ({}, {"n_timesteps": 9}, {"hyperparams": {"n_timesteps": 9}})]
    assert given == [False, True, True]


@pytest.mark.parametrize(
    ("algo", "env", "steps", "marked"),
    [("nbspppo", "CartPole-v1", 64, True), ("ppo", "CartPole-v1", 64, True), ("ppo", "CartPole-v1", 32, False)],
    ids=["checkpoints", "plain", "stopped"],
)
def test_the_mark_is_the_last_file_of_a_run_that_came_to_its_end(tmp_path, monkeypatch, algo, env, steps, marked):
    one = manager(tmp_path, algo, env=env)
    one.create_log_folder()
    run = Path(one.save_path)
    (run / "checkpoints").mkdir()
    order = []
    monkeypatch.setattr(SequenceExperimentManager, "_save", lambda *_: order.append((run / "finished.json").exists()))
    one.save_trained_model(SimpleNamespace(num_timesteps=steps, _total_timesteps=64))
    assert order == [False] and (run / "finished.json").is_file() is marked
    assert (run / "checkpoints").is_dir() is not marked
    if marked:
        assert json.loads((run / "finished.json").read_text()) == {"steps": 64, "goal": 64, "keeps_checkpoints": False}
    assert one.lock.closed


def test_a_run_that_failed_closes_its_env_and_gives_its_folder_free(tmp_path):
    one, closed = manager(tmp_path), []
    one.create_log_folder()
    one.when_saved.callback(closed.append, "env")
    one.leave()
    one.leave()
    assert closed == ["env"] and one.lock.closed and not (Path(one.save_path) / ".lock").exists()
