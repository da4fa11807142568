"""A switch whose evaluation was lost, because the run was stopped in it or before it, gets its row all the same."""

import contextlib

import pytest
from helpers import NBSP_SETTINGS
from helpers.evaluated import STEPS, seen, sequence_env, small_sac
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import Evaluation, SequenceEvalCallback, SequenceResults, TaskEvaluator

UNEVEN = 58  # per task: three sub-envs switch at 60, 117, 174 and 234


def gone_on(model: BaseAlgorithm, steps: int, env: VecEnv, callback: SequenceEvalCallback, until: int) -> SequenceEvalCallback:
    """Plain SB3 goes on where the command would take it."""
    env.env_method("set_n_envs", env.num_envs)
    env.env_method("fast_forward", steps)
    model._last_obs = None
    model.set_env(env)
    model.learn(until - steps, callback=callback, reset_num_timesteps=False)
    return callback


def test_a_switch_whose_evaluation_was_lost_is_made_up_for():
    """A run was killed after the checkpoint of the switch's step and before its evaluation."""
    model = small_sac(sequence_env()).learn(STEPS)
    callback = gone_on(model, STEPS, sequence_env(), SequenceEvalCallback(0, 1), 2 * STEPS)
    assert seen(callback) == [(60, 0, "switch"), (120, 1, "switch")]


@pytest.mark.parametrize("earlier", [None, "start", "end"])
def test_where_sub_envs_do_not_divide_a_task_too(tmp_path, earlier):
    """What an earlier version filed at the same step, under the segment that follows, gives way."""
    model = small_sac(sequence_env(3, steps_per_task=UNEVEN)).learn(60)
    callback = SequenceEvalCallback(0, 1)
    if earlier is not None:
        values = {"east": 0.0, "west": 0.0}
        rows = [Evaluation(0, 0, "start", dict(values), values, 0.1), Evaluation(60, 1, earlier, dict(values), values, 0.1)]
        SequenceResults(("east", "west"), ("east", "west") * 2, (UNEVEN,) * 4, rows).write(tmp_path)
        callback = SequenceEvalCallback(0, 1, resume_from=tmp_path)
    gone_on(model, 60, sequence_env(3, steps_per_task=UNEVEN), callback, 234)
    expected = [(60, 0, "switch"), (117, 1, "switch"), (174, 2, "switch"), (234, 3, "switch")]
    assert seen(callback) == ([(0, 0, "start")] if earlier else []) + expected
    assert callback.results.finished


def test_a_place_soon_after_a_switch_is_no_switch_again():
    """With its row, of another number of sub-envs, the switch is not evaluated twice."""
    callback = SequenceEvalCallback(0, 1)
    model = small_sac(sequence_env(1, steps_per_task=UNEVEN)).learn(UNEVEN + 2, callback=callback)
    env = sequence_env(1, steps_per_task=UNEVEN)
    gone_on(model, UNEVEN + 2, env, callback, UNEVEN + 4)
    assert seen(callback) == [(0, 0, "start"), (58, 0, "switch"), (60, 1, "end"), (62, 1, "end")]


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C in the evaluation that is the ``at``-th."""
    evaluate, calls = TaskEvaluator.evaluate, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == at:
            raise KeyboardInterrupt
        return evaluate(self, *args)

    monkeypatch.setattr(TaskEvaluator, "evaluate", interrupted)


@pytest.mark.parametrize("n_envs, steps, end", [(1, STEPS, 60), (3, UNEVEN, 60)])
def test_ctrl_c_in_a_switchs_evaluation(monkeypatch, n_envs, steps, end):
    """The command ends the training of callbacks all the same, which evaluates: as the switch, not as an end."""
    interrupt(monkeypatch, at=2)
    callback = SequenceEvalCallback(0, 1)
    model = small_sac(sequence_env(n_envs, steps_per_task=steps))
    with contextlib.suppress(KeyboardInterrupt):
        model.learn(4 * steps, callback=callback)
    callback.on_training_end()
    assert seen(callback) == [(0, 0, "start"), (end, 0, "switch")]
    gone_on(model, end, sequence_env(n_envs, steps_per_task=steps), callback, 4 * steps)
    assert callback.results.finished and [row[1:] for row in seen(callback)][1:] == [(k, "switch") for k in range(4)]


def test_ctrl_c_elsewhere_is_an_end(monkeypatch):
    interrupt(monkeypatch, at=2)
    callback = SequenceEvalCallback(20, 1)
    with contextlib.suppress(KeyboardInterrupt):
        small_sac(sequence_env()).learn(STEPS, callback=callback)
    callback.on_training_end()
    assert seen(callback) == [(0, 0, "start"), (20, 0, "end")]


@pytest.mark.filterwarnings("ignore:.*(transitions so far|No transition)")
def test_ctrl_c_with_an_algorithm_that_knows_its_place(monkeypatch, tmp_path):
    interrupt(monkeypatch, at=2)
    callback = SequenceEvalCallback(0, 1, tmp_path)
    model = NBSPSAC("MlpPolicy", sequence_env(cycles=1), **NBSP_SETTINGS)
    with contextlib.suppress(KeyboardInterrupt):
        model.learn(2 * STEPS, callback=callback)
    callback.on_training_end()
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=sequence_env(cycles=1))
    callback = SequenceEvalCallback(0, 1, tmp_path)
    loaded.learn(2 * STEPS - loaded.position.steps, reset_num_timesteps=False, callback=callback)
    results = SequenceResults.read(tmp_path)
    assert [(e.segment, e.kind) for e in results.evaluations] == [(0, "start"), (0, "switch"), (1, "switch")]
    assert results.finished
