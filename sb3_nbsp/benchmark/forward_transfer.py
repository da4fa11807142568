"""Forward transfer: how well a task is learned in a sequence, beside the same task alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sb3_nbsp.base.markdown import escaped
from sb3_nbsp.benchmark.comparison import Comparison, MethodRuns
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.performance_kind import SUCCESS
from sb3_nbsp.evaluation.statistics import estimate
from sb3_nbsp.evaluation.table import markdown_table

Alone = Mapping[str, Sequence[float]]


def performance_alone(comparison: Comparison, comparisons: Sequence[Comparison], method: str) -> dict[str, list[float]]:
    """
    :param comparison: a sequence
    :param comparisons: all sequences of a report
    :param method: name of the method that trains each task alone, the references
    :return: by task of the sequence, performance at the end of each run of that method on a sequence of this one task, as long
        as the task's first segment and with the same arguments of the env (a reward's version, an action repeat); read in the
        sequence's measure, whatever the task alone would be read in, and left out where it is not known in that
    """
    alone = _alone(comparison, comparisons, method)
    values = {task: [_read_as(comparison.first, run, task) for run in runs.judged] for task, runs in alone.items()}
    return {task: found for task, found in values.items() if np.isfinite(found).all()}


def _alone(comparison: Comparison, comparisons: Sequence[Comparison], method: str) -> dict[str, MethodRuns]:
    run, found = comparison.first, {}
    steps = {task: run.segment_steps[run.segments.index(task)] for task in dict.fromkeys(run.segments)}
    for other in comparisons:
        alone, (task, *more) = other.method(method), other.first.segments
        alike = other.first.segment_steps[0] == steps.get(task) and other.env_settings == comparison.env_settings
        if alone is not None and not more and alike:
            found[task] = alone
    return found


def with_references(comparisons: Sequence[Comparison], references: Sequence[str]) -> list[Comparison]:
    """
    :param comparisons: all sequences of a report
    :param references: names of methods that train each task alone
    :return: the same; where success is told, and the first of these methods that trained all of a sequence's tasks, with what
        Continual World's forward transfer compares with: each task's mean area under the curve
    """
    return [_with_areas(one, [_areas(one, _alone(one, comparisons, name)) for name in references]) for one in comparisons]


def _areas(comparison: Comparison, alone: Mapping[str, MethodRuns]) -> dict[str, float]:
    metric = comparison.first.measure.name
    return {task: float(np.mean([run.auc(metric)[task] for run in runs.curves])) for task, runs in alone.items()}


def _with_areas(comparison: Comparison, candidates: Sequence[dict[str, float]]) -> Comparison:
    tasks = set(comparison.first.segments)
    whole = [areas for areas in candidates if tasks <= areas.keys() and np.isfinite(list(areas.values())).all()]
    if len(tasks) < 2 or not whole or comparison.first.measure != SUCCESS:
        return comparison
    return replace(comparison, methods=[replace(method, baseline_auc=whole[0]) for method in comparison.methods])


def _read_as(sequence: SequenceResults, alone: SequenceResults, task: str) -> float:
    """
    Performance at the end, in the measure of another run. A task that tells success is read in success when it is alone, but
    in returns beside one that tells none; and only there may reference scores of all tasks be known.
    """
    same_scale = replace(alone, reference_scores=sequence.reference_scores)
    return float(same_scale.matrix(sequence.measure.name)[-1, alone.task_names.index(task)])


def transfer(method: MethodRuns, alone: Alone) -> dict[str, list[float]]:
    """
    Performance right after a task's first segment minus the mean performance of runs that trained it alone: above 0 where
    earlier tasks helped, below where they were in the way.

    :param method: the runs of one method on one sequence
    :param alone: see :func:`performance_alone`, with every task of the sequence
    :return: by task, one value per run (success rate: -1 to 1)
    """
    found: dict[str, list[float]] = {}
    for run in method.judged:
        matrix = run.matrix()
        for task in dict.fromkeys(run.segments):
            value = matrix[run.segments.index(task), run.task_names.index(task)]
            found.setdefault(task, []).append(float(value - np.mean(alone[task])))
    return found


def transfer_section(comparison: Comparison, references: str, alone: Alone) -> list[str]:
    """
    :param comparison: all methods on one sequence
    :param references: name of the method that trains each task alone
    :param alone: see :func:`performance_alone`
    :return: paragraphs of Markdown: a table, or which references are missing; none for a single task
    """
    tasks = list(dict.fromkeys(comparison.first.segments))
    if len(tasks) < 2:
        return []
    if missing := [task for task in tasks if not alone.get(task)]:
        listed = ", ".join(map(escaped, missing))
        none = f"there is no finished run of *{escaped(references)}* on {listed} that is as long, in the same env and"
        return [f"Forward transfer is not told: {none} told in {comparison.first.measure.name}."]
    rows = [["*alone*", "", "", *(str(estimate([alone[task]])) for task in tasks)]]
    for method in comparison.methods:
        values = transfer(method, alone)
        average = estimate([np.mean(list(values.values()), axis=0)])  # over tasks, for each run
        cells = [str(estimate([values[task]])) for task in tasks]
        rows.append([escaped(method.name), str(len(method.judged)), str(average), *cells])
    text = (
        f"Forward transfer: {comparison.first.measure.name} right after a task's first segment, minus that of the same task "
        f"alone (the mean of *{escaped(references)}*, first row). Intervals are over the runs of the method; that mean "
        "counts as known."
    )
    return [text, markdown_table(["method", "seeds", "mean of all", *map(escaped, tasks)], rows)]
