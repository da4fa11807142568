"""Results are carried over when a run goes on, and nothing that fails to be written costs the training."""

import errno
import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
from helpers.evaluated import STEPS, seen, sequence_env, small_sac
from stable_baselines3.common.logger import KVWriter, Logger

from sb3_nbsp.evaluation import SequenceEvalCallback, SequenceResults

FULL = OSError(errno.ENOSPC, "No space left on device")


def at(steps: int, **kwargs):
    env = sequence_env(**kwargs)
    env.env_method("fast_forward", steps)
    return env


def rows(folder: Path) -> list[tuple[int, str]]:
    return [(e.step, e.kind) for e in SequenceResults.read(folder).evaluations]


def test_a_run_that_goes_on_has_its_earlier_rows_from_the_beginning(tmp_path):
    """A second kill before the next evaluation lost them: the file was written at the first evaluation only."""
    small_sac(sequence_env()).learn(STEPS, callback=SequenceEvalCallback(0, 1, tmp_path / "one"))
    callback = SequenceEvalCallback(0, 1, tmp_path / "two", resume_from=tmp_path / "one")
    model = small_sac(at(STEPS))
    callback.init_callback(model)
    model._setup_learn(10, callback)
    callback.on_training_start({}, {})
    assert rows(tmp_path / "two") == [(0, "start"), (60, "switch")]  # before any step


def test_a_run_appended_in_its_own_folder_keeps_its_rows(tmp_path):
    small_sac(sequence_env()).learn(STEPS + 10, callback=SequenceEvalCallback(0, 1, tmp_path))
    assert rows(tmp_path) == [(0, "start"), (60, "switch"), (70, "end")]
    callback = SequenceEvalCallback(0, 1, tmp_path)  # nothing is said of earlier results
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_sac(at(STEPS + 10)).learn(3 * STEPS - 10, callback=callback)
    assert rows(tmp_path) == [(0, "start"), (60, "switch"), (70, "end"), (120, "switch"), (180, "switch"), (240, "switch")]
    assert SequenceResults.read(tmp_path).finished


def test_a_run_that_begins_or_is_another_takes_nothing_over(tmp_path):
    small_sac(sequence_env()).learn(STEPS, callback=SequenceEvalCallback(0, 1, tmp_path))
    small_sac(sequence_env()).learn(10, callback=SequenceEvalCallback(0, 1, tmp_path))
    assert rows(tmp_path) == [(0, "start"), (10, "end")]
    with pytest.warns(UserWarning, match=r"evaluations in .*results\.json are of another run and will be replaced"):
        small_sac(at(STEPS), seed=2).learn(10, callback=SequenceEvalCallback(0, 1, tmp_path))
    assert rows(tmp_path) == [(60, "switch"), (70, "end")]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    small_sac(sequence_env(cycles=1)).learn(2 * STEPS, callback=SequenceEvalCallback(0, 1, folder, draw=False))
    assert SequenceResults.read(folder).finished
    return folder


@pytest.mark.parametrize("steps, still", [(STEPS, False), (2 * STEPS - 10, False), (2 * STEPS, True)])
def test_a_finished_run_that_is_taken_back_is_not_finished(tmp_path, finished_run, steps, still):
    """And killed before its next evaluation, the file does not say so either. Beyond its end it stays finished."""
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    callback, model = SequenceEvalCallback(0, 1, tmp_path), small_sac(at(steps, cycles=1))
    callback.init_callback(model)
    model._setup_learn(10, callback)
    callback.on_training_start({}, {})
    assert SequenceResults.read(tmp_path).finished is still
    callback._close_envs()


def test_a_finished_run_that_goes_on_from_a_checkpoint_is_not_finished(tmp_path, finished_run):
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    callback = SequenceEvalCallback(0, 1, tmp_path)
    callback.results, callback._started = SequenceResults.read(tmp_path), 0.0
    state = callback.checkpoint_state()
    callback.restore_checkpoint_state({**state, "evaluations": state["evaluations"][:2]})
    assert rows(tmp_path) == [(0, "start"), (60, "switch")] and not SequenceResults.read(tmp_path).finished


