"""What the numbers of a command may be, in argparse's form."""

import argparse
import re
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


def steps(text: str) -> int:
    """A ``type`` for argparse: a number of steps, or -1 for none."""
    return _but_zero(text, whole(-1, "steps (-1: the default)"), "-1: the default")


def log_interval(text: str) -> int:
    """A ``type`` for argparse: episodes or updates between two logs."""
    none = "-1: the default, -2: no logs"
    return _but_zero(text, whole(-2, f"episodes or updates ({none})"), none)


seed = whole(0, "a seed", MAX_SEED)
jobs = whole(1, "trainings at a time")
MOST_SEEDS = 1000  # of one command: more are a slip of the keyboard


def seeds_of(text: str) -> list[int]:
    """
    :param text: e.g. ``0-9`` or ``0,3,10-12``
    :return: the seeds
    :raises ValueError: for anything else, for more seeds than a command trains, and for a seed that is named twice: it would
        be trained and counted twice
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match is not None else (1, 0)
        if not first <= last <= MAX_SEED:
            raise ValueError(f"--seeds expects seeds like 0-9 or 0,3,10-12, up to {MAX_SEED:,}; got {text!r}.")
        number = len(seeds) + last - first + 1
        if number > MOST_SEEDS:
            raise ValueError(f"--seeds expects at most {MOST_SEEDS:,} seeds; {text!r} names {number:,} or more.")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds names a seed twice: {text!r}.")
    return seeds


class Seeds(argparse.Action):
    """An action for argparse: seeds as several words, each as :func:`seeds_of` takes them."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """See argparse."""
        try:
            setattr(namespace, self.dest, seeds_of(",".join(values)))
        except ValueError as error:
            parser.error(str(error))


def _but_zero(text: str, kind: Callable[[str], int], none: str) -> int:
    number = kind(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"must be 1 or more (or {none}); got {text!r}")
    return number


def _checked(number: Callable[[str], Any], text: str, allowed: Whole | AtLeast) -> Any:
    try:
        value = number(text)
    except ValueError:
        value = None
    if not allowed.allows(value):
        raise argparse.ArgumentTypeError(f"must be {allowed}; got {text!r}")
    return value
