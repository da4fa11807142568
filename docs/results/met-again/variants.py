"""What might keep a task that is trained again from falling: each change alone, as a callback on NBSPSAC of commit 44d2804."""

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.rehearsal.replay_buffers import concatenate


class Variant(BaseCallback):
    """Calls ``task_begins`` once at each beginning of a task."""

    model: Any
    _seen = -1

    def _on_step(self) -> bool:
        if self.model.n_task_ends != self._seen:
            self._seen = self.model.n_task_ends
            self.task_begins(self.model.memory.current_task)
        return True

    def task_begins(self, known: int | None) -> None:
        """``known``: index of the task if it was learned before."""


class OwnMemory(Variant):
    """A task that is met again draws from what its memory holds of it as from the (emptied) buffer: each transition alike."""

    def task_begins(self, known: int | None) -> None:
        buffer: Any = self.model.replay_buffer
        vars(buffer).pop("sample", None)
        if known is None:
            return
        plain, own = buffer.sample, buffer.memory.tasks[known]

        def sample(batch_size: int, env: Any = None) -> Any:
            n_batches = buffer.n_batches + 1
            if n_batches % buffer.replay_interval == 0:
                return plain(batch_size, env)
            n_own = np.random.binomial(batch_size, len(own) / (len(own) + buffer.size()))
            old = buffer._to_samples(own.rows(np.random.randint(len(own), size=n_own)), env)
            return concatenate(plain(batch_size - n_own, env), old) if n_own < batch_size else old

        buffer.sample = sample


class WithoutOwnMask(Variant):
    """A task that is met again is not held against itself: only the other tasks' masks are in force."""

    def task_begins(self, known: int | None) -> None:
        if known is not None:
            self.model.neuron_masks.hold(known, {})
            self.model._apply_masks()


class OwnMemoryWithoutOwnMask(Variant):
    """Both."""

    def __init__(self, verbose: int = 0):
        super().__init__(verbose)
        self.both = (OwnMemory(), WithoutOwnMask())

    def task_begins(self, known: int | None) -> None:
        for part in self.both:
            part.model = self.model
            part.task_begins(known)


class EntropyCoefficientKeptForKnown(Variant):
    """A task that is met again goes on with the entropy coefficient that its last visit ended with."""

    def __init__(self, verbose: int = 0):
        super().__init__(verbose)
        self.last: dict[int, th.Tensor] = {}
        self.of_step: th.Tensor | None = None

    def _on_step(self) -> bool:
        if self.model.n_task_ends != self._seen and self.of_step is not None:
            self.last[len(self.last)] = self.of_step  # in order of the first visits
        super()._on_step()
        self.of_step = self.model.log_ent_coef.detach().clone()
        return True

    def task_begins(self, known: int | None) -> None:
        if known is not None:
            self.model.log_ent_coef.data.copy_(self.last[known])
