"""What is learned and in which order: tasks, their budgets, and how often the list is gone through."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from numbers import Integral
from typing import Annotated, Any

import gymnasium as gym
import numpy as np

from sb3_nbsp.base.arguments import Is, Whole, check_values
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.task import Task
from sb3_nbsp.tasks.task_env import TaskEnv


def checked_id(task_id: Any, n_tasks: int) -> bool | int:
    """
    :param task_id: what the user gave: whether there is an id, or its length
    :param n_tasks: how many tasks it must tell apart
    :return: the same as a plain bool or int
    :raises TypeError: if it is neither a bool nor an int
    :raises ValueError: if it is too short
    """
    if isinstance(task_id, bool | np.bool_):
        return bool(task_id)
    if not isinstance(task_id, Integral):
        raise TypeError(f"task_id must be True, False or the id's length, got {task_id!r}.")
    if task_id < n_tasks:
        raise ValueError(f"task_id={task_id} leaves no room for {n_tasks} tasks. Use at least as many, or True.")
    return int(task_id)


def _checked_steps(steps: Any, n_tasks: int) -> int | tuple[int, ...]:
    """One number for all tasks, or one for each (configuration files know lists only), as plain ints."""
    one = Whole(1, "env steps")
    each = Is(
        f"a list of such numbers, one per task ({n_tasks})",
        lambda value: isinstance(value, list | tuple) and len(value) == n_tasks and all(map(one.allows, value)),
    )
    check_values({"steps_per_task": Annotated[int, one] | Annotated[tuple[int, ...], each]}, {"steps_per_task": steps})
    return tuple(map(int, steps)) if isinstance(steps, list | tuple) else int(steps)


def _tasks_of(tasks: Any) -> tuple[Task, ...]:
    """A task, or several, as a tuple."""
    if isinstance(tasks, str | Mapping) or not isinstance(tasks, Task | Iterable):
        raise TypeError(
            f"tasks must be a list of sb3_nbsp.tasks.Task objects, got {tasks!r}. Sequences of names are made by functions "
            "such as gymnasium_sequence()."
        )
    return (tasks,) if isinstance(tasks, Task) else tuple(tasks)


@dataclass(frozen=True)
class TaskSequence:
    """
    Tasks in learning order, with their budgets.

    :param tasks: the tasks, with distinct names; a single task is a sequence of one
    :param steps_per_task: environment steps for one visit to a task, counted over all sub-environments;
        one number for all tasks or one per task, wherever it is visited
    :param cycles: how often the whole list is gone through (A, B, A, B is 2)
    :param task_id: append the task's one-hot id to the observation, which must be a 1-D float ``Box``. A number instead of
        ``True`` is the id's length, with room for tasks that are added later.
    :param order: names of the tasks in the order in which they are visited in a cycle, e.g. ``("A", "B", "A", "C")``;
        default: each once
    :raises TypeError: if a value has the wrong type
    :raises ValueError: if there is no task, a name stands twice, or a number does not fit
    """

    tasks: tuple[Task, ...]
    steps_per_task: int | tuple[int, ...]
    cycles: int = 1
    task_id: bool | int = False
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", _tasks_of(self.tasks))
        if self.order is not None:
            object.__setattr__(self, "order", names_of(self.order))
        self._check_tasks()
        object.__setattr__(self, "steps_per_task", _checked_steps(self.steps_per_task, len(self.tasks)))
        self._check_order()
        object.__setattr__(self, "task_id", checked_id(self.task_id, len(self.tasks)))
        check_values({"cycles": Annotated[int, Whole(1, "rounds")]}, {"cycles": self.cycles})
        object.__setattr__(self, "cycles", int(self.cycles))

    def _check_order(self) -> None:
        for name in self.order or ():
            if name not in self.task_names:
                raise ValueError(f"order visits tasks of the sequence. {unknown_name_message('task', name, self.task_names)}")
        if left_out := [name for name in self.task_names if self.order is not None and name not in self.order]:
            raise ValueError(f"order must visit every task at least once; {', '.join(left_out)} is in none of its places.")

    def _check_tasks(self) -> None:
        if not self.tasks:
            raise ValueError("A TaskSequence needs at least one task, got none.")
        for task in self.tasks:
            if not isinstance(task, Task):
                raise TypeError(f"tasks must hold sb3_nbsp.tasks.Task objects, got {task!r}.")
        if len(set(self.task_names)) < len(self.tasks):
            raise ValueError(
                f"Task names must be distinct, got {list(self.task_names)}. To visit a task again, list it once and name the "
                f"visits: order={self.task_names}; or raise cycles, to go through the whole list again."
            )

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the distinct tasks; a task's place here is its ``task_id``."""
        return tuple(task.name for task in self.tasks)

    @property
    def id_width(self) -> int:
        """Length of the one-hot id in the observations, 0 without one."""
        return len(self.tasks) if self.task_id is True else int(self.task_id)

    @property
    def segments(self) -> tuple[str, ...]:
        """Task names in learning order: every visit of every cycle."""
        return (self.order or self.task_names) * self.cycles

    @property
    def segment_steps(self) -> tuple[int, ...]:
        """Environment steps of each segment, over all sub-environments."""
        steps = self.steps_per_task
        by_task = dict(zip(self.task_names, steps if isinstance(steps, tuple) else (steps,) * len(self.tasks), strict=True))
        return tuple(by_task[name] for name in self.segments)

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
        :raises TypeError: if the task makes something else
        :raises ValueError: if no task of the sequence has that name
        """
        if name not in self.task_names:
            raise ValueError(unknown_name_message("task", name, self.task_names))
        index = self.task_names.index(name)
        task = self.tasks[index]
        make = task.make_evaluation if evaluation and task.make_evaluation is not None else task.make
        try:
            env = make(render_mode)
        except Exception as error:
            error.args = with_name(error, name)
            raise
        if not isinstance(env, gym.Env):
            raise TypeError(f"Task {name!r} must make a Gymnasium environment, got {env!r} from {make!r}. Does it return one?")
        return TaskEnv(env, name, index, self.id_width)


def with_name(error: Exception, task: str) -> tuple[Any, ...]:
    """
    :param error: came up while a task's environment was made
    :param task: the task's name
    :return: the error's arguments, whose text says which task was made. Other kinds of arguments may mean anything.
    """
    text = error.args[0] if error.args else ""
    is_text = isinstance(text, str) and len(error.args) < 2
    return (f"{text} (This came up while task {task!r} was made.)",) if is_text else error.args


def gymnasium_sequence(
    tasks: str | Iterable[str] | Mapping[str, Mapping[str, Any]],
    steps_per_task: int | tuple[int, ...] = 50_000,
    cycles: int = 1,
    task_id: bool | int = False,
    order: Iterable[str] | None = None,
) -> TaskSequence:
    """
    A sequence over registered Gymnasium environments. Their spaces must agree.

    :param tasks: environment ids, which are the task names too; or, by the task's name, the ``id`` and arguments of
        ``gymnasium.make``: ``{"light": {"id": "Pendulum-v1", "g": 5.0}, "heavy": {"id": "Pendulum-v1", "g": 12.0}}``. Where
        a name is an id itself, ``id`` can be left out: ``{"Pendulum-v1": {"g": 5.0}}``
    :param steps_per_task: environment steps for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param task_id: append the one-hot task id to the observation, see :class:`TaskSequence`
    :param order: see :class:`TaskSequence`
    :return: the sequence
    :raises ValueError: if a task has arguments and no ``id``, and its name is none, or a name stands twice
    """
    given: Mapping[str, Any] = tasks if isinstance(tasks, Mapping) else {}

    def task_of(name: str) -> Task:
        return Task(name, partial(_make_gymnasium_env, _arguments_of(name, given.get(name))))

    names = tuple(given) if isinstance(tasks, Mapping) else tasks
    return sequence_of_names(task_of, names, steps_per_task, cycles, task_id, order)


def _arguments_of(name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What gymnasium.make is given for a task. Without an ``id`` its name is the id."""
    is_id = isinstance(name, str) and (":" in name or name in gym.registry)
    if not isinstance(given, Mapping | None) or not (given is None or "id" in given or not given or is_id):
        raise ValueError(
            f"Task {name!r} must have an id, if it is none itself, and may have arguments of gymnasium.make, e.g. "
            f"{{'id': 'Pendulum-v1', 'g': 5.0}}; got {given!r}."
        )
    if "render_mode" in (given or {}):
        raise ValueError(f"Task {name!r} must have no render_mode, which the env of the sequence is given; got {given!r}.")
    return {"id": name, **(given or {})}


