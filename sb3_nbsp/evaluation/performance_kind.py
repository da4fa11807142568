"""What the performance of a run is read as: success rates, normalised returns or returns."""

from dataclasses import dataclass
from numbers import Real
from typing import Literal

Metric = Literal["success", "normalised return", "return"]


@dataclass(frozen=True)
class Measure:
    """
    A way to read performance.

    :param name: short, for tables and files
    :param title: long, for figures
    :param average: name of its mean over tasks: ASR for success rates, AR for returns, as NBSP's authors write on Atari
    """

    name: Metric
    title: str
    average: str

    @property
    def average_without_last(self) -> str:
        """Name of the same mean over old tasks."""
        return f"{self.average} without the last task"


SUCCESS = Measure("success", "success rate", "ASR")
NORMALISED = Measure("normalised return", "human-normalised return", "AR")
RETURN = Measure("return", "mean return", "AR")


def normalised_return(value: float, reference: tuple[float, float]) -> float:
    """
    Put a return between a random player's and a human's.

    :param value: undiscounted return of an episode
    :param reference: the same of a random player and of a human
    :return: 0 for the random player's return, 1 for the human's; may lie outside
    :raises TypeError: if ``value`` is no number
    :raises ValueError: if the reference is not two returns, or these are equal
    """
    if not isinstance(value, Real):
        raise TypeError(f"Expected an episode's return, a number; got {value!r}.")
    try:
        random, human = reference
    except (TypeError, ValueError) as error:
        raise ValueError(f"reference must be two returns, of a random player and of a human; got {reference!r}.") from error
    if human == random:
        raise ValueError(f"reference must be two different returns, got {reference!r}.")
    return (value - random) / (human - random)
