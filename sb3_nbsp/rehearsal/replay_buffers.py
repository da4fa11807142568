"""Replay buffers that rehearse: the current task's transitions, mixed with a bounded memory of every earlier task."""

from typing import Any, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from sb3_nbsp.base.arguments import check_arguments, documented
from sb3_nbsp.base.arrays import Observations, take, to_tensors
from sb3_nbsp.rehearsal.arguments import MemoryRetention, MemorySize, OldTaskFraction, ReplayInterval, ReplayMode
from sb3_nbsp.rehearsal.memory import Random, TaskMemory, Transitions

Batch = TypeVar("Batch", bound=tuple[Any, ...])  # SB3's samples are named tuples
MEMORY_ARGUMENTS = ("memory_size", "memory_retention", "replay_mode", "replay_interval", "old_task_fraction")
# What a row of a buffer consists of, each [buffer_size, n_envs, ...]
ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# What a buffer counts beside SB3's; files and checkpoints keep all of it.
COUNTERS = ("n_batches", "n_rows_of_task", "n_task_ends", "n_added", "n_resets", "leaves_out_next")


@documented
class MixedBuffer:
    """
    What a mixed buffer adds to SB3's.

    :raises ValueError: for a value that is not allowed
    """

    # How often the ring was emptied or its rows were changed, and how many rows it was ever given: whoever keeps a copy of
    # them must know.
    n_resets = 0
    n_added = 0
    leaves_out_next = False  # whether the next row, which ends a task that is consolidated already, is not stored

    def __init__(
        self,
        *args: Any,
        memory_size: MemorySize = 10_000,
        memory_retention: MemoryRetention = "uniform",
        replay_mode: ReplayMode = "interval",
        replay_interval: ReplayInterval = 10,
        old_task_fraction: OldTaskFraction = 0.5,
        **kwargs: Any,
    ):
        check_arguments(MixedBuffer.__init__, locals())
        super().__init__(*args, **kwargs)
        self.memory_size = memory_size
        self.memory_retention = memory_retention
        self.replay_mode = replay_mode
        self.replay_interval = replay_interval
        self.old_task_fraction = old_task_fraction
        self.memory = TaskMemory(Transitions)
        self.n_batches = 0
        self.n_rows_of_task = 0
        self.n_task_ends = 0

    def add(self: Any, *args: Any, **kwargs: Any) -> None:
        """See SB3."""
        if self.leaves_out_next:
            self.leaves_out_next = False
            return
        super().add(*args, **kwargs)  # type: ignore[misc]
        self.n_rows_of_task += 1
        self.n_added += 1

    def reset(self: Any) -> None:
        """Empty the current task's buffer. The memory stays."""
        super().reset()  # type: ignore[misc]
        self.n_rows_of_task = 0
        self.n_resets += 1

    def rows_changed(self) -> None:
        """
        To be called after rows that were added, or the memory's, are changed in place (``buffer.rewards[:] *= 0.1``): gradient
        steps of a population, and on a CUDA device, take their batches from a copy, and checkpoints write what is new.
        """
        self.n_resets += 1

    def end_task(self, n_task_ends: int) -> None:
        """
        What was added so far belongs to a task that is over.

        :param n_task_ends: how many tasks have ended by now, remembered or not. It tells how old a saved buffer is.
        """
        self.n_rows_of_task = 0
        self.n_task_ends = n_task_ends

    def remember(self: Any, task: int) -> int:
        """
        Keep up to ``memory_size`` of the transitions added since the last call as the memory of a task. Where they are
        fewer, the task's older ones fill it up.

        :param task: index of the task
        :return: number of new transitions kept
        :raises ValueError: with ``optimize_memory_usage``, where next observations are not stored
        """
        if self.optimize_memory_usage:
            raise ValueError(
                "optimize_memory_usage=True stores no next observations, so transitions cannot be carried over a task "
                "switch. Use optimize_memory_usage=False."
            )
        rows, envs = self._choose(self.memory_size)
        self.n_rows_of_task = 0
        if len(rows) > 0:
            self.memory.store(task, self._transitions(rows, envs), self.memory_size)
        return len(rows)

    def observations_of_task(self: Any, size: int) -> Observations:
        """
        :param size: M, at most
        :return: observations of the current task that are in the ring, not normalised, chosen as ``memory_retention`` says,
            [M, ...]
        """
        return take(self.observations, *self._choose(size))

    def _choose(self: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
        """
        Choose among the transitions added since the task began.

        :param size: M, at most
        :return: positions in the ring and sub-envs, [M] each
        """
        n_rows = min(self.n_rows_of_task, self.size())
        n_kept = min(size, n_rows * self.n_envs)
        if self.memory_retention == "uniform" and n_kept > 0:
            chosen = np.random.permutation(n_rows * self.n_envs)[:n_kept]
        else:
            chosen = np.arange(n_rows * self.n_envs - n_kept, n_rows * self.n_envs)
        return (self.pos - n_rows + chosen // self.n_envs) % self.buffer_size, chosen % self.n_envs  # in order of age

    def sample(self: Any, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """
        Sample a batch; without a memory exactly what the parent class samples.

        :param batch_size: number of transitions
        :param env: normalises observations and rewards
        """
        n_old = self._n_old(batch_size)
        if n_old == 0:
            return super().sample(batch_size, env)  # type: ignore[misc]
        old = self._to_samples(self.memory.sample(n_old), env)
        if n_old == batch_size:
            return old
        return concatenate(super().sample(batch_size - n_old, env), old)  # type: ignore[misc]

    def draw(
        self: Any, batch_size: int, random: Random = np.random
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[int, np.ndarray]]]:
        """
        Choose a batch as :meth:`sample` does, with the same random numbers, for those who read the transitions themselves.
        Not for buffers whose class has a ``sample`` of its own, nor with ``optimize_memory_usage``.

        :param batch_size: number of transitions
        :param random: NumPy's legacy generator; default: the process's
        :return: rows of the ring; their sub-envs; by old task its index and which of its samples in the memory
        """
        n_old = self._n_old(batch_size)
        old = self.memory.draw(n_old, random) if n_old else []
        if n_old == batch_size:
            return np.empty(0, int), np.empty(0, int), old
        rows = random.randint(0, self.size(), size=batch_size - n_old)
        if self.n_envs == 1:  # no choice, for which NumPy draws nothing
            return rows, np.zeros(len(rows), int), old
        return rows, random.randint(0, high=self.n_envs, size=len(rows)), old

    @property
    def has_old(self) -> bool:
        """Whether old transitions come into batches."""
        return self.memory_size > 0 and len(self.memory) > 0

    def _n_old(self, batch_size: int) -> int:
        if not self.has_old:
            return 0
        if self.replay_mode == "share":
            return round(self.old_task_fraction * batch_size)
        self.n_batches += 1
        return batch_size if self.n_batches % self.replay_interval == 0 else 0

    def _transitions(self: Any, rows: np.ndarray, envs: np.ndarray) -> Transitions:
        """
        Read n-step transitions (n = 1 in most buffers) out of the ring.

        :param rows: [M], positions in the ring
        :param envs: [M], sub-envs
        """
        n_steps = getattr(self, "n_steps", 1)
        steps = (rows[:, None] + np.arange(n_steps)) % self.buffer_size  # [M, n_steps]
        ended = (self.dones[steps, envs[:, None]] != 0) | (self.timeouts[steps, envs[:, None]] != 0)
        newest = (self.pos - 1) % self.buffer_size
        ended |= steps == newest  # what follows the newest row belongs to another time
        # A step counts if no earlier one ended the episode; the last that counts holds the next observation.
        counts = np.cumsum(ended, axis=1) - ended == 0
        n_counted = counts.sum(axis=1)
        last = (rows + n_counted - 1) % self.buffer_size
        gamma = getattr(self, "gamma", 1.0)
        return Transitions(
            observations=take(self.observations, rows, envs),
            next_observations=take(self.next_observations, last, envs),
            actions=self.actions[rows, envs],
            dones=(self.dones[last, envs] * (1 - self.timeouts[last, envs]))[:, None],
            rewards=self.rewards[steps, envs[:, None]],
            weights=(gamma ** np.arange(n_steps) * counts).astype(np.float32),
            discounts=(gamma**n_counted)[:, None].astype(np.float32),
        )

    def _to_samples(self: Any, batch: Transitions, env: VecNormalize | None) -> ReplayBufferSamples:
        rewards = (self._normalize_reward(batch.rewards, env) * batch.weights).sum(axis=1, keepdims=True)
        samples = ReplayBufferSamples(
            observations=to_tensors(self._normalize_obs(batch.observations, env), self.device),
            actions=self.to_torch(batch.actions),
            next_observations=to_tensors(self._normalize_obs(batch.next_observations, env), self.device),
            dones=self.to_torch(batch.dones),
            rewards=self.to_torch(rewards),
            discounts=self.to_torch(self._discounts(batch)) if hasattr(self, "n_steps") else None,
        )
        if isinstance(batch.observations, dict):
            return DictReplayBufferSamples(*samples)  # type: ignore[arg-type,return-value]
        return samples

    def _discounts(self: Any, batch: Transitions) -> np.ndarray:
        """A buffer of single steps, which knows no gamma, noted 1 where it filled the memory before."""
        return np.where(batch.discounts == 1, np.float32(self.gamma), batch.discounts)


class MixedReplayBuffer(MixedBuffer, ReplayBuffer):
    """SB3's ``ReplayBuffer`` with a memory of earlier tasks. See :class:`MixedBuffer` for its arguments."""


class MixedDictReplayBuffer(MixedBuffer, DictReplayBuffer):  # type: ignore[misc]
    """SB3's ``DictReplayBuffer`` with a memory of earlier tasks. See :class:`MixedBuffer` for its arguments."""


class MixedNStepReplayBuffer(MixedBuffer, NStepReplayBuffer):
    """SB3's ``NStepReplayBuffer`` with a memory of earlier tasks. See :class:`MixedBuffer` for its arguments."""


def concatenate(new: Batch, old: Batch) -> Batch:
    """Put two batches of the same kind behind one another."""

    def join(a: Any, b: Any) -> Any:
        if isinstance(a, dict):
            return {key: th.cat([a[key], b[key]]) for key in a}
        return None if a is None else th.cat([a, b])

    return type(new)(*(join(a, b) for a, b in zip(new, old, strict=True)))
