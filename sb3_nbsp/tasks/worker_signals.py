"""What processes that run sub-envs do with signals that are meant for the process that trains."""

import multiprocessing
import signal
import threading


def leave_signals_to_the_trainer() -> None:
    """
    In a worker of a ``SubprocVecEnv``, ignore what a terminal sends to all of its processes: Ctrl-C and its own end. The
    worker ends with the process that trains. Elsewhere nothing happens.
    """
    is_worker = multiprocessing.current_process().daemon and threading.current_thread() is threading.main_thread()
    for name in ("SIGINT", "SIGHUP") if is_worker else ():
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
