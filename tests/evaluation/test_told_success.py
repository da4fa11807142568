"""Envs that tell success only when it happens: an episode that told nothing counts as one without."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers.evaluated import small_sac
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_nbsp.evaluation import Evaluation, SequenceEvalCallback, SequenceResults, TaskEvaluator
from sb3_nbsp.evaluation.told_success import telling_tasks, with_failures
from sb3_nbsp.evaluation.watch_table import TaskReport
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

STEPS = 20
EPISODE = 4


class Lucky(gym.Env):
    """Says so when an episode succeeds: in which, a script tells that all episodes of a name share. Else no key at all."""

    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, script: list[bool]) -> None:
        self.script = script

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        ended = self.steps == EPISODE
        info = {"is_success": True} if ended and self.script and self.script.pop(0) else {}
        return np.zeros(2, dtype=np.float32), 1.0, False, ended, info


def env_of(training: dict[str, list[bool]], judged: dict[str, list[bool]] | None = None) -> tuple[VecEnv, TaskSequence]:
    """Tasks whose episodes succeed as scripted; without scripts for evaluation its envs are those of training."""

    def make(scripts: dict[str, list[bool]], name: str) -> Any:
        return lambda render_mode: gym.wrappers.TimeLimit(Lucky(scripts[name]), EPISODE + 1)

    tasks = tuple(Task(name, make(training, name), make(judged, name) if judged else None) for name in training)
    sequence = TaskSequence(tasks, STEPS, cycles=1)
    return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))]), sequence


def judge(script: list[bool]) -> TaskEvaluator:
    env, sequence = env_of({"a": [], "b": []}, {"a": script, "b": []})
    return TaskEvaluator(env, sequence, n_eval_episodes=4)


@pytest.mark.known_answer
@pytest.mark.parametrize("script, share", [([True] * 4, 1.0), ([False, True, False, False], 0.25), ([False] * 4, None)])
def test_the_share_is_over_all_episodes(script, share):
    success, returns = judge(script).evaluate(small_sac(env_of({"a": [], "b": []})[0]))
    assert success == {"a": share, "b": None} and returns == {"a": 4.0, "b": 4.0}


def test_an_evaluator_goes_on_knowing_it():
    evaluator, model = judge([False] * 4 + [True] + [False] * 11), small_sac(env_of({"a": [], "b": []})[0])
    assert [evaluator.evaluate(model)[0]["a"] for _ in range(3)] == [None, 0.25, 0.0]


def rates(callback: SequenceEvalCallback) -> list[tuple[float | None, float | None]]:
    return [(row.success["a"], row.success["b"]) for row in callback.results.evaluations]


def learned(judged: dict[str, list[bool]], folder: Any = None, steps: int = 2 * STEPS, **kwargs: Any) -> SequenceEvalCallback:
    env, _ = env_of({"a": [], "b": []}, judged)
    callback = SequenceEvalCallback(0, 2, folder, draw=False, **kwargs)
    small_sac(env).learn(steps, callback=callback)
    return callback


@pytest.mark.known_answer
def test_evaluations_before_the_first_success_are_failures(tmp_path):
    callback = learned({"a": [False, False, False, True, False, False], "b": [False] * 5 + [True]}, tmp_path)
    assert rates(callback) == [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)]
    assert callback.results.measure.name == "success"
    assert SequenceResults.read(tmp_path).evaluations == callback.results.evaluations


def test_a_task_that_never_tells_stays_without_success():
    callback = learned({"a": [], "b": []})
    assert rates(callback) == [(None, None)] * 3 and callback.results.measure.name == "return"


def test_a_run_that_goes_on_goes_on_knowing_it(tmp_path):
    first = learned({"a": [True, False], "b": [True, False]}, tmp_path, steps=STEPS)
    assert rates(first) == [(0.5, 0.5), (0.0, 0.0)]
    env, _ = env_of({"a": [], "b": []}, {"a": [], "b": []})
    env.env_method("fast_forward", STEPS)
    callback = SequenceEvalCallback(0, 2, tmp_path, draw=False)
    small_sac(env).learn(STEPS, callback=callback)
    assert rates(callback) == [(0.5, 0.5), (0.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize("own_env", [False, True])
def test_training_tells_of_tasks_that_are_judged_on_the_same_env(own_env):
    """The script is that of one training episode; every evaluation fails."""
    scripts = {"a": [False] * 2 + [True], "b": []}
    env, _ = env_of(scripts, {"a": [], "b": []} if own_env else None)
    callback = SequenceEvalCallback(0, 2)
    model = small_sac(env)
    model.learn(STEPS, callback=callback)
    assert rates(callback) == [(None if own_env else 0.0, None)] * 2
    assert callback.checkpoint_state()["telling"] == ([] if own_env else ["a"])
    other = SequenceEvalCallback(0, 2)
    other.results, other._started = replace(callback.results), 0.0
    other.restore_checkpoint_state(callback.checkpoint_state())
    assert other._telling == callback._telling


def test_another_agent_begins_knowing_nothing(tmp_path):
    callback = learned({"a": [True, True], "b": []})
    small_sac(env_of({"a": [], "b": []})[0]).learn(5, callback=callback)
    assert rates(callback) == [(None, None)] * 2


@pytest.mark.known_answer
def test_only_what_is_not_known_becomes_a_failure():
    rows = [
        Evaluation(0, 0, "start", {"a": None, "b": None}, {"a": 1.0, "b": 1.0}, 0.1),
        Evaluation(5, 0, "interval", {"a": 0.5}, {"a": 1.0}, 0.1),
    ]
    assert telling_tasks(rows) == {"a"}
    read = with_failures(rows, {"a"})
    assert [row.success for row in read] == [{"a": 0.0, "b": None}, {"a": 0.5}] and read[1] is rows[1]


def test_what_is_watched_is_counted_so_too():
    env, _ = env_of({"a": [False, True, False, False, False], "b": []})
    report = TaskReport(env)
    report.reset()
    for _ in range(STEPS):
        report.step(np.zeros((1, 1)))
    assert report.table().splitlines()[1].split()[:3] == ["a", "5", "0.20"]
