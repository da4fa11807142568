"""
Which tasks tell success, where an env may tell it only when it happens.

An episode that told nothing is one without success, once it is known that its task tells success at all: an episode of it has
told it, in an evaluation or in training. Evaluations from before that are read so too: nothing had succeeded in them. A task
of which no episode ever told anything has no success (``None``), and is judged by its returns.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sb3_nbsp.evaluation.results import Evaluation
from sb3_nbsp.tasks import TaskSequence


def telling_tasks(evaluations: Iterable[Evaluation]) -> set[str]:
    """
    :param evaluations: of a run
    :return: the tasks that told success in any of them
    """
    return {name for evaluation in evaluations for name, rate in evaluation.success.items() if rate is not None}


def with_failures(evaluations: list[Evaluation], telling: Collection[str]) -> list[Evaluation]:
    """
    :param evaluations: of a run
    :param telling: tasks that tell success
    :return: the same, with a success rate of 0 where one of these tasks had told nothing
    """
    return [_with_failures(evaluation, telling) for evaluation in evaluations]


def _with_failures(evaluation: Evaluation, telling: Collection[str]) -> Evaluation:
    failures = {name: 0.0 for name, rate in evaluation.success.items() if rate is None and name in telling}
    return replace(evaluation, success={**evaluation.success, **failures}) if failures else evaluation


def note_told(telling: set[str], infos: Sequence[Mapping[str, Any]], sequence: TaskSequence) -> None:
    """
    Note the tasks that tell success in training. Not those that are judged on another env than they are trained on.

    :param telling: tasks that tell success, changed in place
    :param infos: what the env told of a step
    :param sequence: what is trained
    """
    for info in infos:
        if "is_success" in info and info["task_name"] not in telling:
            telling.update(task.name for task in sequence.tasks if task.name == info["task_name"] and not task.make_evaluation)
