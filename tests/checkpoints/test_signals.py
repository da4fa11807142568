"""Signals that end a training."""

import os
import signal

from sb3_nbsp.base.interruption import stop_is_requested
from sb3_nbsp.checkpoints import signals
from sb3_nbsp.checkpoints.signals import SECONDS, StopSignals


def test_many_agents_have_more_time_to_come_to_a_safe_point(monkeypatch):
    given = []

    class Timer:
        def __init__(self, seconds, _):
            given.append(seconds)

        def start(self):
            pass

        cancel = start

    monkeypatch.setattr(signals.threading, "Timer", Timer)
    for n_agents in (1, 40):
        with StopSignals(str, n_agents) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop_is_requested() and stop.exit_status == 143
    assert given == [SECONDS, 40 * SECONDS] and not stop_is_requested()
