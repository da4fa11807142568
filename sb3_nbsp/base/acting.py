"""
Rollouts that are cut where the policy is asked: whoever runs them may ask one policy, or many at once.

A rollout is a generator. It yields observations and which of them begin an episode, is sent the actions, and returns what it
was run for.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")
# (observations [n_envs, ...], starts [n_envs]) -> actions [n_envs, ...] -> ... -> result
Rollout = Generator[tuple[Any, np.ndarray], np.ndarray, Result]


def run(rollout: Rollout[Result], predict: Callable[..., tuple[np.ndarray, Any]], deterministic: bool) -> Result:
    """
    Run a rollout with one policy.

    :param rollout: not begun
    :param predict: a model's
    :param deterministic: whether it takes its most likely actions
    :return: the rollout's result
    """
    state = None  # of a recurrent policy
    try:
        observations, starts = next(rollout)
        while True:
            state = None if starts.all() else state
            actions, state = predict(observations, state=state, episode_start=starts, deterministic=deterministic)
            observations, starts = rollout.send(actions)
    except StopIteration as end:
        return end.value
