"""
A replay buffer in stretches: rows that are written once lie in the store, so that a checkpoint writes only what is new.

Rows are counted from the buffer's beginning, over all its rounds. ``[a, b)`` is a stretch of them. The newest row is in the
checkpoint itself, because a switch marks its end of episode later; so is the one after it, where a buffer with
``optimize_memory_usage`` keeps the next observation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from sb3_nbsp.checkpoints.store import Store
from sb3_nbsp.checkpoints.trees import flat
from sb3_nbsp.rehearsal.replay_buffers import ARRAYS, COUNTERS

MAX_STRETCHES = 32


@dataclass(frozen=True)
class Stretch:
    """Rows ``[start, end)`` in a blob."""

    start: int
    end: int
    blob: str


def ring_state(buffer: Any, known: Sequence[Stretch], store: Store) -> tuple[dict[str, Any], list[Stretch]]:
    """
    Put a buffer's new rows into the store.

    :param buffer: a mixed replay buffer
    :param known: stretches of it that are in the store already
    :param store: where to
    :return: what a checkpoint holds of it, and its stretches now
    """
    first, newest = buffer.n_added - buffer.size(), buffer.n_added - 1
    stretches = [part for part in known if part.end > first]
    start = stretches[-1].end if stretches else first
    if start < newest:
        stretches.append(_put(buffer, start, newest, store))
    while len(stretches) > MAX_STRETCHES:
        stretches = _with_smallest_joined(buffer, stretches, first, store)
    state = {
        "counters": {name: getattr(buffer, name) for name in COUNTERS},
        "place": [buffer.pos, buffer.full],
        "stretches": [[part.start, part.end, part.blob] for part in stretches],
        "newest": _rows(buffer, np.array([buffer.pos - 1, buffer.pos]) % buffer.buffer_size),
    }
    return state, stretches


def _put(buffer: Any, start: int, end: int, store: Store) -> Stretch:
    return Stretch(start, end, store.put(_rows(buffer, _places(buffer, start, end))))


def _with_smallest_joined(buffer: Any, stretches: list[Stretch], first: int, store: Store) -> list[Stretch]:
    """Two neighbours in one: so a row is written again as often as the number of rows doubles, not at every checkpoint."""
    sizes = [later.end - part.start for part, later in pairwise(stretches)]
    i = int(np.argmin(sizes))
    joined = _put(buffer, max(stretches[i].start, first), stretches[i + 1].end, store)
    return [*stretches[:i], joined, *stretches[i + 2 :]]


def _places(buffer: Any, start: int, end: int) -> np.ndarray:
    """Where rows stand in the ring, [end - start]."""
    return (np.arange(start, end) - buffer.n_added + buffer.pos) % buffer.buffer_size


def _rows(buffer: Any, places: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[places] for name, array in _arrays(buffer).items()}


def _arrays(buffer: ReplayBuffer) -> dict[str, np.ndarray]:
    """The buffer's own arrays, [buffer_size, n_envs, ...]."""
    return flat({name: getattr(buffer, name) for name in ARRAYS if getattr(buffer, name, None) is not None})


def restore_ring(buffer: Any, state: dict[str, Any], store: Store) -> list[Stretch]:
    """
    Fill a buffer.

    :param buffer: an empty one of the same size
    :param state: what a checkpoint holds
    :param store: where its stretches lie
    :return: these
    """
    for name, value in state["counters"].items():
        setattr(buffer, name, value)
    buffer.pos, buffer.full = state["place"]
    stretches = [Stretch(*part) for part in state["stretches"]]
    first = buffer.n_added - buffer.size()
    for part in stretches:
        kept = slice(max(first - part.start, 0), None)
        _fill(buffer, _places(buffer, part.start, part.end)[kept], store.get(part.blob), kept)
    _fill(buffer, np.array([buffer.pos - 1, buffer.pos]) % buffer.buffer_size, state["newest"], slice(None))
    return stretches


def _fill(buffer: Any, places: np.ndarray, rows: dict[str, np.ndarray], kept: slice) -> None:
    for name, array in _arrays(buffer).items():
        array[places] = rows[name][kept]


def blobs(stretches: Iterable[Stretch]) -> list[str]:
    """Names of the blobs that stretches lie in."""
    return [part.blob for part in stretches]
