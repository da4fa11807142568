"""Gymnasium's vector environments, which step many games in one call, as Stable-Baselines3's ``VecEnv``."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_nbsp.tasks.vector_util import give_own_observations, row_of, split_infos, with_wrapped, without_finals

# Told of the step that ended an episode, beside final_info; all else is of the reset. RecordEpisodeStatistics adds its own.
OF_STEP = ("TimeLimit.truncated", "episode")
# Asked for as SB3 does, of one sub-env; a vector env has the spaces of all of them under these names.
OF_ONE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}


class GymnasiumVecEnv(VecEnv):
    """
    A Gymnasium vector environment, to be used wherever Stable-Baselines3 takes a ``VecEnv``.

    ::

        envs = AtariVectorEnv("breakout", num_envs=8, autoreset_mode=AutoresetMode.SAME_STEP)
        model = PPO("CnnPolicy", VecMonitor(GymnasiumVecEnv(envs)))

    As SB3 has it, an episode that ends is begun again within the same step: ``infos[i]["terminal_observation"]`` is what the
    episode ended with, ``infos[i]["TimeLimit.truncated"]`` whether it was cut off, and ``reset_infos[i]`` what the reset told.
    ``VecMonitor`` around it gives SB3's statistics of episodes.

    Attributes and methods are the vector env's own, alike for every sub-env, also where Gymnasium's vector wrappers are around
    it, which hand none on; where it has none of that name and can ask its sub-envs (``SyncVectorEnv``, ``AsyncVectorEnv``),
    it does.

    :param env: the vector env, with ``autoreset_mode`` ``SAME_STEP``, or ``DISABLED`` where its ``reset()`` takes a
        ``reset_mask``. One that was made with ``copy=False`` copies its observations from here on
    :raises TypeError: if ``env`` is no Gymnasium vector env
    :raises ValueError: if its autoreset mode is ``NEXT_STEP``, whose steps after an episode's end would be learned as steps
    """

    def __init__(self, env: VectorEnv) -> None:
        if not isinstance(env, VectorEnv):
            raise TypeError(f"GymnasiumVecEnv takes a gymnasium.vector.VectorEnv, got {type(env).__name__}.")
        self.env = env
        self._mode = _autoreset_mode(env)
        give_own_observations(env)
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
        told = split_infos(without_finals(infos), self.num_envs)
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
            resets = [{key: info[key] for key in info if key not in OF_STEP} for info in told]
        finals = None if last_infos is None else split_infos(last_infos, self.num_envs)
        for i in map(int, np.flatnonzero(dones)):
            if finals is not None:  # else the env tells of the last step and of the reset in one
                told[i] = {**{key: told[i][key] for key in OF_STEP if key in told[i]}, **finals[i]}
            told[i]["terminal_observation"] = row_of(last, i)
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
        values = self._ask(OF_ONE.get(attr_name, attr_name))
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """
        :param attr_name: an attribute of the vector env, or of its sub-envs; one that is new is theirs, if they can be asked
        :param value: its new value
        :param indices: of which sub-envs; the vector env's own attributes can only be set for all
        :raises AttributeError: if a new attribute is to be set for some sub-envs
        :raises ValueError: if an attribute of the vector env is to be set for some sub-envs
        """
        chosen = list(self._get_indices(indices))
        owner, of_sub_envs = self._owner(attr_name), self._owner("set_attr")
        is_for_all = chosen == list(range(self.num_envs))
        if owner is None and of_sub_envs is not None:
            values = [value] * self.num_envs if is_for_all else self._ask(attr_name)
            of_sub_envs.set_attr(attr_name, [value if i in chosen else values[i] for i in range(self.num_envs)])
            return
        if not is_for_all:
            raise ValueError(f"{attr_name!r} belongs to all {self.num_envs} sub-envs together: set it without indices.")
        setattr(self.env if owner is None else owner, attr_name, value)

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
        owner, of_sub_envs = self._owner(method_name), self._owner("call")
        # What every object has (a description) is asked of the sub-envs, as SB3's own VecEnvs do.
        if of_sub_envs is not None and (owner is None or hasattr(object, method_name)):
            results = self._call(of_sub_envs, method_name, chosen, *args, **kwargs)
            return [self._around(text) for text in results] if method_name == "__str__" else results
        result = getattr(self.env if owner is None else owner, method_name)(*args, **kwargs)
        return [result for _ in chosen]

    def _call(self, env: Any, method_name: str, chosen: list[int], *args: Any, **kwargs: Any) -> list[Any]:
        """Of sub-envs, of which some can be called where they are at hand only."""
        if chosen == list(range(self.num_envs)):
            return list(env.call(method_name, *args, **kwargs))
        if not self.calls_single:
            raise ValueError(f"{method_name}() can only be called on all {self.num_envs} sub-envs of a vector env.")
        return [env.unwrapped.envs[i].get_wrapper_attr(method_name)(*args, **kwargs) for i in chosen]

    def _around(self, text: str) -> str:
        """A sub-env's description within that of the vector wrappers: all that tells of what is around a task sequence."""
        for env in reversed(with_wrapped(self.env)[:-1]):
            text = f"<{type(env).__name__}{text}>"
        return text

    def _owner(self, name: str) -> Any:
        """The vector env, outermost first, that has an attribute; none where no one has."""
        return next((env for env in with_wrapped(self.env) if hasattr(env, name)), None)

    @property
    def calls_single(self) -> bool:
        """Whether a method of one sub-env can be called, and not only of all together."""
        return hasattr(self.env.unwrapped, "envs") or self._owner("call") is None

    def has_attr(self, attr_name: str) -> bool:
        """
        :param attr_name: an attribute of the vector env, or of its sub-envs
        :return: whether there is one of that name; it is not asked for, which would call a method
        """
        return self._owner(attr_name) is not None or self._sub_envs_have(attr_name)

    def _sub_envs_have(self, name: str) -> bool:
        of_sub_envs = self._owner("call")
        return of_sub_envs is not None and all(of_sub_envs.call("has_wrapper_attr", name))

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """
        :param wrapper_class: a class of Gymnasium wrapper
        :param indices: of which sub-envs
        :return: for each of them, whether it is known to be wrapped in it
        """
        sub_envs = getattr(self.env.unwrapped, "envs", [None] * self.num_envs)
        return [_is_wrapped(sub_envs[i], wrapper_class) for i in self._get_indices(indices)]

    def _ask(self, name: str) -> list[Any]:
        if (owner := self._owner(name)) is not None:
            return [getattr(owner, name)] * self.num_envs
        # Asked for what a sub-env does not have, AsyncVectorEnv shuts down.
        if not self._sub_envs_have(name):
            raise AttributeError(f"Neither {self.env} nor its sub-envs have {name!r}.")
        return list(self._owner("get_attr").get_attr(name))


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


def _is_wrapped(env: gym.Env | None, wrapper_class: type[gym.Wrapper]) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, wrapper_class):
            return True
        env = env.env
    return False
