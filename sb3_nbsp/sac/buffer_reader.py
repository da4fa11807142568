"""Batches out of replay buffers in main memory, one agent's at a time."""

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.rehearsal.memory import Transitions
from sb3_nbsp.rehearsal.replay_buffers import ARRAYS, MixedReplayBuffer
from sb3_nbsp.sac.agent_batches import AgentBatches


class BufferReader:
    """
    Reads one agent's batches as its replay buffer would sample them, with its own random numbers, and four times as fast
    where the buffer is this package's ordinary one.

    :param model: the agent, an NBSPSAC
    :param streams: its random numbers
    """

    def __init__(self, model: Any, streams: ProcessStreams):
        self.model = model
        self.streams = streams
        self._arrays: list[np.ndarray] = []
        self._rings: list[th.Tensor] = []

    def read(self, batch: AgentBatches, agent: int) -> None:
        """
        Put a batch and its noise into a place.

        :param batch: the place
        :param agent: the agent's number in it
        """
        batch.load(agent, self.samples(batch.size), self.model.gamma)
        if batch.n_old and self.model.cloning.is_due():
            with self.streams.in_use():
                batch.load_old(agent, *self.model.cloning.sample())
        self._draw_noise(batch, agent)

    def samples(self, size: int) -> ReplayBufferSamples:
        """
        :param size: B
        :return: what the replay buffer's ``sample`` would return
        """
        buffer = self.model.replay_buffer
        if not is_plain(self.model) or (buffer.replay_mode == "share" and len(buffer.memory)):
            with self.streams.in_use():
                return buffer.sample(size, env=self.model._vec_normalize_env)
        rows, envs, old = buffer.draw(size, self.streams.numpy)
        if old:
            kept = Transitions.join([buffer.memory.tasks[task].rows(chosen) for task, chosen in old])
            return buffer._to_samples(kept, None)
        observations, next_observations, actions, rewards, dones, timeouts = self._take(rows * buffer.n_envs + envs)
        ends = dones.mul_(timeouts.neg_().add_(1))  # what ends at a time limit goes on
        return ReplayBufferSamples(observations, actions, next_observations, ends[:, None], rewards[:, None])

    def _draw_noise(self, batch: AgentBatches, agent: int) -> None:
        on_device = batch.drawn.is_cuda
        generator = self.streams.on(batch.drawn.device) if on_device else self.streams.torch
        for half in batch.drawn[agent].split(batch.size):  # apart, as SB3 draws them
            half.normal_(generator=generator)

    def _take(self, index: np.ndarray) -> list[th.Tensor]:
        buffer = self.model.replay_buffer
        arrays = [getattr(buffer, name) for name in ARRAYS]
        if len(arrays) != len(self._arrays) or any(a is not b for a, b in zip(arrays, self._arrays, strict=True)):
            self._arrays = arrays
            self._rings = [
                th.from_numpy(a).flatten(0, 1).flatten(1) if a.ndim > 2 else th.from_numpy(a).view(-1) for a in arrays
            ]
        chosen = th.from_numpy(index)
        return [ring.index_select(0, chosen) for ring in self._rings]


def is_plain(model: Any) -> bool:
    """Whether a model's replay buffer is this package's ordinary one, whose rows are seen by the networks as they are."""
    buffer = model.replay_buffer
    return (
        type(buffer) is MixedReplayBuffer
        and "sample" not in vars(buffer)
        and not buffer.optimize_memory_usage
        and model._vec_normalize_env is None
    )
