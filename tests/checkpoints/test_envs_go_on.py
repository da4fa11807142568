"""What wrappers of every kind hold, around a task and within it, goes on with the run; what nobody can tell is said."""

import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, NormalizeObservation, NormalizeReward, RecordEpisodeStatistics, TimeLimit
from helpers import HORIZON, ToyEnv, same
from helpers.cases import SAC_CASE
from helpers.outcomes import everything
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.wrapper_states import wrapper_states
from sb3_nbsp.checkpoints import sub_envs
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.checkpoints.env_state import env_state, restore_env
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv, point_goal_sequence


def assert_goes_on(env: Callable[[], Any], folder: Path, policy: str = "MlpPolicy", **settings: Any) -> None:
    """A model that learned 55 and 30 steps, and one that was loaded in between; no warning is allowed."""
    model = SAC_CASE.made(env(), policy, **settings).learn(55)
    model.save_checkpoint(folder)
    whole = everything(model.learn(30, reset_num_timesteps=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Episodes of .* begin as those of")
        stopped = everything(NBSPSAC.load_checkpoint(folder, env()).learn(30, reset_num_timesteps=False))
    for name in whole:
        assert same(stopped[name], whole[name]), name


class EveryThird(gym.Wrapper):
    """A user's own, with a counter over all episodes and a generator, which tell on the rewards."""

    def __init__(self, env: gym.Env, every: int = 3):
        super().__init__(env)
        self.every, self.count, self.own = every, 0, np.random.default_rng(5)

    def step(self, action: Any) -> Any:
        self.count += 1
        obs, reward, *rest = self.env.step(action)
        return obs, float(reward) + (self.count % self.every) + self.own.random(), *rest


class Hides(EveryThird):
    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.thing = object()


WRAPPERS: dict[str, Callable[[gym.Env], gym.Env]] = {
    "time limit": lambda env: TimeLimit(env, 20),
    "rewards": NormalizeReward,
    "observations": NormalizeObservation,
    "frames": lambda env: gym.wrappers.FlattenObservation(FrameStackObservation(env, 3)),
    "own": EveryThird,
    "statistics": RecordEpisodeStatistics,
}


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_around_a_task_go_on(wrapper, tmp_path):
    task = point_goal_sequence(horizon=1000).make_task_env

    def env() -> VecEnv:
        wrapped = wrapper(TimeLimit(task("east"), 15))
        is_told = isinstance(wrapped, RecordEpisodeStatistics)
        return DummyVecEnv([lambda: wrapped if is_told else Monitor(wrapped)])

    assert_goes_on(env, tmp_path)


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_within_tasks_go_on(wrapper, tmp_path):
    """Over a switch: the second task's wrappers, and the first one's, are those of a run that was not stopped."""

    def env() -> VecEnv:
        tasks = [Task(name, lambda *_, name=name: wrapper(PointGoalEnv(name, horizon=HORIZON))) for name in ("east", "north")]
        return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(TaskSequence(tasks, steps_per_task=45)))])

    if wrapper is RecordEpisodeStatistics:
        pytest.skip("Monitor tells episodes, too")
    assert_goes_on(env, tmp_path)


@pytest.mark.parametrize("inside", [True, False])
def test_what_a_wrapper_hides_is_said(inside, tmp_path):
    def env() -> VecEnv:
        wrapper = Hides if inside else lambda env: env
        sequence = TaskSequence([Task("a", lambda *_: wrapper(PointGoalEnv("east", horizon=HORIZON)))], steps_per_task=100)
        task = sequence.make_task_env("a")
        return DummyVecEnv([lambda: Monitor(task if inside else Hides(task))])

    SAC_CASE.made(env()).learn(33).save_checkpoint(tmp_path)
    with pytest.warns(UserWarning, match="could not be played again"):
        NBSPSAC.load_checkpoint(tmp_path, env())


class Collects(gym.Wrapper):
    """As many a user's wrapper does: every reward of the training."""

    def __init__(self, env: gym.Env, n: int = 0):
        super().__init__(env)
        self.rewards = [0.0] * n

    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        self.rewards.append(float(reward))
        return observation, reward, *rest


@pytest.mark.parametrize(
    ("collected", "is_kept"),
    [
        ([0.0] * 10_000, True),
        ([0.0] * 1_000_000, False),
        (np.zeros(100_000), True),
        (np.zeros(1_000_000), False),
        ([th.zeros(()), "x" * 20_000], True),
        ([np.zeros(50_000)] * 3, False),
        ({k: [0.0] * 2_000 for k in range(6)}, False),
        (deque([0.0] * 20_000), False),
    ],
)
def test_what_grows_with_the_training_is_not_copied_at_every_reset(collected, is_kept):
    wrapper = Collects(PointGoalEnv("east"))
    wrapper.rewards = collected
    state = wrapper_states(wrapper)[0]
    assert ("rewards" in state["attributes"], state["hidden"]) == ((True, []) if is_kept else (False, ["rewards"]))


def test_a_wrapper_that_collects_too_much_is_said(tmp_path):
    def env() -> VecEnv:
        task = TaskSequence([Task("a", lambda *_: PointGoalEnv("east", horizon=HORIZON))], steps_per_task=100).make_task_env(
            "a"
        )
        return DummyVecEnv([lambda: Monitor(Collects(task, 20_000))])

    SAC_CASE.made(env()).learn(33).save_checkpoint(tmp_path)
    with pytest.warns(UserWarning, match="could not be played again"):
        NBSPSAC.load_checkpoint(tmp_path, env())


