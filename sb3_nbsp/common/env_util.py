"""Environments beside the training one: wrapped alike, with statistics that stay as they are."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

# Wrappers that change nothing an agent sees or does.
NEUTRAL_WRAPPERS = (
    "Monitor", "OrderEnforcing", "PassiveEnvChecker", "HumanRendering", "RenderCollection", "RecordVideo",
    "RecordEpisodeStatistics",
)  # fmt: skip
UNSEEN_WRAPPERS = (*NEUTRAL_WRAPPERS, "TimeLimit", "PatchedTimeLimit", "Autoreset")  # the second is rl-zoo3's
NEUTRAL_VEC_WRAPPERS = VecMonitor | VecCheckNan | VecVideoRecorder


def wrap_like(training_env: VecEnv, env: gym.Env) -> VecEnv:
    """
    Vectorise one environment and repeat the training env's observation wrappers around it.

    ``VecNormalize`` is repeated frozen, without reward normalisation, and *shares* the training env's
    running statistics: observations always look as they do in training.

    :param training_env: the vectorised env that the agent trains on
    :param env: a single environment with the same spaces as one of its sub-envs
    :return: a ``VecEnv`` with one sub-env
    :raises ValueError: for a wrapper that cannot be repeated
    """
    check_wrappers(training_env)
    return _wrapped_like(training_env, DummyVecEnv([lambda: Monitor(env)]))


def beside(training_env: VecEnv, make: Callable[[], gym.Env]) -> VecEnv:
    """
    An env as :func:`wrap_like` makes it, in the process where the training env is, if that takes further ones.

    :param training_env: the vectorised env that the agent trains on
    :param make: makes a single environment; must be picklable
    :return: a ``VecEnv`` with one sub-env
    :raises ValueError: for a wrapper that cannot be repeated
    """
    check_wrappers(training_env)
    takes = getattr(training_env.unwrapped, "beside", None)  # those of a population do
    single = DummyVecEnv if takes is None else takes
    return _wrapped_like(training_env, single([partial(_monitored, make)]))


def _monitored(make: Callable[[], gym.Env]) -> gym.Env:
    return Monitor(make())


def _wrapped_like(training_env: VecEnv, wrapped: VecEnv) -> VecEnv:
    for wrapper in reversed(_vec_wrappers(training_env)):
        if isinstance(wrapper, VecNormalize):
            wrapped = _frozen_copy(wrapper, wrapped)
        elif isinstance(wrapper, VecFrameStack):
            wrapped = VecFrameStack(wrapped, wrapper.stacked_obs.n_stack, _channels_order(wrapper.stacked_obs))
        elif isinstance(wrapper, VecTransposeImage):
            wrapped = VecTransposeImage(wrapped)
    return wrapped


def _channels_order(stacked: StackedObservations) -> Any:
    """Which axis frames are stacked on: "first" or "last", of a dict by key."""
    if isinstance(stacked.observation_space, spaces.Dict):
        return {key: _channels_order(part) for key, part in stacked.sub_stacked_observations.items()}
    return "first" if stacked.channels_first else "last"


class _OnlySpaces(gym.Env):
    """Stands for a sub-env where its observations' form is all that counts."""

    def __init__(self, env: VecEnv):
        self.observation_space, self.action_space = env.observation_space, env.action_space


def check_wrappers(training_env: VecEnv) -> None:
    """
    :param training_env: the vectorised env that the agent trains on
    :raises ValueError: for a wrapper that :func:`wrap_like` cannot repeat
    """
    for wrapper in _vec_wrappers(training_env):
        if not isinstance(wrapper, VecNormalize | VecFrameStack | VecTransposeImage | NEUTRAL_VEC_WRAPPERS):
            raise ValueError(
                f"The training env is wrapped in {type(wrapper).__name__}, which cannot be repeated around the "
                "single-task envs used for scoring and evaluation. Do what it does in the tasks' own envs (Task.make) "
                "instead; without a sequence give consolidate() a VecEnv that is wrapped as the training env is."
            )
    like = _wrapped_like(training_env, DummyVecEnv([lambda: _OnlySpaces(training_env.unwrapped)]))
    if like.observation_space != training_env.observation_space:
        raise ValueError(
            f"The training env's wrappers give observations in {training_env.observation_space}; repeated around the "
            f"single-task envs used for scoring and evaluation, in {like.observation_space}. Use SB3's wrappers as they are, "
            "or do the same in the tasks' own envs (Task.make)."
        )
    if is_task_sequence(training_env):
        _check_gym_wrappers(training_env)