def test_finished_is_not_written_over_missing_rows(tmp_path):
    callback = SequenceEvalCallback(0, 1, tmp_path)
    with pytest.warns(
        UserWarning, match=r"no evaluations at the end of its segments \[1\]: its results do not count as finished"
    ):
        small_sac(at(STEPS + 10)).learn(3 * STEPS - 10, callback=callback)
    assert seen(callback)[-1] == (240, 3, "switch") and not json.loads((tmp_path / "results.json").read_text())["finished"]


def fail_to_write(monkeypatch, *names: str) -> list[bool]:
    """Files of these names cannot be put in their place while the list's entry is true."""
    failing, replace = [True], os.replace

    def full(source, target):
        if failing[0] and os.path.basename(target) in names:
            raise FULL
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    return failing


@pytest.mark.parametrize(
    "name", ["results.json", "evaluations.csv", "matrix.csv", "sequence.png", "matrix.png", "best_model.zip"]
)
def test_a_full_disk_costs_a_file_and_not_the_training(tmp_path, monkeypatch, name):
    fail_to_write(monkeypatch, name)
    callback = SequenceEvalCallback(0, 1, tmp_path, best_model_save_path=tmp_path)
    from sb3_nbsp import NBSPSAC

    settings = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "seed": 1, "scoring_steps": 20}
    model = NBSPSAC("MlpPolicy", sequence_env(cycles=1), policy_kwargs={"net_arch": [8]}, **settings)
    expected = "results.json" if name.endswith("csv") else name  # the three are written together
    with pytest.warns(UserWarning, match=rf"{expected} could not be written \(OSError: .*No space left on device\)"):
        model.learn(2 * STEPS, callback=callback)
    assert model.num_timesteps == 2 * STEPS and callback.results.finished and len(callback.results.evaluations) == 3
    assert not (tmp_path / name).exists() and not list(tmp_path.glob("*.tmp*"))
    others = {"sequence.png", "matrix.png", "skill_neurons.json"} - {name}
    assert others <= set(os.listdir(tmp_path))


def test_what_failed_is_tried_again_at_the_next_evaluation(tmp_path, monkeypatch):
    failing = fail_to_write(monkeypatch, "results.json")
    callback, model = SequenceEvalCallback(0, 1, tmp_path), small_sac(sequence_env())
    with pytest.warns(UserWarning, match="results.json could not be written.*the next evaluation tries again"):
        model.learn(STEPS, callback=callback)
    assert not (tmp_path / "results.json").exists()
    failing[0] = False
    model.learn(STEPS, callback=callback, reset_num_timesteps=False)
    assert rows(tmp_path) == [(0, "start"), (60, "switch"), (120, "switch")]


def test_a_picture_that_cannot_be_drawn_is_a_warning(tmp_path, monkeypatch):
    """As of an evaluation that is stored twice, or a task whose name matplotlib takes for a formula."""
    import sb3_nbsp.evaluation.plots as plots

    def broken(*_args):
        raise ValueError("cost_$x_{$")

    monkeypatch.setattr(plots, "plot_sequence", broken)
    callback = SequenceEvalCallback(0, 1, tmp_path)
    with pytest.warns(UserWarning, match=r"sequence\.png could not be written \(ValueError: cost_"):
        small_sac(sequence_env()).learn(20, callback=callback)
    assert (tmp_path / "matrix.png").is_file() and (tmp_path / "results.json").is_file()


class FullLog(KVWriter):
    def write(self, *_args, **_kwargs):
        raise FULL

    def close(self):
        pass


def test_a_log_that_cannot_be_written_is_a_warning():
    model = small_sac(sequence_env())
    model.set_logger(Logger(None, [FullLog()]))
    callback = SequenceEvalCallback(0, 1)
    with pytest.warns(UserWarning, match="SB3's log could not be written"):
        model.learn(20, callback=callback)
    assert len(callback.results.evaluations) == 2


def test_ctrl_c_while_a_file_is_written_still_stops(tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(SequenceResults, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_sac(sequence_env()).learn(20, callback=SequenceEvalCallback(0, 1, tmp_path))


def test_a_damaged_file_stops_a_run_that_goes_on_before_it_trains(tmp_path):
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json: Expected the results of a sb3_nbsp sequence run"):
        small_sac(at(STEPS)).learn(10, callback=SequenceEvalCallback(0, 1, tmp_path))

    assert (tmp_path / "results.json").read_text() == "{"
