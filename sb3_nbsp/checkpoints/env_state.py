"""A vectorised env: the running episodes of its sub-envs, and what its wrappers have seen."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

MONITOR_LISTS = ("rewards", "episode_returns", "episode_lengths", "episode_times")
MONITOR = (*MONITOR_LISTS, "total_steps")


def env_state(env: VecEnv) -> dict[str, Any]:
    """
    :param env: between two steps
    :return: what another one, made alike, needs to stand there; ``episodes`` is ``None`` where sub-envs cannot tell
    """
    return {
        "episodes": env.env_method("episode_state") if env.has_attr("episode_state") else None,
        "monitors": [_monitor(env, i) for i in range(env.num_envs)],
        "wrappers": [_wrapper_state(wrapper) for wrapper in _wrappers(env)],
    }


def restore_env(env: VecEnv, state: dict[str, Any], seed: int) -> bool:
    """
    Let an env stand where another one stood.

    :param env: made like that one
    :param state: its state
    :param seed: of sub-envs that cannot play their episode again and keep no random state
    :return: whether it stands there, to the bit. If not, ``env.reset()`` begins new
        episodes, the same ones each time.
    :raises ValueError: if it has other sub-envs or wrappers
    """
    _check_alike(env, state)
    if state["episodes"] is None:
        env.seed(seed)
    env.reset()  # wrappers refuse a step before it
    single = getattr(env.unwrapped, "calls_single", True)  # not so of Gymnasium's vector envs in other processes
    restored = state["episodes"] is not None and single
    for i, episode in enumerate(state["episodes"] or () if single else ()):
        restored = env.env_method("restore_episode", episode, indices=i)[0] and restored
    for i, monitor in enumerate(state["monitors"]):
        for name, value in monitor.items():
            _set_attribute(env, name, value.tolist() if name in MONITOR_LISTS else value, i)
    for wrapper, saved in zip(_wrappers(env), state["wrappers"], strict=True):
        _restore_wrapper(wrapper, saved)
    return bool(restored)


def _check_alike(env: VecEnv, state: dict[str, Any]) -> None:
    if len(state["monitors"]) != env.num_envs:
        raise ValueError(
            f"The checkpoint was written with {len(state['monitors'])} sub-envs, this env has {env.num_envs}. Use as many."
        )
    there, here = [part["kind"] for part in state["wrappers"]], [type(wrapper).__name__ for wrapper in _wrappers(env)]
    if there != here:
        raise ValueError(
            f"The checkpoint was written with an env wrapped in {', '.join(there) or 'nothing'}, this one is wrapped in "
            f"{', '.join(here) or 'nothing'}. Wrap it as before."
        )


def _wrappers(env: VecEnv) -> Iterator[VecEnvWrapper]:
    while isinstance(env, VecEnvWrapper):
        yield env
        env = env.venv


# Monitors, which may be in other processes


def _monitor(env: VecEnv, i: int) -> dict[str, Any]:
    if not env.has_attr("episode_returns"):
        return {}
    values = {name: env.get_attr(name, i)[0] for name in MONITOR}
    return {name: np.array(value, dtype=np.float64) if name in MONITOR_LISTS else value for name, value in values.items()}


def _set_attribute(env: VecEnv, name: str, value: Any, i: int) -> None:
    """On the wrapper that has it, however many are around it."""
    single = getattr(env.unwrapped, "calls_single", True)
    if single and env.has_attr("set_wrapper_attr"):  # Gymnasium 1.0 and later
        env.env_method("set_wrapper_attr", name, value, indices=i)
    else:
        env.set_attr(name, value, indices=i)


# Wrappers


def _wrapper_state(wrapper: VecEnvWrapper) -> dict[str, Any]:
    state: dict[str, Any] = {"kind": type(wrapper).__name__}
    if isinstance(wrapper, VecNormalize):
        names = [name for name in ("obs_rms", "ret_rms") if hasattr(wrapper, name)]
        state["statistics"] = {name: _statistics(getattr(wrapper, name)) for name in names}
        state |= {name: getattr(wrapper, name) for name in ("returns", "old_obs", "old_reward")}
    elif isinstance(wrapper, VecFrameStack):
        state["stacked_obs"] = wrapper.stacked_obs.stacked_obs
    elif isinstance(wrapper, VecMonitor):
        state |= {name: getattr(wrapper, name) for name in ("episode_returns", "episode_lengths", "episode_count")}
    return state


def _restore_wrapper(wrapper: VecEnvWrapper, state: dict[str, Any]) -> None:
    if isinstance(wrapper, VecNormalize):
        for name, saved in state["statistics"].items():
            _restore_statistics(getattr(wrapper, name), saved)
        wrapper.returns, wrapper.old_obs, wrapper.old_reward = (state[n] for n in ("returns", "old_obs", "old_reward"))
    elif isinstance(wrapper, VecFrameStack):
        wrapper.stacked_obs.stacked_obs = state["stacked_obs"]
    elif isinstance(wrapper, VecMonitor):
        for name in ("episode_returns", "episode_lengths", "episode_count"):
            setattr(wrapper, name, state[name])


def _statistics(rms: Any) -> Any:
    if isinstance(rms, dict):
        return {key: _statistics(part) for key, part in rms.items()}
    return {"mean": rms.mean, "var": rms.var, "count": rms.count}


def _restore_statistics(rms: Any, saved: dict[str, Any]) -> None:
    """In place: scoring and evaluation envs share these objects."""
    if isinstance(rms, RunningMeanStd):
        rms.mean, rms.var, rms.count = saved["mean"], saved["var"], saved["count"]
        return
    for key, part in rms.items():
        _restore_statistics(part, saved[key])
