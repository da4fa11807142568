"""What is around each sub-env's episode: its monitor's rows, and what other Gymnasium wrappers hold."""

import re
from itertools import takewhile
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import unwrap_wrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.wrapper_states import WITHOUT_PAST, restore_wrappers, wrapper_states

MONITOR_LISTS = ("rewards", "episode_returns", "episode_lengths", "episode_times")
MONITOR = (*MONITOR_LISTS, "total_steps")


def at_hand(env: VecEnv) -> list[gym.Env] | None:
    """The sub-envs, where they are in this process, each in its wrappers."""
    envs = getattr(env.unwrapped, "envs", None)
    return envs if isinstance(envs, list) else None


def calls_single(env: VecEnv) -> bool:
    """Whether a sub-env can be called alone: not so of Gymnasium's vector envs in other processes."""
    return bool(getattr(env.unwrapped, "calls_single", True))


def wrappers_around(env: VecEnv) -> list[list[dict[str, Any]]]:
    """
    :param env: a vectorised env
    :return: for each sub-env what its wrappers hold; in another process their names, and that nothing more is known
    """
    envs = at_hand(env)
    if envs is not None:
        return [wrapper_states(sub_env) for sub_env in envs]
    # All that another process tells of a sub-env is its description, <Monitor<TimeLimit<TaskEnv<...>>>>.
    chains = [re.findall(r"<(\w+)", text) for text in env.env_method("__str__")]
    outside = [takewhile(lambda name: not name.startswith("Task"), names) for names in chains]
    return [[_unknown(name) for name in names] for names in outside]


def _unknown(name: str) -> dict[str, Any]:
    return {"kind": name, "attributes": {}, "hidden": [] if name in WITHOUT_PAST else ["its state in another process"]}


def restore_wrappers_around(env: VecEnv, states: list[list[dict[str, Any]]]) -> bool:
    """
    :param env: a vectorised env
    :param states: see :func:`wrappers_around`
    :return: whether all hold now what those held
    """
    envs = at_hand(env)
    if envs is None:
        return not any(state["hidden"] for part in states for state in part)
    return all([restore_wrappers(sub_env, part) for sub_env, part in zip(envs, states, strict=True)])


def monitor_state(env: VecEnv, i: int) -> dict[str, Any]:
    """
    :param env: a vectorised env
    :param i: which of its sub-envs
    :return: its monitor's rows, and the rewards of the running episode; nothing where it has no monitor
    """
    envs = at_hand(env)
    if envs is not None:
        monitor = unwrap_wrapper(envs[i], Monitor)
        values = {} if monitor is None else {name: getattr(monitor, name) for name in MONITOR}
    elif all(env.has_attr(name) for name in MONITOR):
        values = {name: env.get_attr(name, i)[0] for name in MONITOR}
    else:
        values = {}
    if not all(isinstance(values[name], list) for name in MONITOR_LISTS if values):
        return {}  # in another process, and another wrapper with attributes of the same names stands before it
    return {name: np.array(value, dtype=np.float64) if name in MONITOR_LISTS else value for name, value in values.items()}


def restore_monitor(env: VecEnv, i: int, state: dict[str, Any]) -> None:
    """
    :param env: a vectorised env
    :param i: which of its sub-envs
    :param state: see :func:`monitor_state`
    """
    envs = at_hand(env)
    monitor = None if envs is None else unwrap_wrapper(envs[i], Monitor)
    for name, value in state.items():
        plain = value.tolist() if name in MONITOR_LISTS else value
        if monitor is not None:
            setattr(monitor, name, plain)
        elif calls_single(env) and env.has_attr("set_wrapper_attr"):  # Gymnasium 1.0 and later
            env.env_method("set_wrapper_attr", name, plain, indices=i)
        else:
            env.set_attr(name, plain, indices=i)
