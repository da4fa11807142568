"""
Rollouts that are cut where the policy is asked: whoever runs them may ask one policy, or many at once.

A rollout is a generator. It yields observations and which of them begin an episode, is sent the actions, and returns what it
was run for. In between it yields ``None`` where its env is at work: envs in other processes work at the same time, if whoever
runs many rollouts takes each to that point before the first goes on.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

Result = TypeVar("Result")
# (observations [n_envs, ...], starts [n_envs]) -> actions [n_envs, ...] -> None -> ... -> result
Rollout = Generator[tuple[Any, np.ndarray] | None, np.ndarray | None, Result]


def run(rollout: Rollout[Result], predict: Callable[..., tuple[np.ndarray, Any]], deterministic: bool) -> Result:
    """
    Run a rollout with one policy. However it ends, the rollout is closed by then: what it borrowed (random states, an env, a
    part of the model) must not wait until whoever caught an error lets go of it.

    :param rollout: not begun
    :param predict: a model's
    :param deterministic: whether it takes its most likely actions
    :return: the rollout's result
    """
    state = None  # of a recurrent policy
    try:
        asked = next(rollout)
        while True:
            if asked is None:
                asked = next(rollout)
                continue
            observations, starts = asked
            state = None if starts.all() else state
            actions, state = predict(observations, state=state, episode_start=starts, deterministic=deterministic)
            asked = rollout.send(actions)
    except StopIteration as end:
        return end.value
    finally:
        rollout.close()


def reset(env: VecEnv) -> Rollout[VecEnvObs]:
    """
    Within a rollout, the env's ``reset()``.

    :param env: may have a ``begin_reset``, which does not wait
    """
    begin = getattr(env.unwrapped, "begin_reset", None)
    if begin is not None:
        begin()
        yield None
    return env.reset()


def step(env: VecEnv, actions: np.ndarray) -> Rollout[VecEnvStepReturn]:
    """
    Within a rollout, the env's ``step()``.

    :param env: of the rollout
    :param actions: [n_envs, ...]
    :return: what the env told; of sub-envs of which it told nothing, nothing: PPO learns with vectorised envs that do so
    """
    env.step_async(actions)
    yield None
    observations, rewards, ends, infos = env.step_wait()
    return observations, rewards, ends, [*infos, *({} for _ in range(env.num_envs - len(infos)))]
