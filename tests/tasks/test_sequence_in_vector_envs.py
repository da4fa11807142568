"""Task sequences inside Gymnasium's vector envs, and subclasses of the env that goes through one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import ClipReward, RecordEpisodeStatistics
from helpers import HORIZON, same
from helpers.cases import PPO_CASE, SAC_CASE
from helpers.outcomes import everything
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor

from sb3_nbsp import NBSPPPO
from sb3_nbsp.baselines import L2
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.common.env_util import check_wrappers
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.tasks import (
    GymnasiumVecEnv,
    PointGoalEnv,
    Task,
    TaskSequence,
    TaskSequenceEnv,
    TaskSequenceVectorEnv,
    point_goal_sequence,
)


class Mine(TaskSequenceEnv):
    """A user's subclass."""


class Described(TaskSequenceEnv):
    """One with a description of its own."""

    def __str__(self) -> str:
        return "my env"


def plain() -> gym.Env:
    return TaskSequenceEnv(point_goal_sequence(steps_per_task=60, horizon=HORIZON, cycles=1), n_envs=2)


def clipped() -> gym.Env:
    return gym.wrappers.ClipReward(plain(), -1, 1)


def mine() -> gym.Env:
    return Mine(point_goal_sequence(steps_per_task=60, horizon=HORIZON))


def clipped_mine() -> gym.Env:
    return gym.wrappers.ClipReward(mine(), -1, 1)


def described() -> gym.Env:
    return Described(point_goal_sequence(steps_per_task=60, horizon=HORIZON))


def vector_env(make: Callable[[], gym.Env] = plain, cls: Any = SyncVectorEnv) -> VecEnv:
    return VecMonitor(GymnasiumVecEnv(cls([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP)))


def in_one() -> TaskSequenceVectorEnv:
    def many(name: str, num_envs: int) -> SyncVectorEnv:
        return SyncVectorEnv([partial(PointGoalEnv, name, horizon=HORIZON)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    tasks = (Task(n, partial(PointGoalEnv, n, horizon=HORIZON), make_vector=partial(many, n)) for n in ("east", "west"))
    return TaskSequenceVectorEnv(TaskSequence(tuple(tasks), 60), 2)


def within(wrapper: Any, make: Any, *arguments: Any) -> VecEnv:
    return GymnasiumVecEnv(wrapper(make(), *arguments))


def bare(cls: Any) -> VectorEnv:
    return cls([plain] * 2, autoreset_mode=AutoresetMode.SAME_STEP)


IN_VECTOR_ENVS = [partial(bare, SyncVectorEnv), partial(bare, AsyncVectorEnv), in_one]


def registered() -> VecEnv:
    kwargs = {"steps_per_task": 60, "horizon": HORIZON, "n_envs": 2}
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return GymnasiumVecEnv(gym.make_vec("sb3_nbsp/PointGoal-v0", 2, "sync", vector_kwargs=mode, **kwargs))


@pytest.mark.parametrize(
    "env",
    [
        lambda: DummyVecEnv([lambda: Monitor(mine())]),
        lambda: SubprocVecEnv([mine], start_method="fork"),
        lambda: DummyVecEnv([described]),
        registered,
        vector_env,
        lambda: vector_env(cls=AsyncVectorEnv),
        lambda: vector_env(mine),
        *(partial(within, RecordEpisodeStatistics, make) for make in IN_VECTOR_ENVS),
    ],
)
def test_they_are_taken(env):
    made = env()
    try:
        check_wrappers(made)
    finally:
        made.close()


@pytest.mark.parametrize(
    "env",
    [
        lambda: DummyVecEnv([clipped_mine]),
        lambda: vector_env(clipped),
        lambda: vector_env(clipped, AsyncVectorEnv),
        *(partial(within, ClipReward, make, -1, 1) for make in IN_VECTOR_ENVS),
    ],
)
def test_wrappers_around_them_are_refused(env):
    made = env()
    try:
        with pytest.raises(ValueError, match=r"The task sequence is wrapped in (Clip|Transform)Reward"):
            check_wrappers(made)
    finally:
        made.close()


def test_our_env_describes_itself_as_ever():
    assert str(plain()) == "<TaskSequenceEnv instance>"
    assert str(mine()) == "<TaskSequenceEnv<Mine instance>>"


@pytest.mark.parametrize("make", IN_VECTOR_ENVS)
def test_every_task_is_consolidated_through_vector_wrappers(make):
    env = within(RecordEpisodeStatistics, make)
    try:
        assert PPO_CASE.made(env).learn(120).learned_tasks == ["east", "west"]
    finally:
        env.close()


def test_a_model_learns_and_is_evaluated():
    callback = SequenceEvalCallback(0, 1)
    SAC_CASE.made(vector_env()).learn(120, callback=callback)
    assert [(row.step, row.kind) for row in callback.results.evaluations] == [(0, "start"), (60, "switch"), (120, "switch")]


@pytest.mark.filterwarnings("error:.*begin anew")
def test_a_checkpoint_goes_on_to_the_bit(tmp_path):
    whole = everything(PPO_CASE.made(vector_env()).learn(110))
    PPO_CASE.made(vector_env()).learn(110, callback=RunCheckpoints(tmp_path, freq=40))
    for path in sorted(tmp_path.glob("[0-9]*"))[1:]:
        model = NBSPPPO.load_checkpoint(path, vector_env())
        assert model.num_timesteps > 0
        assert same(everything(model.learn(model.steps_left, reset_num_timesteps=False)), whole)


def test_in_other_processes_episodes_begin_anew_at_the_same_place(tmp_path):
    PPO_CASE.made(vector_env()).learn(70).save_checkpoint(tmp_path)
    env = vector_env(cls=AsyncVectorEnv)
    try:
        with pytest.warns(UserWarning, match="could not be played again to where they were: they begin anew"):
            model = NBSPPPO.load_checkpoint(tmp_path, env)
        steps = model.num_timesteps
        callback = SequenceEvalCallback(0, 1)
        model.learn(120 - steps, reset_num_timesteps=False, callback=callback)
        assert env.get_attr("sequence_steps")[0] == model.position.steps >= 120 > steps > 60
        assert [row.kind for row in callback.results.evaluations if row.step == 120] == ["switch"]
    finally:
        env.close()


OTHER_WAYS = [
    {"tasks": ("west", "east")},
    {"steps_per_task": 80},
    {"cycles": 1},
    {"order": ("west", "east")},
]  # another width of ids is another space


@pytest.mark.parametrize("other", OTHER_WAYS, ids=repr)
@pytest.mark.parametrize("how", ["nbsp", "evaluation", "baseline"])
def test_sub_envs_of_different_sequences_are_refused_before_training(how, other):
    own = {"tasks": ("east", "west"), "steps_per_task": 60, "task_id": True}
    env = DummyVecEnv([partial(gym.make, "sb3_nbsp/PointGoal-v0", **{**own, **kwargs}) for kwargs in ({}, {}, other)])
    kwargs = {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}}
    callback = {"evaluation": SequenceEvalCallback(eval_freq=0), "baseline": L2()}.get(how)
    with pytest.raises(ValueError, match=r"Sub-env 0 goes through .*; sub-env 2 through"):
        (NBSPPPO if how == "nbsp" else PPO)("MlpPolicy", env, **kwargs).learn(120, callback)
