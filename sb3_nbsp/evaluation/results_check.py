"""What the numbers of a run's results must be, so that a damaged file is told from a bad agent."""

from math import inf
from typing import Any

from sb3_nbsp.base.arguments import AtLeast, Interval, Whole

STEP, SHARE, NUMBER, LENGTH = Whole(0, "env steps"), Interval(0, 1), AtLeast(-inf), Whole(1, "env steps")


def check_results(results: Any) -> None:
    """
    :param results: a :class:`~sb3_nbsp.evaluation.results.SequenceResults`
    :raises ValueError: names the first entry that no run can have written
    """
    names, segments, steps = results.task_names, results.segments, results.segment_steps
    for name, values in (("task_names", names), ("segments", segments), ("segment_steps", steps)):
        if not isinstance(values, tuple):  # a text would be its letters
            raise ValueError(f"{name} must be a tuple; got {values!r}")
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names) or not names:
        raise ValueError(f"task_names must be different names; got {list(names)!r}")
    if not set(segments) <= set(names) or not segments:
        raise ValueError(f"segments must be names of tasks ({', '.join(names)}); got {list(segments)!r}")
    if len(steps) != len(segments) or not all(LENGTH.allows(n) for n in steps):
        raise ValueError(f"segment_steps must be {LENGTH} for each of {len(segments)} segments; got {list(steps)!r}")
    for name, kind in (("settings", dict), ("versions", dict), ("finished", bool), ("seed", int | None)):
        if not isinstance(getattr(results, name), kind):
            raise ValueError(f"{name} has the wrong type: {getattr(results, name)!r}")
    if not isinstance(results.evaluations, list):
        raise ValueError(f"evaluations must be a list; got {results.evaluations!r}")
    for i, evaluation in enumerate(results.evaluations):
        _check_evaluation(f"evaluation {i}", evaluation, names, len(segments))
    taken = [evaluation.step for evaluation in results.evaluations]
    if taken != sorted(taken):
        raise ValueError(f"evaluations must be in the order of their steps; got {taken}")


def _check_evaluation(where: str, evaluation: Any, names: Any, n_segments: int) -> None:
    if not all(hasattr(evaluation, name) for name in ("step", "segment", "kind", "success", "mean_return")):
        raise ValueError(f"{where} must be an Evaluation; got {evaluation!r}")
    if not STEP.allows(evaluation.step):
        raise ValueError(f"step of {where} must be {STEP}; got {evaluation.step!r}")
    if not Whole(0, "segments", n_segments - 1).allows(evaluation.segment):
        raise ValueError(f"segment of {where} must be one of {n_segments}, counted from 0; got {evaluation.segment!r}")
    if set(evaluation.success) != set(evaluation.mean_return) or not set(evaluation.success) <= set(names):
        got = f"{list(evaluation.success)!r} and {list(evaluation.mean_return)!r}"
        raise ValueError(f"success and mean_return of {where} must be of the same tasks among {', '.join(names)}; got {got}")
    for task, value in evaluation.success.items():
        if value is not None and not SHARE.allows(value):
            raise ValueError(f"success of {where} on {task!r} must be null or {SHARE}; got {value!r}")
    for task, value in evaluation.mean_return.items():
        if not NUMBER.allows(value) and value == value:  # NaN: not known
            raise ValueError(f"mean_return of {where} on {task!r} must be null or {NUMBER}; got {value!r}")
