"""
Which tasks an evaluation plays: all, or a few in turn.

To play every task at every switch costs a number of episodes that grows with the square of the number of tasks. With a number
``k`` in place of ``"all"`` it grows with the number of tasks only:

- the task that is being trained, or has just ended, is always played,
- the ``k - 1`` others that were not played for longest take their turn; of equals, those that come first in ``task_names``,
- at the end of the sequence, and where a training ends between two evaluations, all are played.

What was not played is a *hole*: it has no entry in the evaluation, no row in ``evaluations.csv``, an empty cell in
``matrix.csv``. :mod:`sb3_nbsp.evaluation.metrics` says what the metrics are with holes. Whose turn it is follows from the
evaluations made so far and from nothing else, so that a run that is resumed goes on with the same tasks.
"""

from collections.abc import Sequence
from typing import Any, Literal

from sb3_nbsp.evaluation.results import Evaluation

ALL: Literal["all"] = "all"
EvalTasks = int | Literal["all"]


def checked_eval_tasks(value: Any) -> EvalTasks:
    """
    :param value: ``"all"`` or a number of tasks, 1 or more; a number may come as text, as from a command line
    :return: ``"all"`` or the number
    :raises ValueError: for anything else
    """
    if value == ALL:
        return ALL
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"Expected eval_tasks='all' or a number of tasks, 1 or more, got {value!r}.")


def tasks_to_play(
    eval_tasks: EvalTasks, task_names: Sequence[str], trained: str, earlier: Sequence[Evaluation]
) -> tuple[str, ...]:
    """
    :param eval_tasks: ``"all"``, or how many tasks to play
    :param task_names: the tasks of the sequence
    :param trained: the task that is being trained, or has just ended
    :param earlier: the evaluations made so far
    :return: the tasks to play now, in the order of ``task_names``
    """
    if eval_tasks == ALL or eval_tasks >= len(task_names):
        return tuple(task_names)
    last_played = {name: index for index, evaluation in enumerate(earlier) for name in evaluation.mean_return}
    # The sort is stable: of equals the first one in the sequence comes first.
    waiting = sorted((name for name in task_names if name != trained), key=lambda name: last_played.get(name, -1))
    chosen = {trained, *waiting[: eval_tasks - 1]}
    return tuple(name for name in task_names if name in chosen)
