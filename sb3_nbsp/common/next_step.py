"""
What a model does with an env: go on, begin, or refuse. Pure: of the model's position and of the env's sequence.

The rows of the table in docs/guide/tasks.md, which is made from the test of this module (tests/common/test_next_step.py).
"""

from dataclasses import dataclass
from typing import Literal

from sb3_nbsp.common.position import FollowedSequence, SequencePosition, Visit, id_width_of, visits_of

BY_HAND = "the task given by hand"


@dataclass(frozen=True)
class NextStep:
    """
    What is done with an env.

    :param kind: ``go on`` where the model stands, in the same sequence; ``extend``: the same, in one that goes on differently;
        ``begin`` a sequence, or a task given by hand; ``beyond``: go on with the last task of a sequence that has ended;
        ``refuse``
    :param steps: env steps of the sequence at which the env must stand
    :param reason: of ``refuse``, in words: what is unfinished, and the two ways on
    """

    kind: Literal["go on", "extend", "begin", "beyond", "refuse"]
    steps: int = 0
    reason: str = ""


def next_step(position: SequencePosition, sequence: FollowedSequence | None, by_hand_steps: int = 0) -> NextStep:
    """
    :param position: where the model stands
    :param sequence: that the env goes through; ``None`` for an env that does not switch tasks
    :param by_hand_steps: env steps on a task given by hand that was not consolidated, 0 where a sequence is followed
    :return: what is done
    """
    if position.pending is not None and (sequence is None or position.pending not in sequence.task_names):
        return _refuse(position.pending, "has ended and is not consolidated", sequence)
    if sequence is None and not position.visits:
        return NextStep("go on")
    if sequence is not None and position.visits and _goes_on_in(position, sequence):
        if not _same_but_for_names(position.visits, visits_of(sequence)):
            return NextStep("extend", min(position.steps, position.total_steps))
        return NextStep("beyond" if position.is_finished else "go on", position.steps)
    if position.is_inside:
        task = position.task or position.visits[position.n_completed][0] or "a task"
        return _refuse(task, f"is learned since {position.steps_in_segment} env steps and not at its end", sequence)
    if not position.visits and by_hand_steps > 0 and not position.is_fresh:
        return _refuse(position.task or BY_HAND, f"was learned for {by_hand_steps} env steps and not consolidated", sequence)
    return NextStep("begin")


def _goes_on_in(position: SequencePosition, sequence: FollowedSequence) -> bool:
    """
    Whether the segments that have ended are the sequence's too, and the running one, where one is, is the same task and longer
    than the steps taken in it.
    """
    mine, other, k = position.visits, visits_of(sequence), position.n_completed
    if not _same_but_for_names(mine[:k], other[:k]):
        return False
    if mine[0][0] is not None and position.id_width != id_width_of(sequence):
        return False  # observations are others
    if position.is_finished or position.steps_in_segment == 0 or position.is_at_switch:
        return True
    running = mine[k][0] or position.task  # older files know no more than the task that is learned
    return k < len(other) and running in (None, other[k][0]) and other[k][1] > position.steps_in_segment


def _same_but_for_names(mine: list[Visit], other: list[Visit]) -> bool:
    """Whether visits are equal, where those of an older file do not know the tasks' names."""
    return len(mine) == len(other) and all(
        steps == other_steps and task in (None, other_task)
        for (task, steps), (other_task, other_steps) in zip(mine, other, strict=True)
    )


def _refuse(task: str, how: str, sequence: FollowedSequence | None) -> NextStep:
    env = "this env by itself" if sequence is None else f"a sequence of {', '.join(sequence.task_names)}"
    ways = f"consolidate(env, task={task!r}) with an env of it" if task != BY_HAND else 'consolidate(env, task="its name")'
    return NextStep(
        "refuse",
        reason=f"{task} {how}, and the env is {env}. Call {ways} first, so that it is held and rehearsed, or abandon_task(), "
        "which does neither.",
    )


def beyond_the_end(sequence: FollowedSequence, steps: int, n_steps: int) -> str:
    """
    :param sequence: that is gone through
    :param steps: env steps of it that are taken
    :param n_steps: env steps to come, more than are left
    :return: what is done with these, in words
    """
    return (
        f"The sequence has {sum(sequence.segment_steps)} env steps, {steps} are taken, and {n_steps} are to come: what goes "
        f"beyond its end is learned on its last task, {sequence.segments[-1]}, which is consolidated again after it."
    )
