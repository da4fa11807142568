"""What is learned and in which order: tasks, their budgets, and how often the list is gone through."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import gymnasium as gym

from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.task_env import TaskEnv


def check_positive_int(value: Any, name: str) -> None:
    """
    Refuse everything but an integer of at least 1.

    :param value: what the user gave
    :param name: the argument's name, for the message
    :raises TypeError: if ``value`` is not an ``int`` (``bool`` is none)
    :raises ValueError: if ``value`` is below 1
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int of at least 1, got {value!r} ({type(value).__name__}). Write e.g. 10_000.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")


def check_reference_scores(task: str, scores: Sequence[float]) -> None:
    """
    Refuse reference scores that no return can be normalised with.

    :param task: the task's name, for the message
    :param scores: returns of a random player and of a human
    :raises ValueError: if they are not two different finite numbers
    """
    if len(scores) != 2 or not all(math.isfinite(score) for score in scores) or scores[0] == scores[1]:
        raise ValueError(
            f"reference_scores of task {task!r} must be two different finite numbers, the returns of a random player and of a "
            f"human; got {scores!r}. Use None where they are not known."
        )


@dataclass(frozen=True)
class Task:
    """
    One task: a name and the way to make its environment.

    :param name: how the task is called in ``info``, results and plots
    :param make: ``make(render_mode)`` returns a new environment with its own time limit. Use a module-level
        function or a ``functools.partial`` of one, so that the task can be sent to a subprocess.
    :param make_evaluation: the same for the environment that agents are judged on, where it is not the one they are
        trained on, e.g. because rewards are clipped in training. Spaces must be equal. Default: ``make``.
    :param reference_scores: returns of a random player and of a human on ``make_evaluation``'s environment. Where all
        tasks have them, results are normalised: ``(return - random) / (human - random)``.
    :raises ValueError: if the two reference scores are not two different finite numbers
    """

    name: str
    make: Callable[[str | None], gym.Env]
    make_evaluation: Callable[[str | None], gym.Env] | None = None
    reference_scores: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.reference_scores is not None:
            # Wherever they came from (a configuration file knows lists only), results compare them as tuples.
            object.__setattr__(self, "reference_scores", tuple(self.reference_scores))
            check_reference_scores(self.name, self.reference_scores)


@dataclass(frozen=True)
class TaskSequence:
    """
    Tasks in learning order, with their budgets.

    :param tasks: the tasks, with distinct names
    :param steps_per_task: environment steps for one visit to a task, counted over all sub-environments;
        one number for all tasks or one per task
    :param cycles: how often the whole list is gone through (A, B, A, B is 2)
    :param task_id: append the task's one-hot id to the observation, which must be a 1-D float ``Box``
    :raises TypeError: if a value has the wrong type
    :raises ValueError: if there is no task, a name stands twice, or a number does not fit
    """

    tasks: tuple[Task, ...]
    steps_per_task: int | tuple[int, ...]
    cycles: int = 1
    task_id: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not isinstance(self.steps_per_task, int):
            # Configuration files know lists only.
            object.__setattr__(self, "steps_per_task", _as_tuple(self.steps_per_task))
        self._check_tasks()
        self._check_steps()
        check_positive_int(self.cycles, "cycles")

    def _check_tasks(self) -> None:
        if not self.tasks:
            raise ValueError("A TaskSequence needs at least one task, got none.")
        for task in self.tasks:
            if not isinstance(task, Task):
                raise TypeError(f"tasks must hold sb3_nbsp.tasks.Task objects, got {task!r}.")
        if len(set(self.task_names)) < len(self.tasks):
            raise ValueError(
                f"Task names must be distinct, got {list(self.task_names)}. "
                "To visit a task again, list it once and raise `cycles`."
            )

    def _check_steps(self) -> None:
        if isinstance(self.steps_per_task, tuple):
            if len(self.steps_per_task) != len(self.tasks):
                raise ValueError(
                    f"steps_per_task must be one number or one per task ({len(self.tasks)}), "
                    f"got {len(self.steps_per_task)} numbers."
                )
            for steps in self.steps_per_task:
                check_positive_int(steps, "each of steps_per_task")
        else:
            check_positive_int(self.steps_per_task, "steps_per_task")

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the distinct tasks; a task's place here is its ``task_id``."""
        return tuple(task.name for task in self.tasks)

    @property
    def segments(self) -> tuple[str, ...]:
        """Task names in learning order, ``len(tasks) * cycles`` of them."""
        return self.task_names * self.cycles

    @property
    def segment_steps(self) -> tuple[int, ...]:
        """Environment steps of each segment, over all sub-environments."""
        steps = self.steps_per_task
        return (steps if isinstance(steps, tuple) else (steps,) * len(self.tasks)) * self.cycles

    @property
    def switch_steps(self) -> tuple[int, ...]:
        """Environment steps taken at the end of each segment, counted from the very beginning."""
        return tuple(accumulate(self.segment_steps))

    @property
    def total_steps(self) -> int:
        """Environment steps of the whole sequence: the ``total_timesteps`` for ``learn()``."""
        return sum(self.segment_steps)

    def segment_at(self, step: int) -> int:
        """
        Find the segment that an environment step belongs to.

        :param step: number of the step, from 0, over all sub-environments
        :return: the segment's index; the last segment's if the step lies beyond the end
        :raises ValueError: if ``step`` is negative
        """
        if step < 0:
            raise ValueError(f"A step's number is counted from 0, got {step}.")
        return min(bisect_right(self.switch_steps, step), len(self.segments) - 1)

    @property
    def reference_scores(self) -> dict[str, tuple[float, float]]:
        """Returns of a random player and of a human, for the tasks where they are known."""
        return {task.name: task.reference_scores for task in self.tasks if task.reference_scores is not None}

    def make_task_env(self, name: str, render_mode: str | None = None, evaluation: bool = False) -> TaskEnv:
        """
        Make the environment of one task, with the very spaces and ``info`` that it has inside the sequence.

        :param name: the task's name
        :param render_mode: Gymnasium's render mode
        :param evaluation: make the one that agents are judged on, where the task tells it from the one they train on
        :return: a new environment
        :raises ValueError: if no task of the sequence has that name
        """
        if name not in self.task_names:
            raise ValueError(unknown_name_message("task", name, self.task_names))
        index = self.task_names.index(name)
        one_hot_size = len(self.tasks) if self.task_id else 0
        task = self.tasks[index]
        make = task.make_evaluation if evaluation and task.make_evaluation is not None else task.make
        return TaskEnv(make(render_mode), name, index, one_hot_size)


def gymnasium_sequence(
    tasks: Iterable[str], steps_per_task: int | tuple[int, ...] = 50_000, cycles: int = 1, task_id: bool = False
) -> TaskSequence:
    """
    A sequence over registered Gymnasium environments. Their spaces must agree.

    :param tasks: environment ids; they are the task names too
    :param steps_per_task: environment steps for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param task_id: append the one-hot task id to the observation
    :return: the sequence
    """
    made = tuple(Task(env_id, partial(_make_gymnasium_env, env_id)) for env_id in tasks)
    return TaskSequence(made, steps_per_task, cycles, task_id)


def _make_gymnasium_env(env_id: str, render_mode: str | None) -> gym.Env:
    return gym.make(env_id, render_mode=render_mode)


def _as_tuple(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"steps_per_task must be an int or one int per task, got {value!r} ({type(value).__name__}).")
    return tuple(value)
