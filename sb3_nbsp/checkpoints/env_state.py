"""A vectorised env: the running episodes of its sub-envs, and what its wrappers have seen."""

from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from sb3_nbsp.checkpoints.sub_envs import (
    calls_single,
    monitor_state,
    restore_monitor,
    restore_wrappers_around,
    wrappers_around,
)


def env_state(env: VecEnv) -> dict[str, Any]:
    """
    :param env: between two steps
    :return: what another one, made alike, needs to stand there; ``episodes`` is ``None`` where sub-envs cannot tell
    """
    return {
        "episodes": env.env_method("episode_state") if env.has_attr("episode_state") else None,
        "monitors": [monitor_state(env, i) for i in range(env.num_envs)],
        "around": wrappers_around(env),
        "wrappers": [_wrapper_state(wrapper) for wrapper in _wrappers(env)],
    }


def restore_env(env: VecEnv, state: dict[str, Any], seed: int) -> bool:
    """
    Let an env stand where another one stood.

    :param env: made like that one, see :func:`check_alike`
    :param state: its state
    :param seed: of sub-envs that cannot play their episode again and keep no random state
    :return: whether it stands there, to the bit. If not, ``env.reset()`` begins new
        episodes, the same ones each time.
    """
    if state["episodes"] is None:
        env.seed(seed)
    env.reset()  # wrappers refuse a step before it
    restored = state["episodes"] is not None and calls_single(env)
    for i, episode in enumerate(state["episodes"] if restored else ()):
        restored = env.env_method("restore_episode", episode, indices=i)[0] and restored
    for i, monitor in enumerate(state["monitors"]):
        restore_monitor(env, i, monitor)
    restored = restore_wrappers_around(env, state.get("around", wrappers_around(env))) and restored
    for wrapper, saved in zip(_wrappers(env), state["wrappers"], strict=True):
        _restore_wrapper(wrapper, saved)
    return bool(restored)


def check_alike(env: VecEnv, state: dict[str, Any]) -> None:
    """
    :param env: that a run shall go on with
    :param state: of the env that it was trained on
    :raises ValueError: if it has other sub-envs or wrappers
    """
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


# Wrappers


def _wrapper_state(wrapper: VecEnvWrapper) -> dict[str, Any]:
    state: dict[str, Any] = {"kind": type(wrapper).__name__}
    if isinstance(wrapper, VecNormalize):
        names = [name for name in ("obs_rms", "ret_rms") if hasattr(wrapper, name)]
        state["statistics"] = {name: _statistics(getattr(wrapper, name)) for name in names}
        state |= {name: getattr(wrapper, name) for name in ("returns", "old_obs", "old_reward")}
    elif isinstance(wrapper, VecFrameStack):
        state["stacked_obs"] = _frames(wrapper.stacked_obs)
    elif isinstance(wrapper, VecMonitor):
        state |= {name: getattr(wrapper, name) for name in ("episode_returns", "episode_lengths", "episode_count")}
    return state


def _restore_wrapper(wrapper: VecEnvWrapper, state: dict[str, Any]) -> None:
    if isinstance(wrapper, VecNormalize):
        for name, saved in state["statistics"].items():
            _restore_statistics(getattr(wrapper, name), saved)
        wrapper.returns, wrapper.old_obs, wrapper.old_reward = (state[n] for n in ("returns", "old_obs", "old_reward"))
    elif isinstance(wrapper, VecFrameStack):
        _restore_frames(wrapper.stacked_obs, state["stacked_obs"])
    elif isinstance(wrapper, VecMonitor):
        for name in ("episode_returns", "episode_lengths", "episode_count"):
            setattr(wrapper, name, state[name])


def _frames(stacked: StackedObservations[Any]) -> Any:
    """Of each part, where observations are a dict."""
    parts = getattr(stacked, "sub_stacked_observations", None)
    return stacked.stacked_obs if parts is None else {key: _frames(part) for key, part in parts.items()}


def _restore_frames(stacked: StackedObservations[Any], saved: Any) -> None:
    if not isinstance(saved, dict):
        stacked.stacked_obs = saved
        return
    for key, part in saved.items():
        _restore_frames(stacked.sub_stacked_observations[key], part)


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
