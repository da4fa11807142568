"""The memory: a bounded set of transitions of every earlier task."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch as th

Observations = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True)
class Transitions:
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

    observations: Observations
    next_observations: Observations
    actions: np.ndarray
    dones: np.ndarray
    rewards: np.ndarray
    weights: np.ndarray
    discounts: np.ndarray

    def map(self, function: Callable[[np.ndarray], Any]) -> "Transitions":
        """Apply a function to every array."""
        return Transitions(**{f.name: _each(function, getattr(self, f.name)) for f in fields(self)})

    def __len__(self) -> int:
        return len(self.actions)


def _each(function: Callable[[np.ndarray], Any], values: Observations) -> Any:
    if isinstance(values, dict):
        return {key: function(array) for key, array in values.items()}
    return function(values)


def take(arrays: Observations, rows: np.ndarray, envs: np.ndarray) -> Observations:
    """Index [buffer_size, n_envs, ...] arrays by row and sub-env."""
    return _each(lambda array: array[rows, envs], arrays)


class TaskMemory:
    """
    Transitions by task. Every task except the current one is sampled equally often, however many of its transitions
    there are.

    Has ``state_dict`` and ``load_state_dict`` (tensors only), so that it is saved with the model.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, Transitions] = {}
        self.current_task: int | None = None

    def __len__(self) -> int:
        """Number of transitions that can be sampled now."""
        return sum(len(self._tasks[task]) for task in self.old_tasks)

    @property
    def old_tasks(self) -> list[int]:
        """Indices of the remembered tasks without the current one, which brings its own transitions."""
        return [task for task, transitions in self._tasks.items() if task != self.current_task and len(transitions)]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        sizes: list[int] = []
        for transitions in self._tasks.values():
            transitions.map(lambda array: sizes.append(array.nbytes))
        return sum(sizes)

    def store(self, task: int, transitions: Transitions, size: int) -> None:
        """
        Remember a task's transitions. Older ones of the same task fill up what is left of ``size``.

        :param task: index of the task
        :param transitions: at most ``size`` of them
        :param size: largest number of transitions of a task
        """
        older = self._tasks.get(task)
        n_older = 0 if older is None else min(size - len(transitions), len(older))
        if older is not None and n_older > 0:
            rows = np.random.permutation(len(older))[:n_older]
            transitions = _join([transitions, older.map(lambda array: array[rows])])
        self._tasks[task] = transitions

    def reset(self) -> None:
        """Forget everything."""
        self._tasks.clear()

    def sample(self, batch_size: int) -> Transitions:
        """Draw transitions with replacement: a task with equal chances, then one of its transitions."""
        old_tasks = self.old_tasks
        counts = np.bincount(np.random.randint(len(old_tasks), size=batch_size), minlength=len(old_tasks))
        parts = []
        for task, count in zip(old_tasks, counts, strict=True):
            rows = np.random.randint(len(self._tasks[task]), size=count)
            parts.append(self._tasks[task].map(lambda array, rows=rows: array[rows]))  # type: ignore[misc]
        return parts[0] if len(parts) == 1 else _join(parts)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Tensors by task and field."""
        return {
            str(task): {f.name: getattr(transitions.map(th.as_tensor), f.name) for f in fields(transitions)}
            for task, transitions in self._tasks.items()
        }

    def load_state_dict(self, state_dict: dict[str, dict[str, Any]], strict: bool = True) -> None:
        """The reverse of :meth:`state_dict`; ``strict`` is there for SB3 and changes nothing."""
        to_array: Callable[[th.Tensor], np.ndarray] = lambda tensor: tensor.cpu().numpy()  # noqa: E731
        self._tasks = {
            int(task): Transitions(**{name: _each(to_array, values) for name, values in saved.items()})  # type: ignore[arg-type]
            for task, saved in state_dict.items()
        }


def _join(parts: list[Transitions]) -> Transitions:
    def field_of(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], dict):
            return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
        return np.concatenate(values)

    return Transitions(**{f.name: field_of(f.name) for f in fields(Transitions)})
