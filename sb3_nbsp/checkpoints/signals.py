"""Signals that end a training at its next safe point."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from sb3_nbsp.base.interruption import request_stop, withdraw_request

SECONDS = 5.0  # that an agent is given to come to a safe point and write its checkpoint
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopSignals:
    """
    Within the block SIGINT (Ctrl-C), SIGTERM and SIGHUP ask for a stop. If none comes within some seconds, the process ends
    as it is, with its last checkpoint; a second Ctrl-C has it end at once.

    :param told: gives what is printed where the process ends by itself
    :param n_agents: that learn together: each writes a checkpoint, one after another
    """

    def __init__(self, told: Callable[[], str], n_agents: int = 1) -> None:
        self.told = told
        self.seconds = n_agents * SECONDS
        self.signal: int | None = None
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    @property
    def exit_status(self) -> int:
        """Of a process that a signal has ended."""
        return 128 + (self.signal or 0)

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._asked) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._timer is not None:
            self._timer.cancel()
        withdraw_request()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if number == signal.SIGINT:
                self._end()
            return
        self.signal = number
        self._timer = threading.Timer(self.seconds, self._end)
        self._timer.daemon = True
        self._timer.start()
        request_stop()

    def _end(self) -> None:
        """Nothing is written any more: what is whole stays whole."""
        print(f"\n{self.told()}", flush=True)
        sys.stderr.flush()
        os._exit(self.exit_status)
