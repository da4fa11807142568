"""How far a training is: a bar on a terminal, elsewhere (a pipe, a log file) a line now and then."""

import logging
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

UPDATE_SECONDS = 0.5  # between two looks at the training
DRAWS_PER_SECOND = 2.0  # drawing takes about 2 ms
SPEED_SECONDS = 300.0  # that the estimate of the time left looks back
LINE_SECONDS, LINE_SHARE, LONGEST_SECONDS = 30.0, 0.05, 600.0  # between two lines: so long and so much, or the longest time


class Display(Protocol):
    """What shows a training."""

    def start(self, step: int, total: int) -> None:
        """
        :param step: env steps so far
        :param total: env steps at the end
        """

    def update(self, step: int, task: str, standing: str) -> None:
        """
        :param step: env steps so far
        :param task: what is learned
        :param standing: how good the agent was when it was last looked at
        """

    def busy(self, text: str) -> None:
        """
        :param text: what goes on beside the env steps that are counted
        """

    def say(self, text: str) -> None:
        """
        :param text: a line that stays
        """

    def stop(self) -> None:
        """The training is over, or was stopped."""


def fitting_display() -> Display:
    """
    :return: a bar where the output is a terminal that can draw one, else lines
    """
    console = _Console(file=sys.stdout)
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """It always shows: a training that is killed leaves the terminal as it was."""
        return False


class _TwoLines(Progress):
    """The bar, and a line below it."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.below, overflow="ellipsis", no_wrap=True)


class Bar:
    """
    :param console: where to draw
    """

    def __init__(self, console: Console) -> None:
        columns = ("{task.description}", "{task.percentage:>3.0f}% of {task.fields[steps]}")
        first, second = (TextColumn(text, markup=False) for text in columns)
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self.bar = _TwoLines(
            first,
            BarColumn(),
            second,
            *times,
            console=console,
            transient=True,
            refresh_per_second=DRAWS_PER_SECOND,
            speed_estimate_period=SPEED_SECONDS,
        )
        self._standing = ""

    def start(self, step: int, total: int) -> None:
        """See :class:`Display`."""
        self.bar.add_task("", total=total, completed=step, steps=f"{total:,}")
        self.bar.start()

    def update(self, step: int, task: str, standing: str) -> None:
        """See :class:`Display`."""
        self._standing = self.bar.below = standing
        self.bar.update(self.bar.tasks[0].id, completed=step, description=task)

    def busy(self, text: str) -> None:
        """See :class:`Display`."""
        self.bar.below = f"{text} ..."

    def say(self, text: str) -> None:
        """See :class:`Display`."""
        self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """See :class:`Display`."""
        self.bar.stop()


class Lines:
    """Where there is no terminal."""

    def __init__(self) -> None:
        self._first = self._last = self._total = 0
        self._started = self._told = 0.0

    def start(self, step: int, total: int) -> None:
        """See :class:`Display`."""
        self._first = self._last = step
        self._total = total
        self._started = self._told = time.monotonic()

    def update(self, step: int, task: str, standing: str) -> None:
        """See :class:`Display`."""
        now = time.monotonic()
        waited, share = now - self._told, (step - self._last) / max(self._total - self._first, 1)
        if waited < LINE_SECONDS or (share < LINE_SHARE and waited < LONGEST_SECONDS):
            return
        self._last = step
        left = (now - self._started) * (self._total - step) / max(step - self._first, 1)
        times = f"{_clock(now - self._started)}, about {_clock(left)} left"
        told = ". ".join(filter(None, (task, standing)))
        self.say(f"Step {step:,} of {self._total:,} ({step / self._total:.0%}, {times}){f': {told}' if told else ''}")

    def busy(self, text: str) -> None:
        """See :class:`Display`."""

    def say(self, text: str) -> None:
        """See :class:`Display`."""
        self._told = time.monotonic()
        print(text, flush=True)

    def stop(self) -> None:
        """See :class:`Display`."""


class ToldToDisplay(logging.Handler):
    """
    Brings to a display what the package's loggers tell: ``INFO`` stays as a line, ``DEBUG`` is what goes on now.

    :param display: where to
    """

    def __init__(self, display: Display) -> None:
        super().__init__(logging.DEBUG)
        self.display = display

    def emit(self, record: logging.LogRecord) -> None:
        """See :mod:`logging`."""
        (self.display.say if record.levelno >= logging.INFO else self.display.busy)(record.getMessage())


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
