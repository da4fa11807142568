"""
Continual-learning metrics as pure functions of numbers.

Two families stand side by side. ``average_success``, ``forgetting_measure`` and ``forward_transfer`` are the ASR, FM
and FWT that NBSP (arXiv 2504.08000) reports; only their names could be had, so the formulas are our reading.
The ``cw_`` functions follow Continual World (Wołczyk et al. 2021, https://arxiv.org/abs/2105.10919, section 3.3).

``matrix`` is the performance matrix ``[n_segments, n_tasks]``: row ``k`` holds the performance on every task right after
segment ``k``. Rows of NaN after the last measured one are not measured yet and are left out; one before it was lost.
``segments[k]`` is the index of the task trained in segment ``k``. A metric without a value is NaN.

A measured row may have *holes*: NaN for the tasks that were not played then (:mod:`sb3_nbsp.evaluation.eval_tasks`). The task
that was trained in the segment has none, and the last row of a finished sequence has none. So

- forward transfer, which reads no other entries, is the same with holes as without,
- average success needs the whole last row, forgetting the last row of all old tasks: with a hole among these they are NaN,
  never a mean over fewer tasks that no one could compare,
- in forgetting, a task's best is the best of its known values, at least the one at the end of its own training: with holes
  it can be lower, never higher, and so can the measure,
- Continual World's means of the last five evaluations are taken for each task over those in which it was played; a task's
  area under the curve begins and ends where it was played first and last in its own segment.

A finished sequence therefore has all metrics, with holes too.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_nbsp.evaluation.metric_arguments import ROUNDING, FloatArray, check_segments, check_shares, numbers, same_length


@dataclass(frozen=True)
class Metrics:
    """
    The metrics of one run; NaN where undefined.

    :param asr: average success, see :func:`average_success`
    :param fm: forgetting measure, see :func:`forgetting_measure`
    :param fwt: forward transfer, see :func:`forward_transfer`
    :param cw_performance: Continual World's P, see :func:`cw_performance`
    :param cw_forgetting: Continual World's F, see :func:`cw_forgetting`
    :param cw_forward_transfer: Continual World's FT, see :func:`cw_forward_transfer`
    :param asr_without_last: the same as ``asr`` over old tasks, see :func:`average_success_without_last`
    """

    asr: float
    fm: float
    fwt: float
    cw_performance: float = math.nan
    cw_forgetting: float = math.nan
    cw_forward_transfer: float = math.nan
    asr_without_last: float = math.nan


def summarize(metrics: Metrics) -> dict[str, float | None]:
    """
    :param metrics: the metrics of one run
    :return: the same as a plain dict that JSON can hold, ``None`` where undefined
    :raises TypeError: for anything else
    """
    if not isinstance(metrics, Metrics):
        raise TypeError(f"metrics must be Metrics, such as SequenceResults.metrics() gives; got {type(metrics).__name__}.")
    return {name: float(value) if math.isfinite(value) else None for name, value in asdict(metrics).items()}


def average_success(matrix: npt.ArrayLike) -> float:
    """
    ASR, or AR where performance is a return: mean over all tasks of the performance after the last measured segment. NaN while
    a task was not played there.

    Our reading of NBSP's ASR: arXiv 2504.08000 gives the name only.

    :param matrix: performance matrix [n_segments, n_tasks]
    :return: in the unit of ``matrix`` (success rate: 0 to 1, higher is better)
    :raises ValueError: if ``matrix`` has not two dimensions
    """
    performance, rows = _measured(matrix)
    return float(performance[rows[-1]].mean()) if rows else math.nan


def average_success_without_last(matrix: npt.ArrayLike, segments: Sequence[int]) -> float:
    """
    ASR without the last task: mean of the performance after the last measured segment over all tasks but the one that this
    segment trained.

    The last task is good whatever was forgotten, which raises the mean of a method that forgets everything: with two tasks to
    a half. Our own, after what a group that reproduced several benchmarks reports.

    :param matrix: performance matrix [n_segments, n_tasks]
    :param segments: index of the task trained in each segment [n_segments]
    :return: in the unit of ``matrix`` (success rate: 0 to 1, higher is better); NaN where there is one task only, or
        while an old task was not played there
    :raises ValueError: if the two arguments do not fit each other
    """
    performance, rows = _measured(matrix, segments)
    if not rows:
        return math.nan
    return _mean(np.delete(performance[rows[-1]], segments[rows[-1]]).tolist())


def forgetting_measure(matrix: npt.ArrayLike, segments: Sequence[int]) -> float:
    """
    FM: how far the tasks that are no longer trained have fallen from their best.

    Chaudhry et al. 2018 (https://arxiv.org/abs/1801.10112, eq. 3): the mean over old tasks ``i`` of
    ``max_l matrix[l, i] - matrix[k, i]``, where ``k`` is the last measured segment and ``l`` runs from the first segment
    that trained ``i`` to ``k - 1``, over those in which ``i`` was played. An old task was trained before ``k`` and is not
    trained in ``k`` (a task may return). NaN while an old task was not played in ``k``, or where none of its rows before ``k``
    is known: a run that lost the evaluations at its switches has no mean over fewer tasks.
    Our reading of NBSP's FM: arXiv 2504.08000 gives the name only.

    :param matrix: performance matrix [n_segments, n_tasks]
    :param segments: index of the task trained in each segment [n_segments]
    :return: in the unit of ``matrix`` (success rate: -1 to 1, lower is better, negative when old tasks improved)
    :raises ValueError: if the two arguments do not fit each other
    """
    performance, rows = _measured(matrix, segments)
    if not rows:
        return math.nan
    last = rows[-1]
    drops = []
    for task in sorted(set(segments[:last]) - {segments[last]}):
        first = list(segments).index(task)
        earlier = [row for row in rows if first <= row < last and not np.isnan(performance[row, task])]
        drops.append(performance[earlier, task].max() - performance[last, task] if earlier else math.nan)
    return _mean(drops)


def forward_transfer(matrix: npt.ArrayLike, segments: Sequence[int], reference: npt.ArrayLike = 0.0) -> float:
    """
    FWT: mean over tasks of the performance right after a task's first training segment, minus ``reference``.

    With the reference at 0 it says how well new tasks are learned at all (plasticity); with the performance of runs that
    train each task alone, what the earlier tasks added or took. Segments after the last measured one are left out; where a
    task has no value at or before it, because that evaluation was lost, NaN.
    Our reading of NBSP's FWT: arXiv 2504.08000 gives the name only.

    :param matrix: performance matrix [n_segments, n_tasks]
    :param segments: index of the task trained in each segment [n_segments]
    :param reference: performance to compare with, one for all tasks or one per task [n_tasks]
    :return: in the unit of ``matrix`` (higher is better)
    :raises ValueError: if the arguments do not fit each other
    """
    performance, rows = _measured(matrix, segments)
    n_tasks = performance.shape[1]
    given: Any = [reference] * n_tasks if np.ndim(reference) == 0 else reference
    references = numbers(given, "reference", "[n_tasks]")
    if len(references) != n_tasks:
        raise ValueError(f"Expected one reference, or one per task ({n_tasks}), got {references.shape}.")
    first_rows = {task: list(segments).index(task) for task in set(segments)}
    reached = {task: row for task, row in first_rows.items() if rows and row <= rows[-1]}
    return _mean([performance[row, task] - references[task] for task, row in reached.items()])


def cw_performance(curves_last: npt.ArrayLike) -> float:
    """
    Continual World's average performance, ``P = 1/N sum_i p_i(END)``.

    Their code takes the last five evaluations for ``p_i(END)``.

    :param curves_last: the last evaluations of every task, NaN where a task was not played [n_evaluations, n_tasks]
    :return: in the unit of the curves (success rate: 0 to 1, higher is better); NaN if a task was not played at all
    :raises ValueError: if the evaluations have not two dimensions
    """
    values = numbers(curves_last, "the last evaluations", "[n_evaluations, n_tasks]")
    # Without holes the mean of all: their order of summing gives the same number as ever, to the last digit.
    return float((task_means(values) if np.isnan(values).any() else values).mean())


def task_means(curves: npt.ArrayLike) -> FloatArray:
    """
    :param curves: evaluations of every task, NaN where a task was not played [n_evaluations, n_tasks]
    :return: mean over the evaluations in which a task was played, NaN where there is none [n_tasks]
    """
    values = np.asarray(curves, dtype=np.float64)
    holes = np.isnan(values)
    if not holes.any():
        return np.asarray(values.mean(axis=0))
    played = (~holes).sum(axis=0)
    sums = np.where(holes, 0.0, values).sum(axis=0)
    return np.divide(sums, played, out=np.full(values.shape[1], math.nan), where=played > 0)


def is_complete(matrix: npt.ArrayLike, segments: Sequence[int]) -> bool:
    """
    :param matrix: performance matrix [n_segments, n_tasks]
    :param segments: index of the task trained in each segment [n_segments]
    :return: whether every segment was measured on its own task, and the last one on all tasks
    :raises ValueError: if the two arguments do not fit each other
    """
    performance, _ = _measured(matrix, segments)
    own = performance[np.arange(len(segments)), list(segments)]
    return len(segments) > 0 and not (np.isnan(own).any() or np.isnan(performance[-1]).any())


def cw_forgetting(after_training: npt.ArrayLike, at_end: npt.ArrayLike) -> float:
    """
    Continual World's forgetting, ``F = 1/N sum_i [p_i(end of i's training) - p_i(END)]``.

    As in their CW20, a task that returns counts once per segment, and the last segment counts with 0.

    :param after_training: performance on each segment's task at the end of that segment [n_segments]
    :param at_end: performance on the same tasks at the end of the sequence [n_segments]
    :return: in the unit of the arguments (success rate: -1 to 1, lower is better)
    :raises ValueError: if the arguments do not fit each other
    """
    after, end = numbers(after_training, "after_training", "[n_segments]"), numbers(at_end, "at_end", "[n_segments]")
    same_length(after_training=after, at_end=end)
    return float((after - end).mean()) if len(after) else math.nan


def cw_forward_transfer(auc: npt.ArrayLike, baseline_auc: npt.ArrayLike) -> float:
    """
    Continual World's forward transfer, ``FT = 1/N sum_i (AUC_i - AUC_i^b) / (1 - AUC_i^b)``.

    A task whose baseline is perfect from the first step (``AUC^b = 1``) leaves nothing to transfer: FT is then undefined
    for the whole sequence and NaN is returned, rather than a mean over fewer tasks that no one could compare.

    :param auc: area under the success curve in each task's own segment, 0 to 1 [n_tasks], see :func:`area_under_curve`
    :param baseline_auc: the same from runs that train each task alone, 0 to 1 [n_tasks]
    :return: at most 1, higher is better
    :raises ValueError: if an area lies outside 0 to 1, or the arguments do not fit each other
    """
    area, baseline = numbers(auc, "auc", "[n_tasks]"), numbers(baseline_auc, "baseline_auc", "[n_tasks]")
    same_length(auc=area, baseline_auc=baseline)
    check_shares(baseline, "baseline areas of success rates")
    check_shares(area, "areas of success rates")
    if (baseline >= 1 - ROUNDING).any():
        return math.nan
    return float(((area - baseline) / (1 - baseline)).mean()) if len(area) else math.nan


def area_under_curve(steps: npt.ArrayLike, values: npt.ArrayLike, start: float, end: float) -> float:
    """
    Mean height of one task's curve over ``[start, end]`` (trapezoids), Continual World's ``AUC_i = 1/D int p_i(t) dt``.

    Continual World averages equally spaced evaluations; trapezoids give the same weight to every env step where
    evaluations are not equally spaced.

    :param steps: env steps of the evaluations, in their order [n_evaluations]
    :param values: performance at these steps, NaN where the task was not played, which is left out [n_evaluations]
    :param start: first env step of the task's own segment
    :param end: last env step of the task's own segment
    :return: in the unit of ``values``; NaN with fewer than two evaluations inside, or all at one step
    :raises ValueError: if steps decrease, the segment ends before it starts, or the arguments do not fit each other
    """
    times, heights = numbers(steps, "steps", "[n_evaluations]"), numbers(values, "values", "[n_evaluations]")
    same_length(steps=times, values=heights)
    if np.isnan(times).any() or (np.diff(times) < 0).any():
        raise ValueError(f"Expected env steps in their order, got {times.tolist()}. Sort the evaluations by their steps.")
    if start > end:
        raise ValueError(f"Expected a segment that starts before its end, got {start} to {end}.")
    inside = (times >= start) & (times <= end) & ~np.isnan(heights)
    times, heights = times[inside], heights[inside]
    if len(times) < 2 or times[0] == times[-1]:
        return math.nan
    return float((np.diff(times) * (heights[1:] + heights[:-1]) / 2).sum() / (times[-1] - times[0]))


def _measured(matrix: npt.ArrayLike, *segments: Sequence[int]) -> tuple[FloatArray, list[int]]:
    """The matrix as an array, and the indices of its rows with a value."""
    performance = numbers(matrix, "the performance matrix", "[n_segments, n_tasks]")
    for given in segments:
        check_segments(given, *performance.shape)
    return performance, [int(row) for row in np.flatnonzero(~np.isnan(performance).all(axis=1))]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