def test_other_rewards_in_the_replay_are_seen(tmp_path):
    """The observation is the same each time."""

    class Rewards(PointGoalEnv):
        made = 0

        def __init__(self) -> None:
            super().__init__("east", horizon=HORIZON)
            Rewards.made += 1
            self.bonus = Rewards.made

        def step(self, action: Any) -> Any:
            obs, reward, *rest = super().step(action)
            return obs, float(reward) + self.bonus, *rest

    def env() -> VecEnv:
        return DummyVecEnv([lambda: TaskSequenceEnv(TaskSequence([Task("a", lambda *_: Rewards())], steps_per_task=100))])

    SAC_CASE.made(env()).learn(33).save_checkpoint(tmp_path)
    with pytest.warns(UserWarning, match="could not be played again"):
        NBSPSAC.load_checkpoint(tmp_path, env())


@pytest.mark.parametrize("around, exact", [(Monitor, True), (TimeLimit, False), (RecordEpisodeStatistics, False)])
def test_of_wrappers_in_another_process_only_harmless_ones_are_exact(around, exact, monkeypatch):
    """Nothing but their names is told there."""

    def env() -> VecEnv:
        wrapped = Monitor(point_goal_sequence(horizon=1000).make_task_env("east"))
        return DummyVecEnv([lambda: wrapped if around is Monitor else around(wrapped, 50)])

    monkeypatch.setattr(sub_envs, "at_hand", lambda env: None)
    one, other = env(), env()
    one.reset()
    for _ in range(3):
        one.step(np.zeros((1, 2), dtype=np.float32))
    assert restore_env(other, env_state(one), 0) is exact


def test_a_monitor_is_told_from_what_has_attributes_of_its_names(tmp_path):
    def env() -> VecEnv:
        return DummyVecEnv([lambda: RecordEpisodeStatistics(Monitor(SAC_CASE.task_env()))])

    one, other = env(), env()
    one.reset()
    for _ in range(4):
        one.step(np.zeros((1, 2), dtype=np.float32))
    assert restore_env(other, env_state(one), 0)
    assert other.envs[0].env.rewards == one.envs[0].env.rewards and len(one.envs[0].env.rewards) == 4
    assert other.envs[0].episode_returns == one.envs[0].episode_returns


class DictEnv(ToyEnv):
    def __init__(self) -> None:
        super().__init__(spaces.Dict({key: spaces.Box(-1.0, 1.0, (size,)) for key, size in (("a", 3), ("b", 2))}))


def test_frame_stacks_of_dicts_go_on(tmp_path):
    def env() -> VecEnv:
        sequence = TaskSequence([Task("a", lambda *_: DictEnv())], steps_per_task=200)
        return VecFrameStack(DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))]), 2)

    assert_goes_on(env, tmp_path, "MultiInputPolicy")


def test_what_no_checkpoint_can_hold_is_said_once_and_training_goes_on(tmp_path, monkeypatch):
    model = SAC_CASE.made()
    monkeypatch.setattr(type(model.env.envs[0].unwrapped), "episode_state", lambda self: {"thing": object()})
    with pytest.warns(UserWarning, match="TypeError.*Training goes on") as told:
        model.learn(60, callback=RunCheckpoints(tmp_path, 10))
    assert sum("Training goes on" in str(warning.message) for warning in told) == 1 and model.num_timesteps == 60
    assert not list(tmp_path.rglob(".writing-*"))
    with pytest.raises(RuntimeError, match="No checkpoint of this NBSPSAC can be written: TypeError"):
        model.save_checkpoint(tmp_path)


class Goals(gym.Env):
    box = spaces.Box(-9.0, 9.0, (2,), np.float32)
    observation_space = spaces.Dict(observation=box, achieved_goal=box, desired_goal=box)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def observe(self) -> dict[str, Any]:
        return {"observation": self.x.copy(), "achieved_goal": self.x.copy(), "desired_goal": self.goal.copy()}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t, self.x, self.goal = 0, np.zeros(2, "f4"), self.np_random.random(2).astype("f4")
        return self.observe(), {}

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -np.linalg.norm(achieved - desired, axis=-1)

    def step(self, action: Any) -> Any:
        self.t, self.x = self.t + 1, np.clip(self.x + 0.1 * action, -9, 9).astype("f4")
        return self.observe(), float(self.compute_reward(self.x, self.goal, {})), False, self.t >= 20, {}


def test_a_hindsight_buffer_goes_on_within_its_episode(tmp_path):
    sequence = TaskSequence([Task("a", lambda *_: Goals())], steps_per_task=200)
    settings = {"replay_buffer_class": HerReplayBuffer, "learning_starts": 25, "memory_size": 0}
    assert_goes_on(lambda: sequence.make_task_env("a"), tmp_path, "MultiInputPolicy", **settings)


@pytest.mark.parametrize("before, now", [(2, 1), (1, 2)])
def test_another_number_of_sub_envs_is_told_before_buffers_are_filled(before, now, tmp_path):
    SAC_CASE.made(SAC_CASE.sequence_env(before)).learn(30).save_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=f"{before} sub-envs, this env has {now}"):
        NBSPSAC.load_checkpoint(tmp_path, SAC_CASE.sequence_env(now))
