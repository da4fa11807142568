"""Being told to stop: what may be dropped in its middle says so, and everything else goes on to the next safe point."""

from collections.abc import Iterator
from contextlib import contextmanager

WORKER_GONE = (EOFError, BrokenPipeError, ConnectionResetError)  # what is seen of an env's process that has ended


class Stopped(KeyboardInterrupt):
    """The training was told to stop."""


class _State:
    requested = False
    depth = 0  # how many droppable() blocks are open


_STATE = _State()


@contextmanager
def droppable() -> Iterator[None]:
    """
    Inside the block, what is computed may be dropped: an evaluation, a scoring. A request to stop ends it at once.

    :raises Stopped: where one came, also where it came before the block
    """
    if _STATE.requested:
        raise Stopped
    _STATE.depth += 1
    try:
        yield
    finally:
        _STATE.depth -= 1


def request_stop() -> None:
    """
    Ask for a stop.

    :raises Stopped: within :func:`droppable`
    """
    _STATE.requested = True
    if _STATE.depth > 0:
        raise Stopped


def stop_is_requested() -> bool:
    """Whether someone asked for a stop."""
    return _STATE.requested


def withdraw_request() -> None:
    """There is nothing to stop any more."""
    _STATE.requested = False
