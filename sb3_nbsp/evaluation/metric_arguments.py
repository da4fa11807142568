"""What metrics are computed from: numbers of the right shape, and names of tasks by their index."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_nbsp.base.arguments import Whole

FloatArray = npt.NDArray[np.float64]
ROUNDING = 1e-9  # an area of a curve that is 1 throughout may come out larger


def numbers(values: npt.ArrayLike, what: str, shape: str) -> FloatArray:
    """
    :param values: what was given
    :param what: it is, in words
    :param shape: its dimensions in words, e.g. ``[n_segments, n_tasks]``
    :return: as an array
    :raises ValueError: for what is no numbers, or has another number of dimensions
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected numbers in {what} {shape}, got {values!r}.") from error
    if array.ndim != shape.count(",") + 1:
        raise ValueError(f"Expected {what} {shape}, got shape {array.shape}.")
    return array


def same_length(**arrays: FloatArray) -> None:
    """
    :param arrays: of one dimension, by name
    :raises ValueError: if they are of different lengths: one of length 1 does not stand for all
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = " and ".join(f"{n} in {name}" for name, n in lengths.items())
        raise ValueError(f"Expected as many values in {' as in '.join(lengths)}, got {told}.")


def check_shares(values: FloatArray, what: str) -> None:
    """
    :param values: any number of them; NaN is not known
    :param what: they are, in words
    :raises ValueError: if one lies outside 0 to 1
    """
    if (values < -ROUNDING).any() or (values > 1 + ROUNDING).any():
        raise ValueError(f"Expected {what} between 0 and 1, got {values}. Returns and percentages must be scaled.")


def check_segments(segments: Sequence[int], n_segments: int, n_tasks: int) -> None:
    """
    :param segments: index of the task trained in each segment
    :param n_segments: how many there must be
    :param n_tasks: number of tasks
    :raises ValueError: if they are no indices of tasks, or of another number
    """
    given: list[Any] = list(segments) if isinstance(segments, Iterable) else [segments]
    if len(given) != n_segments:
        raise ValueError(f"Expected one task index per row ({n_segments}), got {len(given)} segments.")
    if not all(Whole(0, "tasks", n_tasks - 1).allows(task) for task in given):
        hint = " SequenceResults.segment_indices has those of names." if any(isinstance(task, str) for task in given) else ""
        raise ValueError(f"Expected task indices (int) from 0 to {n_tasks - 1} in segments, got {given}.{hint}")
