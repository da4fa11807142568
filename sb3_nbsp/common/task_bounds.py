"""What an algorithm does where a task begins and ends, beside what all of ours do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TaskBounds:
    """
    Functions of a model, each called after what all algorithms do there.

    :param begins: of a model and the name of the task that begins
    :param ends: of a model and the index of the task that is consolidated
    :param next_is_prepared: of a model, where what must not leak into the next task is reset
    """

    begins: Callable[[Any, str], None]
    ends: Callable[[Any, int], None]
    next_is_prepared: Callable[[Any], None]
