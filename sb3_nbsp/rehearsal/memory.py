"""The memory: a bounded set of samples of every earlier task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch as th

from sb3_nbsp.base.arrays import Observations, concatenated, each, to_array

Self = TypeVar("Self", bound="Samples")
Kind = TypeVar("Kind", bound="Samples")
Random = Any  # np.random.RandomState, or the module np.random, which has its methods


class Samples:
    """M samples: a dataclass whose fields are arrays, or dicts of arrays, with a first axis of M."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # what ``fields()`` asks for: only dataclasses derive from this

    def map(self: Self, function: Callable[[np.ndarray], Any]) -> Self:
        """Apply a function to every array."""
        return type(self)(**{f.name: each(function, getattr(self, f.name)) for f in fields(self)})

    def rows(self: Self, rows: np.ndarray | slice) -> Self:
        """Some of the samples."""
        return self.map(lambda array: array[rows])

    @classmethod
    def join(cls: type[Self], parts: Sequence[Self]) -> Self:
        """Put samples behind one another."""
        return cls(**{f.name: concatenated([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def __len__(self) -> int:
        first = getattr(self, fields(self)[0].name)
        return len(next(iter(first.values())) if isinstance(first, dict) else first)

    def state_dict(self) -> dict[str, Any]:
        """Tensors by field."""
        return {f.name: each(th.as_tensor, getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_state_dict(cls: type[Self], state_dict: dict[str, Any]) -> Self:
        """The reverse of :meth:`state_dict`."""
        return cls(**{name: each(to_array, values) for name, values in state_dict.items()})


@dataclass(frozen=True)
class Transitions(Samples):
    """
    M transitions over n steps (n = 1: ordinary ones), not normalised.

    :param observations: [M, ...]
    :param next_observations: [M, ...], what follows the last step
    :param actions: [M, action_dim], scaled to [-1, 1] as SB3 stores them
    :param dones: [M, 1], whether the last step terminated (time limits do not count)
    :param rewards: [M, n]
    :param weights: [M, n], gamma^i up to the episode's end, 0 after it
    :param discounts: [M, 1], gamma^(number of steps)
    """

    actions: np.ndarray
    observations: Observations
    next_observations: Observations
    dones: np.ndarray
    rewards: np.ndarray
    weights: np.ndarray
    discounts: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["Transitions"]) -> "Transitions":
        """See :meth:`Samples.join`. Over different numbers of steps too: further ones count 0."""
        n_steps = max(part.rewards.shape[1] for part in parts)
        return super().join([part if part.rewards.shape[1] == n_steps else part._over(n_steps) for part in parts])

    def _over(self, n_steps: int) -> "Transitions":
        further = np.zeros((len(self), n_steps - self.rewards.shape[1]), np.float32)
        columns = {name: np.concatenate([getattr(self, name), further], axis=1) for name in ("rewards", "weights")}
        return replace(self, **columns)


@dataclass(frozen=True)
class Clones(Samples):
    """
    M observations, with what the networks put out there at their task's end.

    :param observations: [M, ...], not normalised; float64 is kept as float32
    :param outputs: [M, P], e.g. mean and standard deviation of the action, or a Q-value for each action
    """

    observations: Observations
    outputs: np.ndarray


class TaskMemory(Generic[Kind]):
    """
    Samples by task. Every task except the current one is sampled equally often, however many of its samples there are.

    Has ``state_dict`` and ``load_state_dict`` (tensors only), so that it is saved with the model.

    :param kind: what is kept
    """

    def __init__(self, kind: type[Kind]) -> None:
        self.kind = kind
        self._tasks: dict[int, Kind] = {}
        self.current_task: int | None = None

    def __len__(self) -> int:
        """Number of samples that can be drawn now."""
        return sum(len(self._tasks[task]) for task in self.old_tasks)

    @property
    def old_tasks(self) -> list[int]:
        """Indices of the remembered tasks without the current one, which brings its own samples."""
        return [task for task, samples in self._tasks.items() if task != self.current_task and len(samples)]

    @property
    def tasks(self) -> Mapping[int, Kind]:
        """The samples of every remembered task, by its index."""
        return self._tasks

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        sizes: list[int] = []
        for samples in self._tasks.values():
            samples.map(lambda array: sizes.append(array.nbytes))
        return sum(sizes)

    def store(self, task: int, samples: Kind, size: int) -> None:
        """
        Remember a task's samples. Older ones of the same task fill up what is left of ``size``.

        :param task: index of the task
        :param samples: at most ``size`` of them
        :param size: largest number of samples of a task
        """
        older = self._tasks.get(task)
        n_older = 0 if older is None else min(size - len(samples), len(older))
        if older is not None and n_older > 0:
            samples = self.kind.join([samples, older.rows(np.random.permutation(len(older))[:n_older])])
        self._tasks[task] = samples

    def reset(self) -> None:
        """Forget everything."""
        self._tasks.clear()

    def sample(self, batch_size: int) -> Kind:
        """Draw with replacement: a task with equal chances, then one of its samples."""
        parts = [self._tasks[task].rows(rows) for task, rows in self.draw(batch_size)]
        return parts[0] if len(parts) == 1 else self.kind.join(parts)

    def draw(self, batch_size: int, random: Random = np.random) -> list[tuple[int, np.ndarray]]:
        """
        Choose samples as :meth:`sample` does, with the same random numbers.

        :param batch_size: how many
        :param random: NumPy's legacy generator; default: the process's
        :return: by task its index and which of its samples
        """
        old_tasks = self.old_tasks
        counts = np.bincount(random.randint(len(old_tasks), size=batch_size), minlength=len(old_tasks))
        pairs = zip(old_tasks, counts, strict=True)
        return [(task, random.randint(len(self._tasks[task]), size=count)) for task, count in pairs]

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Tensors by task and field."""
        return {str(task): samples.state_dict() for task, samples in self._tasks.items()}

    def load_state_dict(self, state_dict: dict[str, dict[str, Any]], strict: bool = True) -> None:
        """The reverse of :meth:`state_dict`; ``strict`` is there for SB3 and changes nothing."""
        self._tasks = {int(task): self.kind.from_state_dict(saved) for task, saved in state_dict.items()}


class JoinedMemory(TaskMemory[Kind]):
    """
    The same, with the samples of all tasks in one array behind one another: a batch is drawn from all of them at once, in a
    few microseconds however many tasks there are. To store a task copies the array.
    """

    def __init__(self, kind: type[Kind]) -> None:
        super().__init__(kind)
        self._joined: Kind | None = None

    def store(self, task: int, samples: Kind, size: int) -> None:
        """See :meth:`TaskMemory.store`."""
        super().store(task, samples, size)
        self._join()

    def reset(self) -> None:
        """See :meth:`TaskMemory.reset`."""
        super().reset()
        self._join()

    def load_state_dict(self, state_dict: dict[str, dict[str, Any]], strict: bool = True) -> None:
        """See :meth:`TaskMemory.load_state_dict`."""
        super().load_state_dict(state_dict, strict)
        self._join()

    def sample(self, batch_size: int) -> Kind:
        """See :meth:`TaskMemory.sample`."""
        assert self._joined is not None
        return self._joined.rows(self.draw_joined(batch_size))

    @property
    def joined(self) -> Kind | None:
        """The samples of all tasks; another object whenever any of them changes."""
        return self._joined

    def draw_joined(self, batch_size: int, random: Random = np.random) -> np.ndarray:
        """
        Choose samples as :meth:`sample` does, with the same random numbers.

        :param batch_size: how many
        :param random: NumPy's legacy generator; default: the process's
        :return: which of ``joined``, [batch_size]
        """
        old_tasks = self.old_tasks
        starts, sizes = np.array([(self._places[task].start, len(self._tasks[task])) for task in old_tasks]).T
        drawn = random.randint(len(old_tasks), size=batch_size)
        return starts[drawn] + (random.random_sample(batch_size) * sizes[drawn]).astype(np.intp)

    def _join(self) -> None:
        """Put the tasks' samples behind one another; each task's become views."""
        ends = list(accumulate(map(len, self._tasks.values())))
        places = [slice(end - len(part), end) for part, end in zip(self._tasks.values(), ends, strict=True)]
        self._places = dict(zip(self._tasks, places, strict=True))
        self._joined = self.kind.join(list(self._tasks.values())) if self._tasks else None
        if self._joined is not None:
            self._tasks = {task: self._joined.rows(place) for task, place in self._places.items()}
