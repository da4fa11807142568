"""One task of a sequence, in the form that all tasks share."""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_nbsp.base.success import KEYS, success_of
from sb3_nbsp.tasks.episode_record import EpisodeRecord


def is_float_box(space: spaces.Space) -> bool:
    """Whether observations of a space are arrays of floats."""
    return isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)


def shared_space(space: spaces.Space, one_hot_size: int = 0) -> spaces.Space:
    """
    :param space: observations of a task's own environment
    :param one_hot_size: length of the task id that is appended to them
    :return: observations of the task within a sequence: float32 without bounds, where they are arrays of floats
    """
    if not is_float_box(space):
        return space
    assert space.shape is not None
    shape = (space.shape[0] + one_hot_size,) if one_hot_size > 0 else space.shape
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


Spaces = tuple[spaces.Space, spaces.Space]  # of observations and of actions


def check_same_spaces(first: str, expected: Spaces, other: str, got: Spaces) -> None:
    """
    :param first: what has the spaces that all must have, in words
    :param expected: its spaces, observations in the form that tasks share
    :param other: what is held against it, in words
    :param got: its spaces
    :raises ValueError: if they differ
    """
    for kind, one, another in zip(("observation", "action"), expected, got, strict=True):
        if one != another:
            raise ValueError(
                f"All tasks of a sequence must share one {kind} space: {first} has {one}, {other} has {another}. "
                "Wrap the tasks' environments so that they agree."
            )


class TaskEnv(gym.Wrapper):
    """
    One task of a sequence, in the form that all tasks share.

    A float ``Box`` observation becomes float32 in ``Box(-inf, inf)``, because the bounds that environments declare
    often differ between tasks that are otherwise alike; every other space is left as it is.

    ``info`` always holds ``task_id`` (int), ``task_name`` and ``task_done`` (here always ``False``). If the environment
    reports ``success`` or ``is_success``, ``info`` holds both: ``success`` (float) tells of this step, ``is_success``
    (bool) is true from the first success of the episode to its end. SB3 reads ``is_success`` at the episode's end, so
    an episode counts as solved if any of its steps was a success. It may be told in any form that is one number, and at some
    steps only (``None`` tells nothing): at a step that tells nothing ``success`` is missing, and ``is_success`` too until
    the episode's first step that does.

    :param env: the task's own environment, with its time limit
    :param task_name: the task's name
    :param task_index: the task's place among the sequence's tasks
    :param one_hot_size: length of the one-hot task id appended to the observation; 0 appends nothing
    :raises ValueError: if a task id is to be appended to anything but a 1-D float ``Box``
    """

    def __init__(self, env: gym.Env, task_name: str, task_index: int, one_hot_size: int = 0) -> None:
        super().__init__(env)
        self.task_name = task_name
        self.task_index = task_index
        self._one_hot = np.zeros(one_hot_size, dtype=np.float32)
        if one_hot_size > 0:
            self._one_hot[task_index] = 1.0
        self._succeeded: bool | None = None  # of the episode; None: not told so far
        self._record = EpisodeRecord(env)
        space = env.observation_space
        self._is_float = is_float_box(space)
        if one_hot_size > 0 and not (self._is_float and len(space.shape or ()) == 1):
            raise ValueError(
                f"task_id=True needs a 1-D float Box observation to append to, but task {task_name!r} has {space}. "
                "Use task_id=False, or flatten the observation in the task's own environment."
            )
        self.observation_space = shared_space(space, one_hot_size)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        Begin an episode.

        :param seed: seed of the task's own environment
        :param options: handed on to the task's own environment
        :return: observation and info
        """
        self._record.begins(seed, options)
        obs, info = self.env.reset(seed=seed, options=options)
        self._succeeded = None
        obs = self._canonical(obs)
        self._record.began(obs)
        return obs, self._with_task(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """
        Take one step of the task.

        :param action: the action
        :return: observation, reward, terminated, truncated, info
        """
        obs, reward, terminated, truncated, info = self.env.step(action)
        info = self._with_task(info)
        self._tell_success(info)
        obs = self._canonical(obs)
        self._record.took(action, obs, reward, terminated, truncated)
        return obs, reward, terminated, truncated, info

    def episode_state(self) -> dict[str, Any] | None:
        """
        What a new env needs to stand where this one stands.

        :return: see :meth:`~sb3_nbsp.tasks.episode_record.EpisodeRecord.state`
        """
        return self._record.state()

    def restore_episode(self, state: dict[str, Any] | None, plays: bool = True) -> bool:
        """
        Play another env's episode again, up to where it stood.

        :param state: its ``episode_state()``
        :param plays: whether that episode is running; else only the random state is taken over
        :return: whether this env stands there now, to the bit. If not, call ``reset()``.
        """
        return self._record.restore(self, state, plays)

    def _tell_success(self, info: dict[str, Any]) -> None:
        success = success_of(info)
        for key in KEYS:
            info.pop(key, None)
        if not np.isnan(success):
            info["success"] = success
            self._succeeded = bool(self._succeeded) or success > 0.0
        if self._succeeded is not None:
            info["is_success"] = self._succeeded

    def _canonical(self, obs: Any) -> Any:
        if not self._is_float:
            return obs
        obs = np.array(obs, dtype=np.float32)
        return np.concatenate([obs, self._one_hot]) if self._one_hot.size else obs

    def _with_task(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "task_id": self.task_index, "task_name": self.task_name, "task_done": False}
