"""
Estimates with intervals over runs, in the manner of rliable (Agarwal et al. 2021, https://arxiv.org/abs/2108.13264).

Computed by scipy: point estimates are rliable's own, intervals its percentile bootstrap. rliable 1.2 itself ignores the
seed it is given, so that no table could be reproduced, and takes the same number of runs in every stratum only.

A *stratum* is a task sequence: its runs are resampled among themselves. The tasks of one sequence are no strata, because one
run learns them all and what it gains on one it may lose on another.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_nbsp.base.arguments import Share, check_values
from sb3_nbsp.base.plain_text import two_decimals
from sb3_nbsp.evaluation.metric_arguments import FloatArray, numbers

Statistic = Callable[..., Any]  # (*strata, axis) -> array

# Bounds then move by less than the second decimal that tables show.
BOOTSTRAP_SAMPLES = 10_000
TIED_TO = 9  # decimals: 1.0 - 0.8 and 0.8 - 0.6 are a tie, and differ in the last bit


@dataclass(frozen=True)
class Estimate:
    """
    A value with its interval; NaN where undefined.

    :param value: the point estimate
    :param low: lower bound of the interval
    :param high: upper bound
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        value, low, high = map(two_decimals, (self.value, self.low, self.high))
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"


def mean(*strata: npt.NDArray[np.float64], axis: int = -1) -> Any:
    """
    :param strata: values of the runs along ``axis``
    :param axis: the runs' axis
    :return: mean over the strata of their means
    """
    return np.mean([stratum.mean(axis=axis) for stratum in strata], axis=0)


def iqm(*strata: npt.NDArray[np.float64], axis: int = -1) -> Any:
    """
    Interquartile mean: mean of the middle half of all values. Outliers do not move it, and it is steadier than a median.

    :param strata: values of the runs along ``axis``
    :param axis: the runs' axis
    :return: over all strata together
    """
    return _scipy_stats().trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis)


def improvement(*strata: npt.NDArray[np.float64], axis: int = -1) -> Any:
    """
    Probability that a run of one method is better than a run of another, a tie counting one half.

    :param strata: values of the first method by stratum, followed by those of the second
    :param axis: the runs' axis
    :return: mean over the strata
    """
    half = len(strata) // 2
    if len(strata) % 2:
        raise ValueError(f"Expected the strata of two methods, as many of each, got {len(strata)} in all.")
    return np.mean([_mann_whitney(x, y, axis) for x, y in zip(strata[:half], strata[half:], strict=True)], axis=0)


def _mann_whitney(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], axis: int) -> Any:
    x, y = np.round(x, TIED_TO), np.round(y, TIED_TO)
    with np.errstate(all="ignore"):  # of the test's p-value, which is not used, where all values are equal
        test = _scipy_stats().mannwhitneyu(x, y, axis=axis, method="asymptotic")
    return test.statistic / (x.shape[axis] * y.shape[axis])


def estimate(strata: Sequence[npt.ArrayLike], statistic: Statistic = mean, confidence: float = 0.95) -> Estimate:
    """
    A statistic with its stratified percentile bootstrap interval. The interval never leaves the range of what was seen, and
    with few runs it is too narrow: with three it holds the true mean in roughly three of four cases rather than in 95 %.

    :param strata: one value per run, for each stratum [n_runs]; numbers of runs may differ
    :param statistic: :func:`mean`, :func:`iqm`, or :func:`improvement` (with the strata of both methods)
    :param confidence: probability mass between the two bounds, 0 to 1
    :return: without bounds where a stratum has a single run, NaN where a value is not finite; the same at every call
    :raises ImportError: without scipy
    :raises ValueError: if there is nothing to estimate from, or ``confidence`` lies outside 0 to 1
    """
    check_values({"confidence": Share}, {"confidence": confidence})
    values = [numbers(stratum, "every stratum", "[n_runs]") for stratum in strata]
    if not values or not all(map(len, values)):
        raise ValueError(f"Expected at least one run in every stratum, got {[stratum.shape for stratum in values]}.")
    return _estimate(tuple(tuple(stratum.tolist()) for stratum in values), statistic, confidence)


def bootstrap_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """
    Percentile bootstrap interval of the mean over seeds, the field's habit (Continual World, rliable): that of
    :func:`estimate`, with its limits.

    :param values: one value per seed [n_seeds], at least two
    :param confidence: probability mass between the two bounds, 0 to 1
    :return: lower and upper bound, the same at every call
    :raises ImportError: without scipy
    :raises ValueError: for fewer than two values, or one that is not finite, or another ``confidence``
    """
    seeds = numbers(values, "the values of the seeds", "[n_seeds]")
    if len(seeds) < 2 or not np.isfinite(seeds).all():
        raise ValueError(f"Expected values of two seeds or more, all of them finite, got {values!r}.")
    found = estimate([seeds], confidence=confidence)
    return found.low, found.high


@cache  # tables, figures and CSV files want the same ones
def _estimate(strata: tuple[tuple[float, ...], ...], statistic: Statistic, confidence: float) -> Estimate:
    values = [np.array(stratum) for stratum in strata]
    if not all(np.isfinite(stratum).all() for stratum in values):
        return Estimate()
    point = float(statistic(*values, axis=-1))
    if min(map(len, values)) < 2:
        return Estimate(point)
    interval = _interval(values, statistic, confidence)
    return Estimate(point, float(interval.low), float(interval.high))


def _interval(values: Sequence[FloatArray], statistic: Statistic, confidence: float) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # on equal values, whose interval is a point
        result = _scipy_stats().bootstrap(
            values,
            statistic,
            paired=False,
            vectorized=True,
            n_resamples=BOOTSTRAP_SAMPLES,
            confidence_level=confidence,
            method="percentile",
            rng=0,
        )
    return result.confidence_interval


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise ImportError(f'Intervals need scipy ({error}): pip install "sb3-nbsp[plots]"') from error
    return stats
