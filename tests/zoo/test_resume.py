"""``train --resume RUN``: whose arguments, which files, and what is said where there is nothing to go on with."""

import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.cases import SAC_CASE

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.folder_lock import lock_folder
from sb3_nbsp.checkpoints.callback import RunCheckpoints

pytest.importorskip("rl_zoo3")
ARGUMENTS: dict[str, Any] = {
    "algo": "nbspsac",
    "env": "sb3_nbsp/PointGoal-v0",
    "checkpoint_freq": 50,
    "conf_file": None,
    "env_kwargs": {"steps_per_task": 120, "tasks": ("east", "west")},
    "hyperparams": {"policy_kwargs": {"net_arch": [8, 8]}, "score": "taylor"},
    "n_timesteps": -1,
    "save_replay_buffer": False,
    "progress": True,
    "seed": 3,
    "trained_agent": "",
    "gym_packages": ["a", "b"],
}


def split(words):
    from sb3_nbsp.zoo import resume
    from sb3_nbsp.zoo.given_arguments import read_arguments

    return resume.split(read_arguments(words))


@pytest.fixture
def run(tmp_path) -> Path:
    """A run's folder with its arguments."""
    folder = tmp_path / "sb3_nbsp-PointGoal-v0"
    folder.mkdir()
    (folder / "args.yml").write_text(yaml.dump(OrderedDict(ARGUMENTS)))  # as rl-zoo3 does it
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.mark.parametrize("how", [["--resume"], ["-i"], ["--algo", "nbspsac", "--seed", "3", "-i"]])
def test_a_run_goes_on_with_its_own_arguments(run, how):
    options, arguments = split([*how, str(run)])
    assert options.run == run and options.freq == 50 and not options.has_checkpoint
    expected = [
        "--algo=nbspsac", "--env=sb3_nbsp/PointGoal-v0", "--env-kwargs", "steps_per_task:120", "tasks:('east', 'west')",
        "--hyperparams", "policy_kwargs:{'net_arch': [8, 8]}", "score:'taylor'", "--n-timesteps=-1", "--progress", "--seed=3",
        "--gym-packages", "a", "b",
    ]  # fmt: skip
    assert sorted(arguments) == sorted(expected)


def test_how_often_may_change(run):
    assert split(["--resume", str(run), "--checkpoint-freq", "7"])[0].freq == 7


def test_a_new_run_is_left_alone():
    from sb3_nbsp.zoo.resume import CHECKPOINT_FREQ

    options, arguments = split(["--algo", "nbspsac", "-i", "model.zip", "--checkpoint-freq", "-1"])
    assert (options.run, options.freq, arguments) == (None, -1, ["--algo", "nbspsac", "-i", "model.zip"])
    assert split([])[0].freq == CHECKPOINT_FREQ


def test_python_objects_in_a_runs_arguments_are_not_made(run):
    file = run / "sb3_nbsp-PointGoal-v0" / "args.yml"
    evil = "!!python/object/apply:os.system ['touch made']"
    file.write_text(file.read_text().replace("taylor", evil))
    with pytest.raises(ValueError, match="score in --hyperparams is a Python object"):
        split(["--resume", str(run)])
    assert not Path("made").exists()


def test_the_newest_model_of_a_run_without_checkpoints_is_taken(run):
    """Its own: not any other zip that lies in its folder."""
    (run / "checkpoints").rmdir()
    model, other = SAC_CASE.made().learn(5), ["--algo", "nbspsac", "--env", "sb3_nbsp/PointGoal4-v0"]
    for name in ("rl_model_50_steps", "rl_model_100_steps", "rl_model_9_steps", "a", "backup", "rl_model_old_steps"):
        model.save(run / f"{name}.zip")
    (run / "rl_model_200_steps.zip").write_bytes(b"PK half")
    assert split([*other, "-i", str(run)])[1] == [*other, "-i", str(run / "rl_model_100_steps.zip")]
    model.save(run / "sb3_nbsp-PointGoal-v0.zip")
    assert split([*other, "-i", str(run)])[1] == [*other, "-i", str(run / "sb3_nbsp-PointGoal-v0.zip")]


