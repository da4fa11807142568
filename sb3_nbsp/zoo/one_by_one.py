"""Runs that cannot learn together learn one after another, each as if it were the only one."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from sb3_nbsp.checkpoints.random_states import restore_random_states
from sb3_nbsp.zoo.shown_training import ShownExperimentManager


class Errors:
    """What went wrong with some of many runs: the others are trained all the same."""

    def __init__(self) -> None:
        self.found: list[Exception] = []

    def of(self, where: Any, work: Callable[[], None]) -> None:
        """
        :param where: what is told beside an error, e.g. the run's folder
        :param work: is done; an error in it is kept
        """
        try:
            work()
        except Exception as error:
            print(f"{where}: {error!r}", flush=True)
            self.found.append(error)

    def raise_first(self) -> None:
        """
        :raises Exception: the first of them, if there is any
        """
        if self.found:
            raise self.found[0]


class Interrupts:
    """Within the block Ctrl-C does what it does, and is remembered: rl-zoo3 takes it for the end of one training."""

    def __init__(self) -> None:
        self.came = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Such a block."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.default_int_handler(number, frame)


def train_one_by_one(runs: Sequence[tuple[Any, Any]], errors: Errors) -> None:
    """
    :param runs: what knows a run, and its model; each stands where its random streams stood when the model was made
    :param errors: gets what goes wrong
    :raises SystemExit: with status 130 after Ctrl-C, which ends the run at hand and begins no other
    """
    interrupts = Interrupts()
    for number, (manager, model) in enumerate(runs):
        left = [other for other, _ in runs[number + 1 :]]
        try:
            with interrupts.noted():
                errors.of(manager.save_path, partial(_train, manager, model))
        except SystemExit:  # a signal came to a run with checkpoints
            _tell_what_is_left(left)
            raise
        if interrupts.came:
            _tell_what_is_left(left)
            sys.exit(128 + signal.SIGINT)


def _tell_what_is_left(managers: Sequence[Any]) -> None:
    for manager in managers:
        told = manager._how_to_go_on() if manager.has_checkpoints else "Not begun."
        print(f"{manager.save_path}: {told}", flush=True)


def _train(manager: Any, model: Any) -> None:
    restore_random_states(model, manager.random_states)
    ShownExperimentManager.learn(manager, model)
    ShownExperimentManager.save_trained_model(manager, model)