def _check_gym_wrappers(training_env: VecEnv) -> None:
    # All that SubprocVecEnv tells of a sub-env is what it can send: its description, <Monitor<OrderEnforcing<...>>>.
    wrappers = re.findall(r"<(\w+)", training_env.env_method("__str__")[0])
    if not any(map(_is_sequence, wrappers)):  # an env that describes itself in a way of its own: nothing is known
        return
    outside = takewhile(lambda name: not _is_sequence(name), wrappers)
    foreign = [name for name in outside if name not in NEUTRAL_WRAPPERS]
    if foreign:
        raise ValueError(
            f"The task sequence is wrapped in {', '.join(foreign)}. Scoring and evaluation run on single tasks, which would "
            "lack it. Wrap the tasks' own envs, in Task.make, instead of the sequence."
        )


def warn_of_other_wrappers(training_env: VecEnv, env: gym.Env) -> None:
    """
    Warn where one of Gymnasium's envs is wrapped otherwise than the training env's first sub-env, if that is in this process:
    with the same spaces a policy may see other numbers in it.

    :param training_env: the vectorised env that the agent trains on
    :param env: what it is to be scored on
    """
    envs = getattr(training_env.unwrapped, "envs", None)
    trained_on = envs[0] if isinstance(envs, list) and envs else None
    if not isinstance(trained_on, gym.Env) or hasattr(trained_on.unwrapped, "task_sequence"):
        return
    there, here = _seen_through(trained_on), _seen_through(env)
    if there != here:
        warnings.warn(
            f"The env to score on is wrapped in {', '.join(here) or 'nothing'}, the training env in "
            f"{', '.join(there) or 'nothing'}: what the policy sees there may differ. Give an env that is wrapped as in "
            "training.",
            stacklevel=2,
        )


def _seen_through(env: gym.Env) -> list[str]:
    """Names of the wrappers that may change what a policy sees or does, from the outermost inwards."""
    wrappers = [wrapper for wrapper in _gym_wrappers(env)[:-1] if not isinstance(wrapper, gym.RewardWrapper)]
    names = [type(wrapper).__name__ for wrapper in wrappers]
    return [name for name in names if name not in UNSEEN_WRAPPERS]


def _is_sequence(name: str) -> bool:
    """Whether a class's name is that of our envs that go through a sequence; subclasses describe themselves as such."""
    return name.startswith("TaskSequence")


def task_sequence_of(env: VecEnv | None) -> Any:
    """
    :param env: a training env, or none
    :return: the ``TaskSequence`` that its sub-envs go through, ``None`` for other envs
    """
    return env.get_attr("task_sequence", 0)[0] if env is not None and is_task_sequence(env) else None


def is_task_sequence(env: VecEnv) -> bool:
    """Whether the sub-envs go through a task sequence by themselves."""
    return env.has_attr("task_sequence")


def count_together(env: VecEnv) -> None:
    """
    Tell the sub-envs of a task sequence how many they are. Each counts its own steps, and switches at the right one so.

    :param env: the training env
    :raises ValueError: if its sub-envs go through different sequences: all switch in the same step, to the same task
    """
    ways = [_way(sequence) for sequence in env.get_attr("task_sequence")]
    if others := [i for i, way in enumerate(ways) if way != ways[0]]:
        raise ValueError(
            f"All sub-envs must go through one task sequence. Sub-env 0 goes through {ways[0]}; sub-env {others[0]} through "
            f"{ways[others[0]]}. Make all of them with the same tasks, order, steps and ids."
        )
    env.env_method("set_n_envs", env.num_envs)


def _way(sequence: Any) -> str:
    """What a sequence's sub-envs must have in common, in words."""
    visits = zip(sequence.segments, sequence.segment_steps, strict=True)
    order = ", ".join(f"{name} ({steps:,} steps)" for name, steps in visits)
    return f"{order}, of the tasks {', '.join(sequence.task_names)}, with ids of {sequence.id_width} numbers"


