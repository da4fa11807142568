"""
A row of the mirror of replay buffers: s, a, s', r and 1 where the episode goes on, else 0; and how many of them there are.

Models are agents with ordinary buffers throughout (:func:`~sb3_nbsp.sac.buffer_reader.is_plain`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sb3_nbsp.rehearsal.memory import Transitions


def ring_size(model: Any) -> int:
    """Rows of a model's ring: transitions that its buffer has room for."""
    return int(model.replay_buffer.buffer_size * model.replay_buffer.n_envs)


def memory_rows(model: Any) -> int:
    """Rows that a model's memory will have at the end of its sequence, as far as that is known."""
    n_tasks = len({task for task, _ in model.position.record["visits"]})
    # The buffer's: 0 where old observations are cloned and no transitions replayed.
    return int(model.replay_buffer.memory_size) * max(n_tasks, len(model.memory.tasks))


def row_width(model: Any) -> int:
    """Numbers of a row."""
    buffer = model.replay_buffer
    return 2 * int(np.prod(buffer.obs_shape)) + int(buffer.action_dim) + 2


def mirror_bytes(models: Sequence[Any], entry: int = 4) -> int:
    """
    :param models: agents
    :param entry: bytes of a number
    :return: bytes that a mirror of their buffers takes
    """
    return sum(ring_size(model) + memory_rows(model) for model in models) * row_width(models[0]) * entry


def filled_bytes(models: Sequence[Any], entry: int = 4) -> int:
    """
    :param models: agents in their ``learn()``
    :param entry: bytes of a number
    :return: bytes that the rows will take which have been filled by the end of ``learn()``
    """

    def n_rows(model: Any) -> int:
        filled = model.replay_buffer.size() * model.replay_buffer.n_envs
        coming = max(model._total_timesteps - model.num_timesteps, 0)
        return min(filled + coming, ring_size(model)) + memory_rows(model)

    return sum(map(n_rows, models)) * row_width(models[0]) * entry


def ring_rows(buffer: Any, part: slice) -> np.ndarray:
    """
    :param buffer: an ordinary buffer
    :param part: places in its ring
    :return: what stands there, sub-env after sub-env in each place, [places * n_envs, width]
    """
    names = ("observations", "actions", "next_observations")
    n_rows = (part.stop - part.start) * buffer.n_envs
    goes_on = 1 - buffer.dones[part] * (1 - buffer.timeouts[part])  # what ends at a time limit goes on
    arrays = [*(getattr(buffer, name)[part] for name in names), buffer.rewards[part], goes_on]
    return np.concatenate([array.reshape(n_rows, -1) for array in arrays], axis=1, dtype=np.float32)


def memory_to_rows(samples: Transitions) -> np.ndarray:
    """
    :param samples: of an old task
    :return: their rows, [samples, width]
    """
    rewards = (samples.rewards * samples.weights).sum(axis=1, keepdims=True)
    observations, following = (
        np.asarray(array).reshape(len(samples), -1) for array in (samples.observations, samples.next_observations)
    )
    return np.concatenate([observations, samples.actions, following, rewards, 1 - samples.dones], axis=1, dtype=np.float32)
