"""What the numbers of a command may be, in argparse's form."""

import argparse
from collections.abc import Callable
from typing import Any

from sb3_nbsp.base.arguments import AtLeast, Whole
from sb3_nbsp.common.parents_arguments import MAX_SEED


def whole(low: int, unit: str, high: float = float("inf")) -> Callable[[str], int]:
    """
    :param low: smallest allowed number
    :param unit: what is counted
    :param high: largest allowed number
    :return: a ``type`` for argparse
    """
    return lambda text: _checked(int, text, Whole(low, unit, high))


def above_zero(text: str) -> float:
    """A ``type`` for argparse: a number above 0."""
    return _checked(float, text, AtLeast(0, excluded=True))


seed = whole(0, "a seed", MAX_SEED)
jobs = whole(1, "trainings at a time")


def _checked(number: Callable[[str], Any], text: str, allowed: Whole | AtLeast) -> Any:
    try:
        value = number(text)
    except ValueError:
        value = None
    if not allowed.allows(value):
        raise argparse.ArgumentTypeError(f"must be {allowed}; got {text!r}")
    return value