def test_a_model_in_a_folder_without_a_runs_arguments_is_found_by_the_env_that_is_given(tmp_path):
    SAC_CASE.made().save(tmp_path / "sb3_nbsp-PointGoal-v0.zip")
    begun = ["--algo", "nbspsac", "--env", "sb3_nbsp/PointGoal-v0"]
    options, arguments = split([*begun, "-i", str(tmp_path)])
    assert options.run is None and arguments == [*begun, "-i", str(tmp_path / "sb3_nbsp-PointGoal-v0.zip")]
    for others in ([], [*begun[:-1], "CartPole-v1"]):
        with pytest.raises(ValueError, match="holds no arguments of a run"):
            split([*others, "-i", str(tmp_path)])


@pytest.mark.parametrize("folder, message", [("missing", "is no folder"), (".", "holds no arguments of a run")])
def test_nothing_to_go_on_with_is_said(tmp_path, folder, message):
    with pytest.raises(ValueError, match=message):
        split(["--resume", str(tmp_path / folder)])


def test_files_are_brought_to_where_the_checkpoint_is(run):
    from sb3_nbsp.zoo.resume import prepare, tidy

    SAC_CASE.made().learn(45, callback=RunCheckpoints(run / "checkpoints", freq=25))
    (run / "0.monitor.csv").write_text("#{}\nr,l,t\n" + "1,10,0.5\n" * 4)
    (run / ".saving-x").mkdir()
    (run / ".results.abc.tmp.json").touch()
    tidy(run)
    checkpoint = prepare(run)
    n_episodes = NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env()).env.get_attr("episode_returns")[0]
    assert int(checkpoint.name) >= 25
    assert len((run / "0.monitor.csv").read_text().splitlines()) == 2 + len(n_episodes) < 6
    assert not list(run.glob(".*"))


def test_a_finished_run_is_known_by_its_last_file(run):
    from sb3_nbsp.zoo.resume import end, is_finished

    (run / "results.json").write_text('{"finished": true}')
    assert not is_finished(run, "sb3_nbsp-PointGoal-v0")
    (run / "sb3_nbsp-PointGoal-v0.zip").touch()
    assert is_finished(run, "sb3_nbsp-PointGoal-v0")
    (run / "checkpoints" / "0000000064").mkdir()
    (run / "checkpoints" / "0000000064" / "checkpoint.json").touch()  # it was killed between its model and its mark
    assert not is_finished(run, "sb3_nbsp-PointGoal-v0")
    shutil.rmtree(run / "checkpoints" / "0000000064")
    (run / "results.json").unlink()  # it was not evaluated: while there are checkpoints, there is something to go on with
    assert not is_finished(run, "sb3_nbsp-PointGoal-v0")
    end(run)
    assert is_finished(run, "sb3_nbsp-PointGoal-v0") and not (run / "checkpoints").exists()


def test_a_finished_run_is_known_by_its_mark(run):
    """Not by files that a stopped run has, too: Ctrl-C saves a model where there are no checkpoints."""
    from sb3_nbsp.zoo.resume import close, is_finished, mark_finished

    file = run / "sb3_nbsp-PointGoal-v0" / "args.yml"
    file.write_text(yaml.dump(OrderedDict(ARGUMENTS, typed={})))
    (run / "checkpoints").rmdir()
    (run / "sb3_nbsp-PointGoal-v0.zip").touch()
    assert not is_finished(run, "sb3_nbsp-PointGoal-v0")
    for keeps in (True, False):
        (run / "checkpoints").mkdir()
        mark_finished(run, 64, 64, keeps)
        assert is_finished(run, "sb3_nbsp-PointGoal-v0") is not keeps  # they go on to the sequence's end
        shutil.rmtree(run / "checkpoints")
        assert is_finished(run, "sb3_nbsp-PointGoal-v0")
    (run / "checkpoints").mkdir()
    lock = lock_folder(run)
    close(run)
    assert (run / "checkpoints").exists()  # whose process is still there
    lock.close()
    assert (run / ".lock").exists()  # it was killed
    close(run)  # without evaluations, there are no figures
    assert not (run / "checkpoints").exists() and not (run / ".lock").exists()


