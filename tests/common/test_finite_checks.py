"""NaN and infinity are refused before anything is stored or learned from, and what is bad is named."""

from math import inf, nan

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import HORIZON, ToyEnv
from helpers.cases import PPO_CASE, SAC_CASE, TABLE, every_case
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp.base.finite import NotFiniteError, all_finite, first_bad_tensor, first_not_finite
from sb3_nbsp.common.finite_checks import check_losses, check_parameters
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv

AT = 30  # step of a sub-env


class Bad(gym.Wrapper):
    """Gives one bad number from a step on."""

    def __init__(self, env, what, value, at=AT):
        super().__init__(env)
        self.what, self.value, self.at, self.n = what, value, at, 0

    def reset(self, **kwargs):
        obs, info = self.env.reset(**kwargs)
        return self._spoilt(obs, "observation"), info

    def step(self, action):
        self.n += 1
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._spoilt(obs, "observation"), self._spoilt(reward, "reward"), terminated, truncated, info

    def _spoilt(self, value, what):
        if what != self.what or self.n < self.at:
            return value
        if isinstance(value, dict):
            return {**value, "b": np.full_like(value["b"], self.value)}
        return np.full_like(value, self.value) if isinstance(value, np.ndarray) else self.value


def bad_env(case, what, value, n_envs=1, at=AT):
    """Only the last sub-env is bad."""
    plain = [PointGoalEnv("east", horizon=HORIZON, discrete=case.discrete) for _ in range(n_envs)]
    made = [*plain[:-1], Bad(plain[-1], what, value, at)]
    return DummyVecEnv([lambda env=env: env for env in made])


@every_case
@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize(("what", "value"), [("observation", nan), ("observation", inf), ("reward", nan), ("reward", -inf)])
def test_the_env_step_that_is_bad_is_refused(case, what, value, n_envs):
    model = case.made(bad_env(case, what, value, n_envs))
    with pytest.raises(
        NotFiniteError, match=rf"The {what} of sub-env {n_envs - 1} is not.* env step {AT * n_envs}: {what}.*{value}"
    ):
        model.learn(120)
    stored = model.rollout_buffer if case.on_policy else model.replay_buffer
    assert np.isfinite(stored.rewards).all() and np.isfinite(stored.observations).all()
    check_parameters(model)


@pytest.mark.parametrize("case", [SAC_CASE, PPO_CASE], ids=lambda case: case.id)
def test_the_first_observation_is_looked_at(case):
    with pytest.raises(NotFiniteError, match=r"observation of sub-env 0 is not a finite number at reset\(\)"):
        case.made(bad_env(case, "observation", nan, at=0)).learn(60)


@pytest.mark.parametrize("case", [SAC_CASE, PPO_CASE], ids=lambda case: case.id)
def test_an_episodes_last_observation_is_looked_at(case):
    """A VecEnv gives the next episode's first one in its place."""

    class LastIsBad(gym.Wrapper):
        def step(self, action):
            obs, reward, terminated, truncated, info = self.env.step(action)
            return obs * (nan if truncated else 1.0), reward, terminated, truncated, info

    with pytest.raises(NotFiniteError, match="The last observation of an episode of sub-env 0"):
        case.made(DummyVecEnv([lambda: LastIsBad(PointGoalEnv("east", horizon=HORIZON))])).learn(120)


def test_the_part_of_a_dict_is_named():
    space = spaces.Dict({"a": spaces.Box(0, 255, (4,), np.uint8), "b": spaces.Box(-1.0, 1.0, (2,))})
    model = SAC_CASE.made(Bad(ToyEnv(space), "observation", nan), policy="MultiInputPolicy")
    with pytest.raises(NotFiniteError, match=r"observation\['b'\]\[0\] is nan"):
        model.learn(60)


def test_behind_normalisation_the_sub_env_that_is_bad_is_named():
    """One bad reward makes the statistics bad, and with them the rewards of all."""
    model = SAC_CASE.made(VecNormalize(bad_env(SAC_CASE, "reward", nan, n_envs=2)))
    with pytest.raises(NotFiniteError, match="reward of sub-env 1"):
        model.learn(120)


def test_the_task_is_named():
    def east(render_mode=None):
        return PointGoalEnv("east", horizon=HORIZON)

    tasks = Task("good", east), Task("bad", lambda render_mode: Bad(east(), "reward", nan, at=5))
    with pytest.raises(NotFiniteError, match="sub-env 0, task 'bad' is not a finite number at env step 65"):
        SAC_CASE.made(TaskSequenceEnv(TaskSequence(tasks, 60)), scoring_steps=20).learn(120)


def test_scoring_refuses_too():
    model = SAC_CASE.made(SAC_CASE.point_goal()).learn(60)
    with pytest.raises(NotFiniteError, match="'east' was to be scored gave a reward that is not finite"):
        model.consolidate(Bad(PointGoalEnv("east", horizon=HORIZON), "reward", nan), "east")


@every_case
def test_learning_that_diverges_says_so(case):
    with pytest.raises(NotFiniteError, match="learning has diverged"):
        case.made(learning_rate=1e30).learn(120)


@every_case
def test_a_bad_loss_is_named(case):
    model = case.made().learn(40)
    model.logger.record("train/some_loss", nan)
    model.logger.record("train/explained_variance", nan)  # SB3's may be
    with pytest.raises(NotFiniteError, match="train/some_loss is nan"):
        check_losses(model)


@every_case
def test_a_bad_parameter_is_named_wherever_much_depends_on_it(case):
    model = case.made().learn(40)
    check_parameters(model)
    name, parameter = list(model.policy.named_parameters())[1]
    parameter.data.view(-1)[0] = inf
    for checked in (check_parameters, lambda model: model.consolidate(task="east")):
        with pytest.raises(NotFiniteError, match=f"The parameter policy.{name} of {case.cls.__name__} is not finite"):
            checked(model)


def test_an_action_that_is_not_finite_is_not_the_envs_fault():
    """A policy that is NaN may show itself first in what the env gives back."""
    model = TABLE[2].made(bad_env(TABLE[2], "reward", nan))
    model.policy.q_net.q_net[0].weight.data[:] = nan
    with pytest.raises(NotFiniteError, match=r"The parameter policy\.q_net"):
        model.learn(60)


def test_numbers_are_found_and_named():
    assert all_finite(np.zeros(3)) and all_finite({"a": np.zeros(2), "b": np.ones((2, 2), np.uint8)})
    assert all_finite(np.full(2, 3e38, np.float32))  # whose sum is none
    assert first_not_finite(np.zeros((2, 2))) is None and first_not_finite(1.0) is None
    assert first_not_finite(np.array([[0.0, 1.0], [2.0, -inf]])) == ("[1, 1]", -inf)
    assert first_not_finite({"a": np.zeros(1), "b": np.array([0.0, inf])}) == ("['b'][1]", inf)
    assert first_not_finite(inf) == ("", inf)
    sound = {"a": th.zeros(2), "n": th.ones(2, dtype=th.int64)}
    assert first_bad_tensor(sound) is None and first_bad_tensor({}) is None
    assert first_bad_tensor({**sound, "b": th.tensor([0.0, nan]), "c": th.tensor(nan)}) == "b"
