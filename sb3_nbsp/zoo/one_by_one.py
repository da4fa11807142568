"""Runs that cannot learn together learn one after another, each as if it were the only one."""

import gc
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from sb3_nbsp.checkpoints.random_states import restore_random_states
from sb3_nbsp.zoo.kept_errors import Errors
from sb3_nbsp.zoo.shown_training import ShownExperimentManager


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


def train_one_by_one(runs: list[tuple[Any, Any]], errors: Errors, others: Sequence[Any] = (), n_more: int = 0) -> None:
    """
    :param runs: what knows a run, and its model; each stands where its random streams stood when the model was made. The list
        is emptied, so that a model is gone when it is saved
    :param errors: gets what goes wrong
    :param others: what knows runs that learn later
    :param n_more: number of runs that are not prepared yet
    :raises SystemExit: with status 130 after Ctrl-C, which ends the run at hand and begins no other
    """
    interrupts = Interrupts()
    while runs:
        manager, model = runs.pop(0)
        try:
            with interrupts.noted():
                if not errors.of(manager.save_path, partial(_train, manager, model)):
                    errors.of(manager.save_path, manager.leave)
        except SystemExit:  # a signal came to a run with checkpoints
            _tell_what_is_left([*(left for left, _ in runs), *others], n_more)
            raise
        if interrupts.came:
            _tell_what_is_left([*(left for left, _ in runs), *others], n_more)
            sys.exit(128 + signal.SIGINT)
        del manager, model
        gc.collect()  # callbacks and model know each other


def _tell_what_is_left(managers: Sequence[Any], n_more: int) -> None:
    for manager in managers:
        told = manager._how_to_go_on() if manager.has_checkpoints else "Not begun."
        print(f"{manager.save_path}: {told}", flush=True)
    if n_more:
        print(f"{n_more} more: not begun.", flush=True)


def _train(manager: Any, model: Any) -> None:
    restore_random_states(model, manager.random_states)
    ShownExperimentManager.learn(manager, model)
    ShownExperimentManager.save_trained_model(manager, model)
