"""Several runs' evaluations side by side: which belong together, so that they have a mean."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sb3_nbsp.evaluation.metric_arguments import FloatArray
from sb3_nbsp.evaluation.results import REGULAR, SequenceResults

ORDER = {"interval": 1, "switch": 2}  # of two evaluations at one step the higher counts, and of equal ones the last


@dataclass(frozen=True)
class Curves:
    """
    The performance of several runs on one task, where every run was evaluated on it.

    :param steps: env steps, in their order; where the runs' differ their mean [n_steps]
    :param values: [n_runs, n_steps]
    :param at_switch: whether a segment ends there [n_steps]
    :param n_left_out: regular evaluations on the task that have no partner in every other run, of the run with most of them
    """

    steps: FloatArray
    values: FloatArray
    at_switch: npt.NDArray[np.bool_]
    n_left_out: int


def common_curves(runs: Sequence[SequenceResults], task: int) -> Curves:
    """
    :param runs: of one method, at least one
    :param task: index of a task
    :return: their curves. Evaluations at the same step belong together. What is left is counted within its segment, by its
        kind: a segment ends some steps later where sub-envs do not divide it.
    """
    points = _common_rows(runs)
    steps = np.array([run.steps[rows] for run, rows in zip(runs, points.T, strict=True)])  # [n_runs, n_points]
    values = np.array([run.values()[rows, task] for run, rows in zip(runs, points.T, strict=True)])
    switches = np.array([_are(run, rows, ("switch",)) for run, rows in zip(runs, points.T, strict=True)])
    played = ~np.isnan(values).any(axis=0)
    left_out = 0
    for run, rows in zip(runs, points[played].T, strict=True):
        own = np.array(list(_by_step(run).values()), dtype=np.intp)
        known = own[~np.isnan(run.values()[own, task])]
        left_out = max(left_out, int(_are(run, known, REGULAR).sum() - _are(run, rows, REGULAR).sum()))
    return Curves(steps.mean(axis=0)[played], values[:, played], np.asarray(switches[:, played].any(axis=0)), left_out)


def warn_of_left_out(curves: Iterable[tuple[str, Iterable[Curves]]]) -> None:
    """
    :param curves: label and curves of each method, one for each task
    """
    for label, of_tasks in curves:
        if n := max(one.n_left_out for one in of_tasks):
            warnings.warn(
                f"Evaluations of {label!r} that are left out of a figure: {n}. Its runs were not evaluated at the same steps, "
                "or not on the same tasks there, so that they have no mean over all runs. Each run's evaluations.csv has all.",
                stacklevel=3,
            )


def _common_rows(runs: Sequence[SequenceResults]) -> npt.NDArray[np.intp]:
    """Indices of the evaluations that belong together, in the order of their steps [n_points, n_runs]."""
    by_step = [_by_step(run) for run in runs]
    shared = set.intersection(*map(set, by_step))
    points = [[rows[step] for rows in by_step] for step in shared]
    others = [[row for step, row in rows.items() if step not in shared] for rows in by_step]
    left = [_by_place(run, rows) for run, rows in zip(runs, others, strict=True)]
    for place in left[0]:
        counted = [rows.get(place, []) for rows in left]
        if len({len(rows) for rows in counted}) == 1:
            points += map(list, zip(*counted, strict=True))
    points.sort(key=lambda rows: sum(run.evaluations[row].step for run, row in zip(runs, rows, strict=True)))
    return np.array(points, dtype=np.intp).reshape(-1, len(runs))


def _by_step(run: SequenceResults) -> dict[int, int]:
    """Index of the evaluation that counts at each step. Edited files, and those of earlier versions, have two at some."""
    found: dict[int, int] = {}
    for index, row in enumerate(run.evaluations):
        before = found.setdefault(row.step, index)
        if ORDER.get(row.kind, 0) >= ORDER.get(run.evaluations[before].kind, 0):
            found[row.step] = index
    return found


def _by_place(run: SequenceResults, rows: Iterable[int]) -> dict[tuple[int, str], list[int]]:
    """Regular evaluations by segment and kind. Others stand where some training stopped, and have no partners."""
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in rows:
        evaluation = run.evaluations[row]
        if evaluation.kind in REGULAR:
            found[evaluation.segment, evaluation.kind].append(row)
    return found


def _are(run: SequenceResults, rows: npt.NDArray[np.intp], kinds: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([run.evaluations[row].kind in kinds for row in rows], dtype=bool)
