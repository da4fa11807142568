"""Rollout buffers that rehearse: PPO has no replay buffer, so the memory is filled from a task's last rollouts."""

from collections.abc import Generator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch as th
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from sb3_nbsp.base.arrays import Observations, take, to_tensors
from sb3_nbsp.rehearsal.memory import Samples, TaskMemory
from sb3_nbsp.rehearsal.replay_buffers import concatenate

LEARNED_FROM = ("actions", "log_probs", "values", "advantages", "returns")
ADVANTAGE_EPSILON = 1e-8  # SB3's, where it normalises advantages


@dataclass(frozen=True)
class RolloutSamples(Samples):
    """
    M steps of a policy with what PPO learns from them.

    :param observations: [M, ...], not normalised
    :param actions: [M, action_dim], as the policy gave them
    :param log_probs: [M], log pi(a|s) of the policy that acted
    :param values: [M], V(s): in recent rollouts of the critic that saw the step, in the memory of the critic at the task's end
    :param advantages: [M]; in the memory with mean 0 and standard deviation 1
    :param returns: [M], TD(lambda) targets of V
    :param distributions: [M, P], parameters of the policy's action distribution at the task's end; P = 0 in recent rollouts
    """

    actions: np.ndarray
    observations: Observations
    log_probs: np.ndarray
    values: np.ndarray
    advantages: np.ndarray
    returns: np.ndarray
    distributions: np.ndarray


class RecentSamples:
    """
    The current task's newest samples. Saved with the model: a run that goes on from a checkpoint still has them when the
    task ends.
    """

    def __init__(self) -> None:
        self._parts: list[RolloutSamples] = []

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def add(self, samples: RolloutSamples, size: int) -> None:
        """Append samples, in the order of their age; the oldest make room, so that ``size`` are left (1 or more)."""
        self._parts.append(samples)
        while len(self) - len(self._parts[0]) >= size:
            self._parts.pop(0)
        self._parts[0] = self._parts[0].rows(slice(max(len(self) - size, 0), None))

    def take(self, size: int) -> RolloutSamples | None:
        """The newest ``size`` samples (1 or more), oldest first, ``None`` if there are none. None are left here."""
        parts, self._parts = self._parts, []
        samples = RolloutSamples.join(parts) if parts else None
        return samples.rows(slice(-size, None)) if samples is not None and len(samples) else None

    def reset(self) -> None:
        """Drop all."""
        self._parts = []

    def state_dict(self) -> dict[str, Any]:
        """Tensors by field; empty if there are no samples."""
        return RolloutSamples.join(self._parts).state_dict() if self._parts else {}

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """The reverse of :meth:`state_dict`; ``strict`` is there for SB3 and changes nothing."""
        self._parts = [RolloutSamples.from_state_dict(state_dict)] if state_dict else []


