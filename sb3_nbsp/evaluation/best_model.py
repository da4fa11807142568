"""Which evaluation is a run's best."""

from typing import NamedTuple

import numpy as np

from sb3_nbsp.evaluation.performance_kind import RETURN, SUCCESS
from sb3_nbsp.evaluation.results import SequenceResults


class Rank(NamedTuple):
    """
    What evaluations are compared by, the first entry before the others.

    :param n_tasks: tasks seen so far: mastering one task out of one is no better than most of two
    :param success: mean success over these tasks, 0 where not told
    :param mean_return: mean return over these tasks, human-normalised where results are
    """

    n_tasks: int
    success: float
    mean_return: float


def ranks(results: SequenceResults) -> list[Rank]:
    """
    :param results: a run
    :return: the rank of each evaluation. A task that an evaluation left out counts as it was when last played, which every
        task was when its training ended.
    """
    measure = RETURN if results.measure == SUCCESS else results.measure
    success: dict[str, float] = {}
    returns: dict[str, float] = {}
    found = []
    for evaluation in results.evaluations:
        success |= {name: value or 0.0 for name, value in evaluation.success.items()}
        performance = results.performance(evaluation, measure.name)
        returns |= {name: performance[name] for name in evaluation.mean_return}
        seen = sorted(set(results.segments[: evaluation.segment + 1]))
        means = (float(np.mean([values.get(name, np.nan) for name in seen])) for values in (success, returns))
        found.append(Rank(len(seen), *means))
    return found


def newest_is_best(results: SequenceResults) -> bool:
    """
    :param results: a run with at least one evaluation
    :return: whether its newest evaluation is better than every earlier one
    """
    *earlier, newest = ranks(results)
    return all(newest > rank for rank in earlier)
