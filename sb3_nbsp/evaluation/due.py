"""Which evaluation is due, where a training begins, at each of its steps, and where it ends."""

from typing import Any

from sb3_nbsp.common.position import ended_segment
from sb3_nbsp.evaluation.results import Kind


def due(callback: Any, info: dict[str, Any]) -> Kind | None:
    """
    :param callback: the evaluation callback
    :param info: what the env told of a step, before the callback is called
    :return: the evaluation that the step brings, if any
    """
    if info["task_done"]:
        return "switch"
    freq, before, now = callback.eval_freq, callback._position, int(info["sequence_steps"])
    return "interval" if freq > 0 and now // freq > before // freq else None


def first_kind(callback: Any) -> Kind | None:
    """
    :param callback: the evaluation callback, once it is prepared
    :return: the evaluation that training begins with, if any
    """
    if getattr(callback.model, "goes_on_exactly", False):  # restore_checkpoint_state() brings the rows
        return None
    if _is_switch_without_row(callback):
        # What an earlier version's interrupted training left at this step would stand beside the switch's own row.
        callback.results.evaluations = [row for row in callback.results.evaluations if row.step != callback._position]
        return "switch"
    return None if has_evaluated(callback) else "start"


def last_kind(callback: Any) -> Kind:
    """
    :param callback: the evaluation callback, where training ends and was not evaluated yet
    :return: the evaluation that training ends with; a switch whose own was interrupted (Ctrl-C) is made up for
    """
    return "switch" if _is_switch_without_row(callback) else "end"


def has_evaluated(callback: Any) -> bool:
    """
    :param callback: the evaluation callback
    :return: whether it has evaluated where training stands
    """
    evaluations = callback.results.evaluations
    return bool(evaluations) and evaluations[-1].step == callback._position


def _is_switch_without_row(callback: Any) -> bool:
    """Whether a segment's last step was taken and not evaluated; the callback then stands in that segment."""
    segment = ended_segment(callback._sequence.segment_steps, callback._position, callback.training_env.num_envs)
    rows = callback.results.evaluations
    if segment is None or any(row.kind == "switch" and row.segment == segment for row in rows):
        return False
    callback._segment = segment
    return True
