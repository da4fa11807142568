"""Which task is it? A linear discriminant of first observations, and whether it can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.floating]

TOLD_RIGHT = 0.95  # share of a task's held-out first observations below which it is not told from the others
FEWEST = 20  # first observations of a task, below which nothing can be said
N_FOLDS = 5
SHRINKAGE = 0.1
RELATIVE_NOISE = 1e-3  # differences far below this share of an entry's size count as noise


@dataclass(frozen=True)
class TaskRecogniser:
    """
    Linear discriminant analysis (Fisher 1936): each task's first observations are a Gaussian, with one covariance for all,

        task(x) = argmin_k (x - mean_k)' C^-1 (x - mean_k),    C = (1 - s) W + s (tr W / n) I + 1e-6 I

    W is the mean of the tasks' covariances and s = 0.1 a shrinkage, since 100 observations do not suffice for n x n numbers.
    Before, entries of x are divided by how much they vary in general, not at episodes' beginnings only: a hand that always
    begins at one place, to a millimetre, shall not be taken for another task's when it begins a centimetre away.

    :param tasks: names, K of them
    :param scale: [n], what observations are divided by
    :param means: [K, n], of the scaled observations
    :param precision: [n, n], C^-1
    """

    tasks: tuple[str, ...]
    scale: Rows
    means: Rows
    precision: Rows

    @classmethod
    def fit(cls, observations: Mapping[str, Rows], spread: Rows) -> "TaskRecogniser":
        """
        :param observations: first observations of each task, by its name, [any number, n]
        :param spread: standard deviation of each entry of observations, [n]
        """
        rows = [np.asarray(values, dtype=np.float64) for values in observations.values()]
        every = np.concatenate(rows)
        scale = np.maximum(spread, RELATIVE_NOISE * np.abs(every).max(axis=0))
        scale[scale == 0] = 1.0
        scaled = [values / scale for values in rows]
        means = np.stack([values.mean(axis=0) for values in scaled])
        within = np.mean([_covariance(values) for values in scaled], axis=0)
        n = len(scale)
        shrunk = (1 - SHRINKAGE) * within + (SHRINKAGE * np.trace(within) / n + 1e-6) * np.eye(n)
        return cls(tuple(observations), scale, means, np.linalg.inv(shrunk))

    def recognise(self, observations: Rows) -> npt.NDArray[np.intp]:
        """
        :param observations: [M, n], first ones of episodes
        :return: [M], which of ``tasks`` each is of
        :raises ValueError: for one that is not finite, which is like no task
        """
        if not np.isfinite(observations).all():
            wrong = np.asarray(observations)[~np.isfinite(observations).all(axis=1)][0]
            raise ValueError(f"Expected first observations of finite numbers, got {wrong}: no task can be told by them.")
        away = np.asarray(observations, dtype=np.float64)[:, None] / self.scale - self.means  # [M, K, n]
        return np.einsum("mki,ij,mkj->mk", away, self.precision, away).argmin(axis=1)


def _covariance(rows: Rows) -> Rows:
    away = rows - rows.mean(axis=0)
    return away.T @ away / len(rows)


def told_as(observations: Mapping[str, Rows], spread: Rows) -> Rows:
    """
    What held-out first observations are taken for: fitted on four fifths of each task's, tried on the rest, five times. Equal
    observations are in one part together, so that none was seen before.

    :param observations: first observations of each task, by its name, [any number, n]
    :param spread: standard deviation of each entry of observations, [n]
    :return: [K, K], share of row's observations that are taken for column's
    """
    told = np.zeros((len(observations), len(observations)))
    parts = {task: _parts(values) for task, values in observations.items()}
    for fold in range(N_FOLDS):
        rest = {task: _fitting(values, parts[task], fold) for task, values in observations.items()}
        fitted = TaskRecogniser.fit(rest, spread)
        for row, (task, values) in enumerate(observations.items()):
            held = values[parts[task] == fold]
            told[row] += np.bincount(fitted.recognise(held), minlength=len(told))
    return told / told.sum(axis=1, keepdims=True)


def _parts(rows: Rows) -> npt.NDArray[np.intp]:
    """[M], the fifth that each row belongs to; equal rows to the same."""
    _, which = np.unique(rows, axis=0, return_inverse=True)
    return which.reshape(-1) % N_FOLDS


def _fitting(rows: Rows, parts: npt.NDArray[np.intp], fold: int) -> Rows:
    """Rows of the other folds; all of them for a task whose episodes all begin alike."""
    chosen = rows[parts != fold]
    return chosen if len(chosen) else rows


def doubts(observations: Mapping[str, Rows], spread: Rows) -> dict[str, str]:
    """
    :param observations: first observations of each task, by its name, [any number, n]
    :param spread: standard deviation of each entry of observations, [n]
    :return: by task, in a sentence, why it cannot be told from the others; tasks that can be told are left out
    """
    few = {
        task: f"{task} has {len(values)} first observations, at least {FEWEST} are needed: train it for more episodes."
        for task, values in observations.items()
        if len(values) < FEWEST
    }
    wrong = {
        task: f"{task} was trained on observations that are not finite."
        for task, values in observations.items()
        if not (np.isfinite(values).all() and np.isfinite(spread).all())
    }
    if few or wrong or len(observations) < 2:
        return few | wrong
    told, tasks = told_as(observations, spread), list(observations)
    unsure = {}
    for index, task in enumerate(tasks):
        right, others = told[index, index], np.delete(told[index], index)
        if right < TOLD_RIGHT:
            other = np.delete(tasks, index)[others.argmax()]
            unsure[task] = (
                f"{task} looks like {other}: {right:.2f} of its held-out first observations are told right, at least "
                f"{TOLD_RIGHT} must be."
            )
    return unsure
