"""A lower learning rate after the first task: the cheapest way to forget less."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sb3_nbsp.base.arguments import Share, check_values
from sb3_nbsp.baselines.base import TaskBoundaryCallback


class LowerLearningRate(TaskBoundaryCallback):
    """
    Multiply the learning rate (schedule) of all optimizers by ``factor`` from the end of the first task on.

    Source: a control that NBSP's reviewers asked for; there is no published default, 0.1 is ours.

    :param factor: in [0, 1]
    :param verbose: 1 prints each task end
    """

    def __init__(self, factor: float = 0.1, verbose: int = 0):
        super().__init__(verbose)
        check_values({"factor": Share}, locals())
        self.factor = factor

    def on_task_end(self, task: str) -> None:
        """Nothing: that a task has ended is all that counts, and the base notes it."""

    def hook(self) -> Iterator["_RaisedAgain"]:
        """Lower the schedule."""
        raised_again = _RaisedAgain(self.model)
        raised_again.remove()  # a model that was saved while it trained still has the lowered one
        if self.state["ended"]:
            self.model.lr_schedule = _Lowered(self.model.lr_schedule, self.factor)
            yield raised_again


@dataclass(frozen=True)
class _Lowered:
    """A schedule, lowered. A class of its own, so that models can be saved with it."""

    schedule: Callable[[float], float]
    factor: float

    def __call__(self, progress_remaining: float) -> float:
        return self.factor * self.schedule(progress_remaining)


@dataclass(frozen=True)
class _RaisedAgain:
    """What :meth:`TaskBoundaryCallback.hook` hands out: the way back to the model's own schedule."""

    model: Any

    def remove(self) -> None:
        if isinstance(self.model.lr_schedule, _Lowered):
            self.model.lr_schedule = self.model.lr_schedule.schedule
