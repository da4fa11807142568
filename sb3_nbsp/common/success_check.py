"""Whether the tasks of a sequence tell success, found out before training."""

import warnings
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.base.success import success_of


def check_success_is_told(sequence: Any, max_steps: int) -> None:
    """
    At the first switch it would be too late: hours of training would be lost.

    :param sequence: a :class:`~sb3_nbsp.tasks.TaskSequence`
    :param max_steps: how many random steps are taken at most to see an episode's end, where success may be told
    :raises ValueError: if an episode of a task tells no success from its beginning to its end
    """
    for task in sequence.task_names:
        with isolated_rng(), closing(sequence.make_task_env(task, evaluation=True)) as env:
            told, ended, keys = _first_told(env, max_steps)
        if ended and not told:
            raise ValueError(
                f'goal_metric="success" needs `success` or `is_success` in the info of task {task}, at every step or at the '
                f'episode\'s end; it has only {keys}. Use goal_metric="return" or "reward", or add the key in a wrapper.'
            )
        if not told:
            warnings.warn(
                f"Task {task} told no success within {max_steps} random steps, in which no episode ended. If its "
                'episodes tell none, goal_metric="success" will be refused when the task ends.',
                stacklevel=2,
            )


def _first_told(env: gym.Env, max_steps: int) -> tuple[bool, bool, list[str]]:
    """Whether success was told, whether the episode ended, and the info's keys."""
    env.reset()
    told, ended, steps = False, False, 0
    info: dict[str, Any] = {}
    while not told and not ended and steps < max_steps:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        told, ended, steps = not np.isnan(success_of(info)), terminated or truncated, steps + 1
    return told, ended, sorted(info)
