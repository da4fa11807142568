"""Gymnasium's vector environments, which step many games in one call, as Stable-Baselines3's ``VecEnv``."""

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

# What SAME_STEP tells of the step that ended an episode: its keys give way to those of the reset that followed.
FINAL_KEYS = ("final_obs", "final_info")


class GymnasiumVecEnv(VecEnv):
    """
    A Gymnasium vector environment, to be used wherever Stable-Baselines3 takes a ``VecEnv``.

    ::

        envs = AtariVectorEnv("breakout", num_envs=8, autoreset_mode=AutoresetMode.SAME_STEP)
        model = PPO("CnnPolicy", VecMonitor(GymnasiumVecEnv(envs)))

    As SB3 has it, an episode that ends is begun again within the same step: ``infos[i]["terminal_observation"]`` is what the
    episode ended with, ``infos[i]["TimeLimit.truncated"]`` whether it was cut off, and ``reset_infos[i]`` what the reset told.
    ``VecMonitor`` around it gives SB3's statistics of episodes.

    Attributes and methods are the vector env's own, alike for every sub-env; where it has none of that name and can ask its
    sub-envs (``SyncVectorEnv``, ``AsyncVectorEnv``), it does.

    :param env: the vector env, with ``autoreset_mode`` ``SAME_STEP``, or ``DISABLED`` where its ``reset()`` takes a
        ``reset_mask``
    :raises TypeError: if ``env`` is no Gymnasium vector env
    :raises ValueError: if its autoreset mode is ``NEXT_STEP``, whose steps after an episode's end would be learned as steps
    """

    def __init__(self, env: VectorEnv) -> None:
        if not isinstance(env, VectorEnv):
            raise TypeError(f"GymnasiumVecEnv takes a gymnasium.vector.VectorEnv, got {type(env).__name__}.")
        self.env = env
        self._mode = _autoreset_mode(env)
        self._actions: np.ndarray[Any, Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """
        Begin an episode in every sub-env.

        :return: the observations, shape (num_envs, ...)
        """
        obs, infos = self.env.reset(seed=self._next_seeds(), options=self._next_options())
        self.reset_infos = split_infos(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return obs

    def _next_seeds(self) -> Any:
        given = [seed for seed in self._seeds if seed is not None]
        if not given:
            return None
        first = int(given[0])
        # One number stands for neighbouring seeds in every vector env; only some take a list.
        return first if given == list(range(first, first + self.num_envs)) else list(self._seeds)

    def _next_options(self) -> dict[str, Any] | None:
        first = self._options[0]
        if any(options != first for options in self._options):
            raise ValueError(f"A Gymnasium vector env takes one set of options for all sub-envs, got {self._options}.")
        return dict(first) or None

    def step_async(self, actions: np.ndarray) -> None:
        """
        :param actions: one action for each sub-env, shape (num_envs, ...)
        """
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """
        :return: observations, rewards (float32), dones and infos, as SB3 has them
        """
        obs, rewards, terminated, truncated, infos = self.env.step(self._actions)
        dones = np.logical_or(terminated, truncated)
        told = split_infos({key: value for key, value in infos.items() if key.lstrip("_") not in FINAL_KEYS}, self.num_envs)
        for info, cut, ended in zip(told, truncated, terminated, strict=True):
            info["TimeLimit.truncated"] = bool(cut and not ended)
        if dones.any():
            obs = self._begin_again(obs, dones, told, infos)
        return obs, np.asarray(rewards, dtype=np.float32), dones, told

    def _begin_again(self, obs: Any, dones: np.ndarray[Any, Any], told: list[dict[str, Any]], infos: dict[str, Any]) -> Any:
        """Fill in what is told of episodes that ended; the observations with which the next ones begin."""
        if self._mode == AutoresetMode.DISABLED:
            last, last_infos = obs, None
            obs, infos = self.env.reset(options={"reset_mask": np.array(dones)})
            resets = split_infos(infos, self.num_envs)
        else:
            last, last_infos = infos["final_obs"], infos.get("final_info")
            resets = [{key: info[key] for key in info if key != "TimeLimit.truncated"} for info in told]
        finals = None if last_infos is None else split_infos(last_infos, self.num_envs)
        for i in map(int, np.flatnonzero(dones)):
            if finals is not None:  # else the env tells of the last step and of the reset in one
                told[i] = {"TimeLimit.truncated": told[i]["TimeLimit.truncated"], **finals[i]}
            told[i]["terminal_observation"] = _row(last, i)
            self.reset_infos[i] = resets[i]
        return obs

    def close(self) -> None:
        """Close the vector env."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """
        :return: a picture of each sub-env, where the vector env draws them
        """
        frames: Any = self.env.render() if self.render_mode == "rgb_array" else None
        return list(frames) if frames is not None else [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """
        :param attr_name: an attribute of the vector env, or of its sub-envs
        :param indices: of which sub-envs
        :return: its value for each of them
        :raises AttributeError: if there is none of that name
        """
        values = self._ask(attr_name)
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """
        :param attr_name: an attribute of the vector env, or of its sub-envs
        :param value: its new value
        :param indices: of which sub-envs; the vector env's own attributes can only be set for all
        :raises ValueError: if an attribute of the vector env is to be set for some sub-envs
        """
        chosen = list(self._get_indices(indices))
        if not hasattr(self.env, attr_name) and hasattr(self.env, "set_attr"):
            values = self._ask(attr_name)
            self.env.set_attr(attr_name, [value if i in chosen else values[i] for i in range(self.num_envs)])
            return
        if chosen != list(range(self.num_envs)):
            raise ValueError(f"{attr_name!r} belongs to all {self.num_envs} sub-envs together: set it without indices.")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """
        :param method_name: a method of the vector env, which is called once, or of its sub-envs
        :param args: its arguments
        :param indices: of which sub-envs
        :param kwargs: its arguments by name
        :return: what it returned for each of them
        :raises AttributeError: if there is none of that name
        :raises ValueError: for some of sub-envs that can only be called all together (``AsyncVectorEnv``'s)
        """
        chosen = list(self._get_indices(indices))
        # What every object has (a description) is asked of the sub-envs, as SB3's own VecEnvs do.
        is_own = hasattr(self.env, method_name) and not hasattr(object, method_name)
        if not is_own and hasattr(self.env, "call"):
            return self._call(method_name, chosen, *args, **kwargs)
        result = getattr(self.env, method_name)(*args, **kwargs)
        return [result for _ in chosen]

    def _call(self, method_name: str, chosen: list[int], *args: Any, **kwargs: Any) -> list[Any]:
        """Of sub-envs, of which some can be called where they are at hand only."""
        env: Any = self.env
        if chosen == list(range(self.num_envs)):
            return list(env.call(method_name, *args, **kwargs))
        if not self.calls_single:
            raise ValueError(f"{method_name}() can only be called on all {self.num_envs} sub-envs of a vector env.")
        return [env.unwrapped.envs[i].get_wrapper_attr(method_name)(*args, **kwargs) for i in chosen]

    @property
    def calls_single(self) -> bool:
        """Whether a method of one sub-env can be called, and not only of all together."""
        return hasattr(self.env.unwrapped, "envs") or not hasattr(self.env, "call")

    def has_attr(self, attr_name: str) -> bool:
        """
        :param attr_name: an attribute of the vector env, or of its sub-envs
        :return: whether there is one of that name; it is not asked for, which would call a method
        """
        env: Any = self.env
        return hasattr(env, attr_name) or (hasattr(env, "call") and all(env.call("has_wrapper_attr", attr_name)))

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """
        :param wrapper_class: a class of Gymnasium wrapper
        :param indices: of which sub-envs
        :return: for each of them, whether it is known to be wrapped in it
        """
        sub_envs = getattr(self.env.unwrapped, "envs", [None] * self.num_envs)
        return [_is_wrapped(sub_envs[i], wrapper_class) for i in self._get_indices(indices)]

    def _ask(self, name: str) -> list[Any]:
        if hasattr(self.env, name) or not hasattr(self.env, "get_attr"):
            return [getattr(self.env, name)] * self.num_envs
        # Asked for what a sub-env does not have, AsyncVectorEnv shuts down.
        env: Any = self.env
        if not all(env.call("has_wrapper_attr", name)):
            raise AttributeError(f"Neither {env} nor its sub-envs have {name!r}.")
        return list(env.get_attr(name))


def split_infos(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """
    Gymnasium tells of all sub-envs in one dict: ``{"lives": array([3, 0]), "_lives": array([True, False])}``, nested where a
    value is a dict. SB3 wants one dict for each.

    :param infos: what a vector env told
    :param num_envs: number of sub-envs
    :return: what concerns each of them; a key whose mask is false is left out
    """
    split: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if mask is None and key.startswith("_") and key[1:] in infos:
            continue  # a mask itself
        rows: Iterable[Any] = split_infos(values, num_envs) if isinstance(values, dict) else values
        if not isinstance(rows, list | tuple | np.ndarray) or len(rows) != num_envs:
            rows = [values] * num_envs  # one value for all
        for i, row in enumerate(rows):
            if mask is None or mask[i]:
                split[i][key] = row.item() if isinstance(row, np.generic) else row
    return split


def _autoreset_mode(env: VectorEnv) -> AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    if mode in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
        return AutoresetMode(mode)
    told = f"has autoreset_mode {mode.name}" if isinstance(mode, AutoresetMode) else "does not tell its autoreset_mode"
    raise ValueError(
        f"{env} {told}. With NEXT_STEP the step after an episode's end is a reset, which SB3 would learn as a step. "
        "Make it with SAME_STEP: SyncVectorEnv(..., autoreset_mode=AutoresetMode.SAME_STEP), or "
        "gym.make_vec(id, num_envs, vector_kwargs={'autoreset_mode': AutoresetMode.SAME_STEP})."
    )


def _row(batch: Any, i: int) -> Any:
    """One sub-env's observation out of a batch: an array, or a dict of them, or an object array of observations."""
    if isinstance(batch, dict):
        return {key: value[i] for key, value in batch.items()}
    return tuple(value[i] for value in batch) if isinstance(batch, tuple) else batch[i]


def _is_wrapped(env: gym.Env | None, wrapper_class: type[gym.Wrapper]) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, wrapper_class):
            return True
        env = env.env
    return False
