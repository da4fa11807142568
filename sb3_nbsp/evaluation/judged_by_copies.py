"""A run as it would be judged if the policy were copied at each task's end, and the task played with its copy from then on."""

from collections.abc import Mapping
from dataclasses import replace

from sb3_nbsp.evaluation.results import Evaluation, SequenceResults


def judged_by_copies(results: SequenceResults) -> SequenceResults:
    """
    A copy does not change, so that nothing has to be played: a task keeps the performance of the evaluation at its last
    visit's end, :math:`R'_{ij} = R_{e(i, j), j}`, where :math:`e(i, j)` is the last segment up to :math:`i` that trained task
    :math:`j`. A task that was not trained yet, or is being trained, keeps its own. It is what
    :class:`~sb3_nbsp.baselines.SavedCopies` measures, but for the gradient steps between that evaluation and the task's end,
    those of the last env step.

    :param results: a run; where segments are judged by a mean, with the means
        (:func:`~sb3_nbsp.evaluation.last_evaluations.average_last`)
    :return: a copy
    :raises ValueError: if an evaluation at a segment's end left out the segment's task
    """
    at_end: dict[str, Evaluation] = {}
    evaluations = []
    for evaluation in results.evaluations:
        trained = results.segments[evaluation.segment]
        copies = {task: end for task, end in at_end.items() if task != trained}
        evaluations.append(_with(evaluation, copies))
        if evaluation.kind == "switch":
            if trained not in evaluation.mean_return:
                raise ValueError(f"Expected {trained} to be played at its end, step {evaluation.step}: it was not.")
            at_end[trained] = evaluation
    return replace(results, evaluations=evaluations)


def _with(evaluation: Evaluation, copies: Mapping[str, Evaluation]) -> Evaluation:
    """What was played, with the copies' numbers."""
    success = {task: copies.get(task, evaluation).success[task] for task in evaluation.success}
    returns = {task: copies.get(task, evaluation).mean_return[task] for task in evaluation.mean_return}
    return replace(evaluation, success=success, mean_return=returns)
