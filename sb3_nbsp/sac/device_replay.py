"""The replay buffers of many agents as one tensor beside their networks, from which all batches are taken at once."""

import warnings
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch as th

from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.mirrored_rows import memory_rows, memory_to_rows, ring_rows, ring_size, row_width
from sb3_nbsp.sac.noise_ahead import NoiseAhead

FEW_ROWS = 64  # of an agent: more go over by themselves
CHECK_INTERVAL = 1_000  # trainings between two looks whether rows were changed and nobody told
N_CHECKED = 8  # rows of each agent that are looked at


class DeviceReplay:
    """
    A mirror of the replay buffers, memories of old tasks included. The buffers stay as they are, in main memory: what was
    added to them since the last gradient step is copied over before the next. What is changed in them is copied where
    ``rows_changed()`` told of it; now and then a few rows are compared, and a warning says where it was forgotten.

    A row holds s, a, s', r and 1 where the episode goes on, else 0. The agents' rings come first, then their memories.

    :param models: agents with ordinary buffers (:func:`~sb3_nbsp.sac.buffer_reader.is_plain`)
    :param streams: their random numbers
    :param like: a tensor of the networks: device and type of the mirror
    """

    def __init__(self, models: Sequence[Any], streams: Sequence[ProcessStreams], like: th.Tensor):
        self.models, self._streams = list(models), list(streams)
        buffer = models[0].replay_buffer
        self.n_observed = int(np.prod(buffer.obs_shape))
        self.n_inputs = self.n_observed + buffer.action_dim
        self._width = row_width(models[0])
        self._pins = like.is_cuda
        self.rows = like.new_empty(0, self._width)
        self._starts: list[int] = []  # where each agent's ring begins, and behind the last the memories
        self._seen: list[tuple[Any, int, int] | None] = []  # buffer, resets, rows ever added
        self._memories: list[list[Any]] = []
        self._places: list[dict[int, int]] = [{} for _ in models]  # by task: where its memory begins
        self._n_prepared = 0
        self._random = np.random.default_rng(0)  # for what is compared: training draws the same with and without
        self._lay_out()
        self._clones = like.new_empty(0, self.n_observed + 2 * buffer.action_dim)  # old observations, and what was kept there
        self._clones_of: list[Any] = [None] * len(models)
        self._clone_places = [0] * len(models)
        self._host_index = th.empty(0, 0, dtype=th.long)
        self._index = th.empty(0, dtype=th.long, device=like.device)  # of each agent: B rows, then K clones
        self._staged, self._staged_places = th.empty(0, self._width), th.empty(0, dtype=th.long)
        self._noise = NoiseAhead(self._streams)
        self._copied = th.cuda.Event() if like.is_cuda else None  # after the last copy out of pinned memory

    def prepare(self, n_steps: int, batch: AgentBatches) -> None:
        """
        Copy what is new, and choose the rows of the next batches.

        :param n_steps: number of gradient steps
        :param batch: where they will go
        """
        if self._copied is not None:
            self._copied.synchronize()
        self._lay_out()
        self._copy_new_memories()
        self._copy_new_rows()
        self._n_prepared += 1
        if self._n_prepared % CHECK_INTERVAL == 0:
            self._check_rows()
        if batch.n_old:
            self._copy_new_clones()
        shape = (n_steps, len(self.models), batch.size + batch.n_old)
        if self._host_index.shape != shape:
            self._host_index = th.zeros(shape, dtype=th.long, pin_memory=self._pins)
        if self._index.shape != shape[1:]:
            self._index = self._index.new_empty(shape[1:])
        chosen = self._host_index.numpy()
        for agent, (model, streams) in enumerate(zip(self.models, self._streams, strict=True)):
            clones = batch.n_old > 0 and model.cloning.is_due()
            buffer = model.replay_buffer
            if buffer.n_envs == 1 and not (buffer.has_old or clones):  # the same numbers, in one call
                rows = streams.numpy.randint(0, buffer.size(), size=(n_steps, batch.size))
                chosen[:, agent, : batch.size] = self._starts[agent] + rows
                continue
            for step in range(n_steps):
                chosen[step, agent, : batch.size] = self._draw(agent, batch.size, streams.numpy)
                if clones:
                    drawn = model.cloning.memory.draw_joined(batch.n_old, streams.numpy)
                    chosen[step, agent, batch.size :] = self._clone_places[agent] + drawn

    def before_step(self, batch: AgentBatches, step: int) -> None:
        """
        Bring the numbers of a step to where it reads them.

        :param batch: where the noise goes
        :param step: which of those that were prepared
        """
        self._index.copy_(self._host_index[step], non_blocking=True)
        self._draw_noise(batch)
        if self._copied is not None:
            self._copied.record()

    def _draw_noise(self, batch: AgentBatches) -> None:
        if not batch.drawn.is_cuda:
            for drawn, streams in zip(batch.drawn, self._streams, strict=True):
                for half in drawn.split(batch.size):  # apart, as SB3 draws them
                    half.normal_(generator=streams.torch)
            return
        self._noise.take(batch.drawn)

    def load(self, batch: AgentBatches, gamma: th.Tensor) -> None:
        """
        Take the batches, within a step.

        :param batch: where they go
        :param gamma: discount of each agent, [P]
        """
        index = self._index[:, : batch.size]
        taken = self.rows.index_select(0, index.reshape(-1)).view(*index.shape, -1).transpose(1, 2)  # [P, width, B]
        batch.taken.copy_(taken[:, : self.n_inputs])
        batch.now_observations.copy_(taken[:, : self.n_observed])
        batch.next_observations.copy_(taken[:, self.n_inputs : self.n_inputs + self.n_observed])
        batch.rewards.copy_(taken[:, -2:-1])
        th.mul(taken[:, -1:], gamma[:, None, None], out=batch.discounts)
        if batch.n_old:
            index = self._index[:, batch.size :]
            kept = self._clones.index_select(0, index.reshape(-1)).view(*index.shape, -1).transpose(1, 2)
            batch.old_observations.copy_(kept[:, : self.n_observed])
            batch.kept.copy_(kept[:, self.n_observed :])

    def _draw(self, agent: int, size: int, random: Any) -> np.ndarray:
        buffer = self.models[agent].replay_buffer
        rows, envs, old = buffer.draw(size, random)
        ring = self._starts[agent] + rows * buffer.n_envs + envs
        if not old:
            return ring
        return np.concatenate([ring, *(self._places[agent][task] + chosen for task, chosen in old)])

    def _lay_out(self) -> None:
        """Give each ring its place, where there is none or rings are of other sizes than before."""
        starts = [0, *accumulate(map(ring_size, self.models))]
        if starts != self._starts:
            self._starts = starts
            self.rows = self.rows.new_empty(starts[-1] + sum(map(memory_rows, self.models)), self._width)
            self._forget_rings()
            self._memories = [[] for _ in self.models]

    def _forget_rings(self) -> None:
        """All of them are copied before the next step."""
        self._seen = [None] * len(self.models)

    def _check_rows(self) -> None:
        """Compare a few rows of each ring with its buffer's; where one is another, copy all of them and warn."""
        if not all(model.replay_buffer.size() for model in self.models):
            return
        drawn = [self._random.integers(0, model.replay_buffer.size(), N_CHECKED) for model in self.models]
        expected = [
            np.concatenate([ring_rows(model.replay_buffer, slice(row, row + 1)) for row in rows])
            for model, rows in zip(self.models, drawn, strict=True)
        ]
        places = [
            start + (rows[:, None] * model.replay_buffer.n_envs + np.arange(model.replay_buffer.n_envs)).ravel()
            for model, start, rows in zip(self.models, self._starts[:-1], drawn, strict=True)
        ]
        index = th.from_numpy(np.concatenate(places)).to(self.rows.device)
        mirrored = self.rows.index_select(0, index).cpu().numpy()
        if not np.array_equal(mirrored, np.concatenate(expected), equal_nan=True):
            warnings.warn(
                "Rows of a replay buffer were changed while gradient steps took their batches from a copy of it, which knew "
                "nothing of it until now: call replay_buffer.rows_changed() after such a change.",
                stacklevel=2,
            )
            self._forget_rings()
            self._copy_new_rows()

    def _copy_new_rows(self) -> None:
        """Few rows of every agent, as in training, go over together."""
        places, parts = [], []
        for agent, model in enumerate(self.models):
            for part in self._new_rows(agent):
                begin = self._starts[agent] + part.start * model.replay_buffer.n_envs
                rows = ring_rows(model.replay_buffer, part)
                if len(rows) > FEW_ROWS:
                    self._put(begin, rows)
                else:
                    places.append(np.arange(begin, begin + len(rows)))
                    parts.append(rows)
        if not parts:
            return
        n = sum(map(len, parts))
        if n > len(self._staged):
            self._staged = th.empty(n, self._width, pin_memory=self._pins)
            self._staged_places = th.empty(n, dtype=th.long, pin_memory=self._pins)
        np.concatenate(parts, out=self._staged.numpy()[:n])
        np.concatenate(places, out=self._staged_places.numpy()[:n])
        found = self._staged_places[:n].to(self.rows.device, non_blocking=True)
        self.rows.index_copy_(0, found, self._staged[:n].to(self.rows, non_blocking=True))

    def _new_rows(self, agent: int) -> list[slice]:
        """Rows of an agent's ring that were added since the last call."""
        buffer, seen = self.models[agent].replay_buffer, self._seen[agent]
        new = buffer.size()
        if seen is not None and seen[0] is buffer and seen[1] == buffer.n_resets:
            new = min(buffer.n_added - seen[2], new)
        self._seen[agent] = (buffer, buffer.n_resets, buffer.n_added)
        begin = (buffer.pos - new) % buffer.buffer_size
        end = begin + new
        parts = slice(begin, min(end, buffer.buffer_size)), slice(0, end - buffer.buffer_size)
        return [part for part in parts if part.start < part.stop]

    def _copy_new_memories(self) -> None:
        kept = [[model.replay_buffer.n_resets, *model.memory.tasks.values()] for model in self.models]
        if all(
            len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
            for a, b in zip(kept, self._memories, strict=True)
        ):
            return
        self._memories = kept
        place = self._starts[-1]
        needed = place + sum(len(samples) for model in self.models for samples in model.memory.tasks.values())
        if needed > len(self.rows):  # more tasks than were told of; the rings are copied anew
            self.rows = self.rows.new_empty(needed + needed // 8, self._width)
            self._forget_rings()
        for agent, model in enumerate(self.models):
            for task, samples in model.memory.tasks.items():
                self._places[agent][task] = place
                self._put(place, memory_to_rows(samples))
                place += len(samples)

    def _copy_new_clones(self) -> None:
        kept = [model.cloning.memory.joined for model in self.models]
        if all(one is other for one, other in zip(kept, self._clones_of, strict=True)):
            return
        self._clones_of = kept
        parts = [self._clones.new_ones(1, self._clones.shape[1])]  # read by those who do not clone: their strength is 0
        for agent, samples in enumerate(kept):
            self._clone_places[agent] = sum(map(len, parts))
            if samples is not None:
                rows = [np.asarray(samples.observations).reshape(len(samples), -1), samples.outputs]
                parts.append(th.from_numpy(np.concatenate(rows, axis=1, dtype=np.float32)).to(self._clones))
        self._clones = th.cat(parts)

    def _put(self, place: int, rows: np.ndarray) -> None:
        self.rows[place : place + len(rows)].copy_(th.from_numpy(rows))

    def addresses(self) -> tuple[int, ...]:
        """What :meth:`load` reads: rows move where memories outgrow them, clones and indices where there are others."""
        return tuple(tensor.data_ptr() for tensor in (self.rows, self._clones, self._index))
