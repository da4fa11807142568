"""The spaces of what agents are judged on, where it is not what they train on: looked at before training."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from sb3_nbsp.base.random_states import RandomStates
from sb3_nbsp.tasks.sequence import TaskSequence
from sb3_nbsp.tasks.task import Task
from sb3_nbsp.tasks.task_env import Spaces

# By the function that makes an env, then by its arguments and the length of the task id.
_SEEN: WeakKeyDictionary[Callable[..., Any], dict[Any, Spaces]] = WeakKeyDictionary()


class EvaluationSpaces:
    """
    Spaces of the environments that ``make_evaluation`` makes. To see them each is made and closed; what was seen in this
    process is not made again, however many sub-environments there are.

    Make this object while no environment of the sequence is open: some simulators allow one at a time.

    :param sequence: the tasks
    """

    def __init__(self, sequence: TaskSequence) -> None:
        self._sequence = sequence
        self._new: set[str] = set()
        self._tasks = [task for task in sequence.tasks if task.make_evaluation is not None]
        self._spaces = {task.name: self._seen(task) or self._look(task) for task in self._tasks}

    def check(self, first: str, trained: Spaces) -> None:
        """
        :param first: what has the spaces that agents are trained in, in words
        :param trained: these spaces
        :raises ValueError: if such an agent cannot act where it is judged
        """
        for task in self._tasks:
            wrong = _what_differs(trained, self._spaces[task.name])
            if wrong is not None and task.name not in self._new:
                # Seen earlier: a class may have been defined anew since.
                wrong = _what_differs(trained, self._look(task))
            if wrong is not None:
                memory, key = self._memory(task)
                memory.pop(key, None)
                kind, one, another = wrong
                raise ValueError(
                    f"Agents must be able to act where they are judged, in its {kind} space: {first} has {one}, task "
                    f"{task.name!r} as make_evaluation makes it has {another}. Wrap what make_evaluation makes so that they "
                    "agree; bounds of actions may differ."
                )

    def _seen(self, task: Task) -> Spaces | None:
        memory, key = self._memory(task)
        return memory.get(key)

    def _look(self, task: Task) -> Spaces:
        memory, key = self._memory(task)
        before = RandomStates()  # making an env may draw random numbers, and is not done every time
        try:
            with closing(self._sequence.make_task_env(task.name, evaluation=True)) as env:
                memory[key] = found = env.observation_space, env.action_space
        finally:
            before.restore()
        self._new.add(task.name)
        return found

    def _memory(self, task: Task) -> tuple[dict[Any, Spaces], Any]:
        """Where is kept what was seen of a task. Envs that are made anew by an id have makers that are equal, not the same."""
        make: Any = task.make_evaluation
        key: tuple[Any, ...] = (self._sequence.id_width,)
        if type(make) is partial:
            make, key = make.func, (*key, make.args, tuple(sorted(make.keywords.items())))
        try:
            hash(key)
            return _SEEN.setdefault(make, {}), key
        except TypeError:  # it cannot be told from others
            return {}, None


def _what_differs(trained: Spaces, judged: Spaces) -> tuple[str, spaces.Space, spaces.Space] | None:
    """Which kind of space, and the two."""
    for kind, fit, one, another in zip(
        ("observation", "action"), (_observations_fit, _actions_fit), trained, judged, strict=True
    ):
        if not fit(one, another):
            return kind, one, another
    return None


def _observations_fit(trained: spaces.Space, judged: spaces.Space) -> bool:
    """Whether a policy's networks take what is judged; SB3's wrappers know pictures by their bounds."""
    if isinstance(trained, spaces.Dict) and isinstance(judged, spaces.Dict):
        return trained.keys() == judged.keys() and all(_observations_fit(trained[key], judged[key]) for key in trained)
    if isinstance(trained, spaces.Box) and isinstance(judged, spaces.Box):
        form, other = ((space.shape, space.dtype, is_image_space(space)) for space in (trained, judged))
        return form == other
    return _has_room(trained, judged)


def _actions_fit(trained: spaces.Space, judged: spaces.Space) -> bool:
    """Whether a policy's actions are some there. Their bounds are those of training: nothing reads the others'."""
    if isinstance(trained, spaces.Box) and isinstance(judged, spaces.Box):
        return trained.shape == judged.shape
    return _has_room(judged, trained)


def _has_room(wide: spaces.Space, space: spaces.Space) -> bool:
    """Whether one space of whole numbers holds all of another; other spaces must be equal."""
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete) or not isinstance(wide, type(space)):
        return wide == space
    (low, high), (least, most) = (_range(one) for one in (space, wide))
    return wide.shape == space.shape and bool(np.all(least <= low) and np.all(high <= most))


def _range(space: spaces.Discrete | spaces.MultiDiscrete) -> tuple[Any, Any]:
    return space.start, space.start + (space.n if isinstance(space, spaces.Discrete) else space.nvec)