class MixedRollouts:
    """
    What a mixed rollout buffer adds to SB3's. Its settings are those of the algorithm, which sets them.

    Without a memory, or with ``mixes = False``, it gives exactly the minibatches of SB3's.
    """

    memory_size: int = 0
    mixes: bool = True  # whether get() mixes old samples in
    replay_mode: Literal["interval", "share"] = "interval"
    replay_interval: int = 10
    old_task_fraction: float = 0.5
    vec_normalize: VecNormalize | None = None  # normalises what the env gives; memory and recent samples are not normalised

    def __init__(self, *args: Any, **kwargs: Any):
        self.memory = TaskMemory(RolloutSamples)
        self.recent = RecentSamples()
        self.first_row_of_task = 0
        self.n_batches = 0  # of the rollouts' minibatches so far
        super().__init__(*args, **kwargs)

    def reset(self: Any) -> None:
        """See SB3. The memory and the recent samples stay."""
        self.first_row_of_task = 0
        self._raw: list[Any] = []  # observations before they were normalised, by row
        if self.vec_normalize is not None:
            self._next_raw = self.vec_normalize.get_original_obs()
        super().reset()  # type: ignore[misc]

    def add(self: Any, *args: Any, **kwargs: Any) -> None:
        """See SB3."""
        super().add(*args, **kwargs)  # type: ignore[misc]
        if self.vec_normalize is not None:  # it has made its next step already
            self._raw.append(self._next_raw)
            self._next_raw = self.vec_normalize.get_original_obs()

    @property
    def rehearses(self) -> bool:
        """Whether there are samples of old tasks to learn from."""
        return self.memory_size > 0 and len(self.memory) > 0

    # A task's samples on their way into the memory

    def compute_returns_and_advantage(self: Any, last_values: th.Tensor, dones: np.ndarray) -> None:
        """See SB3. The rollout, now complete, joins the recent ones."""
        super().compute_returns_and_advantage(last_values, dones)  # type: ignore[misc]
        self._keep(self, self.buffer_size)

    def end_task(self: Any, last_values: th.Tensor, dones: np.ndarray) -> None:
        """
        End the current task, in the midst of a rollout or after one. What the rollout holds of it so far joins the recent
        samples.

        :param last_values: V of the observations after the last step, [n_envs]
        :param dones: whether the last step ended an episode, [n_envs]
        """
        if not self.full and self.pos > self.first_row_of_task:
            part = copy(self)  # shares the arrays; the rollout's own advantages are computed when it is complete
            part.buffer_size = self.pos
            RolloutBuffer.compute_returns_and_advantage(part, last_values, dones)
            self._keep(part, self.pos)
        self.first_row_of_task = 0 if self.full else self.pos

    def _keep(self: Any, rollout: Any, end: int) -> None:
        """Let the current task's rows up to ``end`` join the recent samples."""
        if self.memory_size == 0:
            return
        observations = self._stacked_raw() if self.vec_normalize is not None else self.observations
        start = max(self.first_row_of_task, end - -(-self.memory_size // self.n_envs))
        rows, envs = np.divmod(np.arange(start * self.n_envs, end * self.n_envs), self.n_envs)
        arrays = {name: getattr(rollout, name)[rows, envs] for name in LEARNED_FROM}
        none = np.zeros((len(rows), 0), dtype=np.float32)
        samples = RolloutSamples(observations=take(observations, rows, envs), distributions=none, **arrays)
        self.recent.add(samples, self.memory_size)

    def _stacked_raw(self: Any) -> Observations:
        """[rows, n_envs, ...], in the form and precision that the buffer keeps observations in."""
        if isinstance(self.observations, dict):
            return {key: _stacked([raw[key] for raw in self._raw], kept) for key, kept in self.observations.items()}
        return _stacked(self._raw, self.observations)

    def remember(self, task: int, samples: RolloutSamples) -> None:
        """
        Keep samples as the memory of a task.

        :param task: index of the task
        :param samples: at most ``memory_size``
        """
        deviation = samples.advantages.std() + ADVANTAGE_EPSILON
        advantages = (samples.advantages - samples.advantages.mean()) / deviation
        self.memory.store(task, replace(samples, advantages=advantages), self.memory_size)

    # Minibatches

    def get(self: Any, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """
        One pass over the rollout; old samples come in addition, so that all of the rollout is learned from.

        In ``interval`` mode a minibatch from the memory follows every ``replay_interval``-th one, in ``share`` mode every
        minibatch holds a share ``old_task_fraction`` of old samples.

        :param batch_size: samples per minibatch; ``None``: the whole rollout in one
        """
        whole = batch_size or self.buffer_size * self.n_envs
        rehearses = self.mixes and self.rehearses
        n_old = round(self.old_task_fraction * whole) if rehearses and self.replay_mode == "share" else 0
        n_old = min(n_old, whole - 1)
        n_new = whole - n_old
        for batch in super().get(n_new if n_old > 0 else batch_size):  # type: ignore[misc]
            self.n_batches += 1
            n_beside = n_old * len(batch.actions) // n_new  # the last minibatch may be smaller
            yield concatenate(batch, self._old_batch(n_beside)) if n_beside > 0 else batch
            if rehearses and self.replay_mode == "interval" and self.n_batches % self.replay_interval == 0:
                yield self._old_batch(whole)

    def _old_batch(self: Any, n_samples: int) -> RolloutBufferSamples:
        old = self.sample_memory(n_samples)
        # On the current rollout's scale: algorithms normalise the advantages of a minibatch together.
        advantages = self.advantages.mean() + old.advantages * self.advantages.std()
        return RolloutBufferSamples(
            observations=to_tensors(old.observations, self.device),
            actions=self.to_torch(old.actions.astype(np.float32, copy=False)),
            old_values=self.to_torch(old.values),
            old_log_prob=self.to_torch(old.log_probs),
            advantages=self.to_torch(advantages),
            returns=self.to_torch(old.returns),
        )

    def sample_memory(self: Any, n_samples: int) -> RolloutSamples:
        """Draw old samples, normalised as observations are now."""
        return self.normalized(self.memory.sample(n_samples))

    def normalized(self: Any, samples: RolloutSamples) -> RolloutSamples:
        """Samples with observations as the policy sees them."""
        return replace(samples, observations=self._normalize_obs(samples.observations, self.vec_normalize))


def _stacked(raw: list[np.ndarray], kept: np.ndarray) -> np.ndarray:
    """As SB3's buffers do, where an env gives a number (``Discrete``) they keep an array of one."""
    return np.stack(raw).reshape(-1, *kept.shape[1:]).astype(kept.dtype)


class MixedRolloutBuffer(MixedRollouts, RolloutBuffer):
    """SB3's ``RolloutBuffer`` with a memory of earlier tasks. See :class:`MixedRollouts`."""


class MixedDictRolloutBuffer(MixedRollouts, DictRolloutBuffer):  # type: ignore[misc]
    """SB3's ``DictRolloutBuffer`` with a memory of earlier tasks. See :class:`MixedRollouts`."""