def test_a_finished_run_goes_on_with_its_model_where_another_sequence_is_given(run):
    from sb3_nbsp.zoo.resume import end

    model = run / "sb3_nbsp-PointGoal-v0.zip"
    SAC_CASE.made().save(model)
    SAC_CASE.made().save(run / "rl_model_50_steps.zip")
    (run / "results.json").write_text('{"finished": true}')
    end(run)
    assert split(["--resume", str(run)])[0].run == split(["-i", str(run)])[0].run == run  # to be told that it is finished
    longer = ["--algo", "nbspsac", "--env", "sb3_nbsp/PointGoal4-v0"]
    options, arguments = split([*longer, "-i", str(run)])
    assert options.run is None and arguments == [*longer, "-i", str(model)]


def test_a_run_of_an_algorithm_without_checkpoints_goes_on_with_its_own_arguments(run):
    (run / "checkpoints").rmdir()
    SAC_CASE.made_parent().save(run / "rl_model_50_steps.zip")
    options, arguments = split(["--resume", str(run)])
    assert options.run is None and arguments[-2:] == ["-i", str(run / "rl_model_50_steps.zip")]
    assert "--env=sb3_nbsp/PointGoal-v0" in arguments


@pytest.mark.parametrize("beside", [["-n", "500"], ["--seed", "4"], ["-params", "gamma:0.9"]])
@pytest.mark.parametrize("how", ["--resume", "-i"])
def test_what_would_change_the_run_is_refused_beside_it(run, how, beside):
    with pytest.raises(ValueError, match=f"the run's own arguments; got {' '.join(beside)}"):
        split([how, str(run), *beside])
    assert split([how, str(run), "--verbose", "2", "-P"])[1][-3:] == ["--verbose", "2", "-P"]


def test_a_model_is_not_named_beside_the_run(run):
    with pytest.raises(ValueError, match=r"got -i model\.zip beside it"):
        split(["--resume", str(run), "-i", "model.zip"])


def test_settings_come_from_the_run_and_not_from_the_file_that_it_began_with(run):
    file = run / "sb3_nbsp-PointGoal-v0" / "args.yml"
    file.write_text(file.read_text().replace("- conf_file\n    - null", "- conf_file\n    - gone.yml"))
    assert "--conf-file=gone.yml" in split(["--resume", str(run)])[1]  # there is nothing else
    config = file.with_name("config.yml")
    config.write_text("gamma: 0.9\n")
    options, arguments = split(["--resume", str(run)])
    assert (options.settings, options.conf_file) == (config, "gone.yml")
    assert not any("gone" in word for word in arguments)
    assert options.typed["hyperparams"] == ["policy_kwargs:{'net_arch': [8, 8]}", "score:'taylor'"]


def test_what_lies_beside_a_model_is_only_taken_by_its_name(tmp_path):
    """Not any pickle that is called like a model that was saved by hand."""
    from sb3_nbsp.zoo.experiments import SequenceExperimentManager

    names = ("model.pkl", "rl_model_replay_buffer_5_steps.pkl", "replay_buffer.pkl")
    for name in names:
        (tmp_path / name).touch()
    for name, found in (("model", None), ("rl_model_5_steps", names[1]), ("env", names[2])):
        manager = SequenceExperimentManager.__new__(SequenceExperimentManager)
        manager.__dict__.update(trained_agent=str(tmp_path / f"{name}.zip"), continue_training=True, env_name="env")
        assert manager._saved_beside("replay_buffer") == (found and tmp_path / found)
        assert manager._saved_beside("vecnormalize") is None
