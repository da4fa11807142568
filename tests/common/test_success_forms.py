"""Success in every form that Gymnasium and SB3 envs use, by hand, on a sequence and in evaluation."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import HORIZON, VECTOR, ToyEnv
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, on_cases
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp.base.success import spread_over_episodes, success_of
from sb3_nbsp.common.success_check import check_success_is_told
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

NAN = float("nan")
FORMS = {
    "float": float,
    "bool": bool,
    "numpy bool": np.bool_,
    "0-d array": np.array,
    "1-element array": lambda value: np.array([float(value)]),
    "1x1 array": lambda value: np.array([[value]]),
    "0-d tensor": th.tensor,
    "1-element tensor": lambda value: th.tensor([float(value)], requires_grad=True),
    "half tensor": lambda value: th.tensor([float(value)], dtype=th.bfloat16),
    "list": lambda value: [value],
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


class TellingEnv(gym.Wrapper):
    """Tells an episode's success (whether its first reward is positive) in some form, at every step or at the end only."""

    def __init__(self, env: gym.Env, form: Any, key: str, at_end: bool, none_before: bool):
        super().__init__(env)
        self.form, self.key, self.at_end, self.none_before = form, key, at_end, none_before

    def reset(self, **kwargs: Any) -> Any:
        self.verdict: bool | None = None
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, _ = self.env.step(action)
        self.verdict = bool(reward > 0) if self.verdict is None else self.verdict
        info: dict[str, Any] = {}
        if terminated or truncated or not self.at_end:
            info[self.key] = self.form(self.verdict)
        elif self.none_before:
            info[self.key] = None
        return obs, reward, terminated, truncated, info


def telling(
    form: Any, key: str = "is_success", at_end: bool = True, none_before: bool = False, discrete: bool = False
) -> gym.Env:
    env: gym.Env = ToyEnv(VECTOR)
    if discrete:
        actions = np.array([[1.0, 0.0], [-1.0, 0.0], [0.5, 1.0]], dtype=np.float32)
        env = gym.wrappers.TransformAction(env, lambda action: actions[action], gym.spaces.Discrete(3))
    return TellingEnv(env, form, key, at_end, none_before)


def telling_sequence(**kwargs: Any) -> TaskSequence:
    tasks = [Task(name, lambda render_mode: telling(**kwargs)) for name in ("A", "B")]
    return TaskSequence(tasks, steps_per_task=60, cycles=1)


@pytest.mark.known_answer
@each_form
@pytest.mark.parametrize("key", ["success", "is_success"])
@pytest.mark.parametrize("value", [True, False])
def test_success_is_read_in_every_form(form, key, value):
    assert success_of({key: form(value)}) == float(value)


@pytest.mark.known_answer
def test_what_is_not_told_is_not_a_number():
    assert np.isnan(success_of({})) and np.isnan(success_of({"is_success": None, "success": np.array(None)}))
    assert success_of({"success": None, "is_success": True}) == 1.0 and success_of({"success": 0, "is_success": True}) == 0.0


@pytest.mark.parametrize("value", [np.array([1.0, 0.0]), th.ones(2), "yes", {"a": 1}, []])
def test_what_is_not_one_number_is_warned_of(value):
    with pytest.warns(UserWarning, match=r"info\['is_success'\] holds .* expected a bool, a number"):
        assert np.isnan(success_of({"is_success": value}))


@pytest.mark.known_answer
@pytest.mark.parametrize(
    "told, starts, ended, spread",
    [
        ([NAN, NAN, 1, NAN, 0], [1, 0, 0, 1, 0], True, [1, 1, 1, 0, 0]),  # at the end only
        ([NAN, 1, NAN, 0, NAN, NAN], [1, 0, 1, 0, 1, 0], False, [1, 1, 0, 0, 0.5, 0.5]),  # cut off: an average one
        ([NAN, 1, NAN, NAN], [1, 0, 1, 0], True, [1, 1, NAN, NAN]),  # an episode that tells nothing
        ([NAN, NAN], [1, 0], False, [NAN, NAN]),
        ([NAN, 0, NAN, 1, NAN], [1, 0, 0, 0, 0], True, [0, 0, 1, 1, 1]),  # now and then
        ([0, 1, 0], [1, 0, 0], False, [0, 1, 0]),  # at every step
    ],
)
def test_success_is_spread_over_its_episode(told, starts, ended, spread):
    ends = np.array([*starts[1:], ended], dtype=bool)
    np.testing.assert_array_equal(spread_over_episodes(np.array(told), np.array(starts, dtype=bool), ends), spread)


