"""What a replay buffer must be able to do where something is kept of old tasks."""

import warnings
from typing import Any

from stable_baselines3.her.her_replay_buffer import HerReplayBuffer


def check_buffer(model: Any, replayed_size: int) -> None:
    """
    :param model: an off-policy NBSP model
    :param replayed_size: transitions that are kept per old task
    :raises ValueError: where its replay buffer cannot be carried over a task switch; says what to do
    """
    if isinstance(model.replay_buffer, HerReplayBuffer):
        raise ValueError(
            "HerReplayBuffer relabels goals through the one env that it was made with and cannot be carried over a "
            "task switch. Use the default replay buffer."
        )
    if model.optimize_memory_usage and replayed_size > 0:
        raise ValueError(
            "optimize_memory_usage=True stores no next observations, so transitions cannot be carried over a task "
            'switch. Use optimize_memory_usage=False, rehearsal="clone", or memory_size=0.'
        )
    if model.memory_size > 0 and model.memory is None:
        raise ValueError(
            f"{type(model.replay_buffer).__name__} keeps no transitions of old tasks. Use replay_buffer_class=None, a "
            "class derived from MixedReplayBuffer, or memory_size=0."
        )


def warn_of_nothing_to_rehearse() -> None:
    """Say why a task that ends leaves nothing to rehearse, and what to do."""
    warnings.warn(
        "No transition of the task that ends is at hand, so none of them can be rehearsed. A model's file holds no "
        "replay buffer: call load_replay_buffer() before consolidate() (with save_replay_buffer() where the model is "
        "saved), or learn() on the task first. memory_size=0 switches the memory off.",
        stacklevel=3,
    )
