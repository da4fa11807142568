"""
Evaluations that are played ahead, among those of many agents: what :class:`~sb3_nbsp.evaluation.SequenceEvalCallback` has for
whoever runs the policies of many models at once (:mod:`sb3_nbsp.population`).
"""

from collections.abc import Sequence
from typing import Any

from sb3_nbsp.base.acting import Rollout
from sb3_nbsp.evaluation.contexts import contexts_of
from sb3_nbsp.evaluation.due import due, first_kind

Played = tuple[dict[str, float | None], dict[str, float]]  # success and mean return, by task


def coming_rollout(callback: Any, infos: Sequence[dict[str, Any]]) -> Rollout[Played] | None:
    """
    :param callback: the evaluation callback
    :param infos: what the env told of a step, before the callback is called
    :return: what it will play then; ``None``: nothing, or nothing that the policy plays by itself
    """
    kind = due(callback, infos[0])
    if kind is None or callback._evaluator is None or contexts_of(callback.model):
        return None
    tasks = callback._tasks_to_play(kind, int(infos[0]["segment"]))
    return callback._evaluator.rollout(callback.model, tasks)


def first_rollout(callback: Any) -> Rollout[Played] | None:
    """
    :param callback: the evaluation callback, before ``on_training_start``
    :return: what it will play then, as :func:`coming_rollout`
    """
    callback.prepare()
    kind = first_kind(callback)
    if kind is None or contexts_of(callback.model):
        return None
    return callback._evaluator.rollout(callback.model, callback._tasks_to_play(kind, callback._segment))


def take_played(callback: Any, played: Played) -> None:
    """
    :param callback: the evaluation callback
    :param played: the result of its coming rollout, for the call that follows
    """
    callback._played = played