@pytest.mark.known_answer
def test_success_is_spread_where_several_sub_envs_were_cut_off():
    """Told at an episode's end only: of the first sub-env's second episode and of the second's first it is not known."""
    starts, ends = np.array([1, 0, 1, 1, 0, 1], dtype=bool), np.array([0, 1, 0, 0, 0, 1], dtype=bool)
    told = np.array([NAN, 1, NAN, NAN, NAN, 0])
    np.testing.assert_array_equal(spread_over_episodes(told, starts, ends), [1, 1, 0.5, 0.5, 0.5, 0])


@each_form
@pytest.mark.parametrize("metric", ["auto", "success"])
def test_by_hand_every_form_is_the_goal(form, metric):
    model = SAC_CASE.made(telling(form, none_before=True), goal_metric=metric).learn(30)
    steps = model.consolidate(task="A")
    assert steps is not None and steps.goal_metric == "success" and 0.0 < steps.good_share < 1.0


@pytest.mark.parametrize("none_before", [True, False])
@pytest.mark.parametrize("at_end", [True, False])
@on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
def test_on_a_sequence_and_in_evaluation(case, at_end, none_before):
    sequence = telling_sequence(form=FORMS["1-element array"], at_end=at_end, none_before=none_before, discrete=case.discrete)
    callback = SequenceEvalCallback(eval_freq=0, n_eval_episodes=4)
    model = case.made(TaskSequenceEnv(sequence), goal_metric="success").learn(120, callback=callback)
    assert {skill.goal_metric for skill in model.skill_neurons.values()} <= {"success", "reward"}  # reward: all succeeded
    assert set(model.skill_neurons) == {"A", "B"}
    for evaluation in callback.results.evaluations:
        assert all(rate in (0.0, 0.25, 0.5, 0.75, 1.0) for rate in evaluation.success.values())


def test_goal_metric_success_where_none_is_told_is_refused_before_training():
    model = SAC_CASE.made(TaskSequenceEnv(telling_sequence(form=lambda _: None)), goal_metric="success")
    with pytest.raises(ValueError, match=r"needs `success` or `is_success` in the info of task A, .*at the episode's end"):
        model.learn(120)
    assert model.replay_buffer.size() == 0


def test_where_no_episode_ends_in_time_nobody_can_know():
    sequence = telling_sequence(form=bool)
    with pytest.warns(UserWarning, match="Task A told no success within 0 random steps, in which no episode ended"):
        check_success_is_told(sequence, 0)
    check_success_is_told(sequence, HORIZON)


def test_none_is_not_told_and_auto_takes_the_return():
    model = SAC_CASE.made(telling(lambda _: None, at_end=False)).learn(30)
    assert model.consolidate(task="A").goal_metric == "return"
    callback = SequenceEvalCallback(eval_freq=0, n_eval_episodes=2)
    env = TaskSequenceEnv(telling_sequence(form=lambda _: None, at_end=False))
    SAC_CASE.made(env).learn(60, callback=callback)
    assert callback.results.evaluations[-1].success == {"A": None, "B": None}


def test_a_task_env_keeps_an_episodes_success():
    class NowAndThen(ToyEnv):
        def step(self, action: np.ndarray) -> Any:
            obs, reward, _, truncated, _ = super().step(action)
            told = {2: np.array([1.0]), 4: False}.get(self.steps)
            return obs, reward, False, truncated, {"success": told, "is_success": None}

    sequence = TaskSequence([Task("A", lambda render_mode: NowAndThen(VECTOR))], steps_per_task=60, cycles=1)
    env = sequence.make_task_env("A")
    for _ in range(2):
        env.reset()
        infos = [env.step(env.action_space.sample())[4] for _ in range(HORIZON)]
        assert [info.get("success") for info in infos[:5]] == [None, 1.0, None, 0.0, None]
        assert [info.get("is_success") for info in infos[:5]] == [None, True, True, True, True]
        assert infos[-1]["is_success"] is True


def test_several_sub_envs_by_hand():
    env = DummyVecEnv([lambda: telling(np.array)] * 4)
    model = PPO_CASE.made(env, goal_metric="success").learn(64)
    assert model.consolidate(telling(np.array), task="A").goal_metric == "success"
