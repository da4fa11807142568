"""The running episode of an env, written down so that it can be played again: random state at its beginning, then actions."""

from typing import Any

import gymnasium as gym
import numpy as np

from sb3_nbsp.base.wrapper_states import restore_wrappers, wrapper_states

MAX_ACTIONS = 100_000  # of one episode that are kept; a longer one cannot be played again


class EpisodeRecord:
    """
    What an env that is made anew needs to stand where this one stands: the last seeded reset (Meta-World makes its goals
    there), the random state before the episode's own reset, and the actions since, with what they led to. No inside of a
    simulator is looked at, but what the wrappers around it hold from episode to episode (running statistics, lives).

    :param env: the env, in its own wrappers
    """

    def __init__(self, env: gym.Env) -> None:
        self._env = env
        self._first: dict[str, Any] | None = None  # the last seeded reset, or the first one where none was
        self._last: dict[str, Any] | None = None  # the running episode's reset
        self._actions: list[np.ndarray] = []
        self._told: list[tuple[float, bool, bool]] = []  # reward and both ends of each step
        self._observation: Any = None

    def begins(self, seed: int | None, options: dict[str, Any] | None) -> None:
        """Call this before the env's ``reset()``."""
        before = {"generator": _generator_state(self._env), "wrappers": wrapper_states(self._env)}
        self._last = {"seed": seed, "options": options, **before}
        if seed is not None or self._first is None:
            self._first = self._last
        self._actions, self._told = [], []

    def began(self, observation: Any) -> None:
        """Call this after the env's ``reset()``."""
        self._observation = observation

    def took(self, action: Any, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Call this after the env's ``step()``."""
        if len(self._actions) <= MAX_ACTIONS:
            self._actions.append(np.array(action))
            self._told.append((float(reward), bool(terminated), bool(truncated)))
        self._observation = observation

    def state(self) -> dict[str, Any] | None:
        """
        :return: plain values and arrays; ``None`` before the first reset. ``actions`` is ``None`` for an episode that is too
            long.
        """
        if self._last is None:
            return None
        whole = len(self._actions) <= MAX_ACTIONS
        return {
            "first": self._first,
            "last": self._last,
            "same": self._first is self._last,
            "actions": (np.stack(self._actions) if self._actions else np.zeros(0)) if whole else None,
            "told": np.array(self._told, dtype=np.float64),
            "observation": self._observation,
            "generator": _generator_state(self._env),
            "wrappers": wrapper_states(self._env),
        }

    def restore(self, env: gym.Env, state: dict[str, Any] | None, plays: bool) -> bool:
        """
        Let an env stand where another one stood.

        :param env: the one that calls this record in its ``reset`` and ``step``
        :param state: of the other one's record
        :param plays: whether its episode is running, so that it must be played again
        :return: whether the env gave, bit for bit, the rewards, the ends and the last observation that the other one did, and
            its wrappers hold nothing that cannot be told. Its random state is the other one's either way.
        """
        if state is None:
            return not plays
        self._first = None
        if plays and state["actions"] is not None:
            is_same = self._replay(env, state)
        else:
            self._reset_as(env, state["first"])
            is_same = not plays
        _set_generator(env, state["generator"])
        # Earlier versions did not tell of wrappers.
        return restore_wrappers(self._env, state.get("wrappers", wrapper_states(self._env))) and is_same

    def _replay(self, env: gym.Env, state: dict[str, Any]) -> bool:
        """Whether it went as it had."""
        observation = self._reset_as(env, state["first"])
        if not state["same"]:
            observation = self._reset_as(env, state["last"])
        told = state.get("told")  # earlier versions did not keep it
        for i, action in enumerate(state["actions"]):
            observation, reward, terminated, truncated, _ = env.step(action)
            went = np.array([reward, terminated, truncated], dtype=np.float64)
            if went[1:].any() if told is None else not _equal(went, told[i]):
                return False
        return _equal(observation, state["observation"])

    def _reset_as(self, env: gym.Env, reset: dict[str, Any]) -> Any:
        _set_generator(env, reset["generator"])
        if "wrappers" in reset:
            restore_wrappers(self._env, reset["wrappers"])
        return env.reset(seed=reset["seed"], options=reset["options"])[0]


def _generator_state(env: gym.Env) -> dict[str, Any] | None:
    bits = getattr(getattr(env.unwrapped, "np_random", None), "bit_generator", None)
    return None if bits is None else dict(bits.state)


def _set_generator(env: gym.Env, state: dict[str, Any] | None) -> None:
    if state is not None:
        env.unwrapped.np_random.bit_generator.state = state


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