def _make_gymnasium_env(arguments: dict[str, Any], render_mode: str | None) -> gym.Env:
    return gym.make(**arguments, render_mode=render_mode)


def names_of(tasks: str | Iterable[str]) -> tuple[str, ...]:
    """
    :param tasks: names, or a single one
    :return: the names
    :raises TypeError: for anything else
    """
    names = (tasks,) if isinstance(tasks, str) else tuple(tasks) if isinstance(tasks, Iterable) else None
    if names is None or isinstance(tasks, Mapping) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"Expected names, such as ('A', 'B'), got {tasks!r}. Gymnasium's environments can have arguments, by the task's "
            "name: {'light': {'id': 'Pendulum-v1', 'g': 5.0}, 'heavy': {'id': 'Pendulum-v1', 'g': 12.0}}."
        )
    return names


def sequence_of_names(
    task_of: Callable[[str], Task],
    tasks: str | Iterable[str],
    steps_per_task: int | tuple[int, ...],
    cycles: int,
    task_id: bool | int,
    order: str | Iterable[str] | None,
    name_of: Callable[[str], str] = str,
) -> TaskSequence:
    """
    :param task_of: makes a task of its name
    :param tasks: names, or a single one
    :param steps_per_task: see :class:`TaskSequence`
    :param cycles: see :class:`TaskSequence`
    :param task_id: see :class:`TaskSequence`
    :param order: see :class:`TaskSequence`
    :param name_of: the task's name of whatever it is called, in ``tasks`` and in ``order``
    :return: the sequence
    """
    made = tuple(task_of(name_of(name)) for name in names_of(tasks))
    visits = None if order is None else tuple(map(name_of, names_of(order)))
    return TaskSequence(made, steps_per_task, cycles, task_id, visits)