def place_env(env: VecEnv | None, steps: int) -> bool:
    """
    Let the env of a task sequence stand at a place, wherever someone else has stepped it to.

    :param env: the training env
    :param steps: env steps of the sequence
    :return: whether it was taken there, so that it must be reset
    """
    assert env is not None
    count_together(env)
    follows = env.get_attr("switch_on", 0)[0] == "steps"
    if not follows or all(place == steps for place in env.get_attr("sequence_steps")):
        return False
    env.env_method("fast_forward", steps)
    return True


def shares_env(training_env: VecEnv, env: gym.Env | VecEnv) -> bool:
    """Whether stepping ``env`` steps (a sub-env of) the training env, because they are the same underneath."""
    if isinstance(env, VecEnv):
        return env.unwrapped is training_env.unwrapped
    sub_envs = getattr(training_env.unwrapped, "envs", [])
    return any(sub_env.unwrapped is env.unwrapped for sub_env in sub_envs)


@contextmanager
def frozen_statistics(env: VecEnv) -> Iterator[None]:
    """Inside the block ``VecNormalize``, where the env has it, learns no statistics and leaves rewards as they are."""
    normalize = unwrap_vec_normalize(env)
    if normalize is None:
        yield
        return
    before = normalize.training, normalize.norm_reward
    try:
        normalize.training = normalize.norm_reward = False
        yield
    finally:
        normalize.training, normalize.norm_reward = before


@contextmanager
def silent_monitors(env: VecEnv) -> Iterator[None]:
    """
    Inside the block SB3's monitors, around the sub-envs and around all of them (``VecMonitor``), write no rows and let
    episodes be cut short. After it they wait for a reset, as after an episode's end. Monitors in other processes
    (``SubprocVecEnv``) are out of reach.
    """
    around = [wrapper for wrapper in _vec_wrappers(env) if isinstance(wrapper, VecMonitor)]
    writers = [(monitor.results_writer, monitor.episode_count) for monitor in around]
    for vec_monitor in around:
        vec_monitor.results_writer = None
    monitors = [m for sub_env in getattr(env.unwrapped, "envs", []) for m in _gym_wrappers(sub_env) if isinstance(m, Monitor)]
    before = [(m.results_writer, m.allow_early_resets, m.total_steps, len(m.episode_returns)) for m in monitors]
    for monitor in monitors:
        monitor.results_writer, monitor.allow_early_resets = None, True
    try:
        yield
    finally:
        for monitor, (writer, early, steps, n_episodes) in zip(monitors, before, strict=True):
            monitor.results_writer, monitor.allow_early_resets, monitor.total_steps = writer, early, steps
            for rows in (monitor.episode_returns, monitor.episode_lengths, monitor.episode_times):
                del rows[n_episodes:]
            monitor.rewards, monitor.needs_reset = [], True
        for vec_monitor, (results_writer, count) in zip(around, writers, strict=True):
            vec_monitor.results_writer, vec_monitor.episode_count = results_writer, count


def _gym_wrappers(env: gym.Env) -> list[gym.Env]:
    """An env and what it wraps, outermost first."""
    wrappers = [env]
    while isinstance(wrappers[-1], gym.Wrapper):
        wrappers.append(wrappers[-1].env)
    return wrappers


def _vec_wrappers(env: VecEnv) -> list[VecEnvWrapper]:
    """The wrappers around a vectorised env, outermost first."""
    wrappers = []
    while isinstance(env, VecEnvWrapper):
        wrappers.append(env)
        env = env.venv
    return wrappers


def _frozen_copy(source: VecNormalize, env: VecEnv) -> VecNormalize:
    copy = VecNormalize(
        env,
        training=False,
        norm_obs=source.norm_obs,
        norm_reward=False,
        clip_obs=source.clip_obs,
        epsilon=source.epsilon,
        norm_obs_keys=source.norm_obs_keys,
    )
    if source.norm_obs:
        copy.obs_rms = source.obs_rms  # the same object: later statistics are seen too
    return copy
