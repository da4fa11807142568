"""The mean of the last evaluations of a segment, since single ones swing."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sb3_nbsp.evaluation.results import REGULAR, Evaluation, SequenceResults


def average_last(results: SequenceResults, n: int) -> SequenceResults:
    """
    Put the mean of a segment's last evaluations in place of the one at its end, as Continual World does with five.

    The performance matrix and the metrics of what is returned are those of the means. Evaluations between switches stay. Of a
    task that was not played in all of them, the mean is over those in which it was.

    :param results: a run
    :param n: number of evaluations, 1 or more; a segment with fewer gives all of its own
    :return: a copy; with ``n=1`` the run's own numbers
    :raises ValueError: if ``n`` is less than 1
    """
    if n < 1:
        raise ValueError(f"Expected the number of the last evaluations, 1 or more, got {n}.")
    evaluations = []
    for index, evaluation in enumerate(results.evaluations):
        if evaluation.kind == "switch":
            evaluation = _mean(_of_segment(results.evaluations[: index + 1], evaluation.segment)[-n:])
        evaluations.append(evaluation)
    return replace(results, evaluations=evaluations)


def segment_evaluations(results: SequenceResults) -> list[int]:
    """
    :param results: a run
    :return: of each segment that has ended, how many evaluations :func:`average_last` can take
    """
    ended = [evaluation.segment for evaluation in results.evaluations if evaluation.kind == "switch"]
    return [len(_of_segment(results.evaluations, segment)) for segment in ended]


def _of_segment(evaluations: Sequence[Evaluation], segment: int) -> list[Evaluation]:
    """Evaluations in a segment, without extra ones where a training started, stopped or went on: all runs count the same."""
    return [evaluation for evaluation in evaluations if evaluation.segment == segment and evaluation.kind in REGULAR]


def _mean(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Of each task over the evaluations in which it was played."""
    last = evaluations[-1]
    played = dict.fromkeys(task for evaluation in (last, *evaluations) for task in evaluation.mean_return)
    success = {task: _mean_of([e.success[task] for e in evaluations if task in e.success]) for task in played}
    returns = {task: float(np.mean([e.mean_return[task] for e in evaluations if task in e.mean_return])) for task in played}
    return replace(last, success=success, mean_return=returns)


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [math.nan if value is None else value for value in values]
    return None if np.isnan(known).any() else float(np.mean(known))
