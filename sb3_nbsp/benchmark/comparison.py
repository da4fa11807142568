"""The numbers of a report: runs by sequence and method, and estimates over them."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from sb3_nbsp.benchmark.find_runs import Run
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.judged_by_copies import judged_by_copies
from sb3_nbsp.evaluation.last_evaluations import average_last, segment_evaluations
from sb3_nbsp.evaluation.statistics import Estimate, estimate, improvement, iqm, mean
from sb3_nbsp.evaluation.table import check_one_measure, first_evaluated
from sb3_nbsp.neurons.skill_neurons import SkillNeurons

METRICS = ("asr", "asr_without_last", "fm", "fwt")
CW_METRICS = ("cw_performance", "cw_forgetting", "cw_forward_transfer")  # Continual World's: of single evaluations
LOWER_IS_BETTER = ("fm",)
WHICH_TASKS = ("tasks", "order", "steps_per_task", "cycles")  # arguments of sequences


@dataclass(frozen=True)
class MethodRuns:
    """
    The runs of one method on one sequence.

    :param name: as tables show it
    :param family: name that methods along an axis share
    :param axis: the argument that tells the method from its family, and its value
    :param curves: the runs
    :param judged: the runs with the mean of the last evaluations in place of each segment's last one; of copies each task
        keeps the mean at its last visit's end
    :param skill_neurons: of each run, by task; empty for runs that kept none
    :param baseline_auc: what Continual World's forward transfer compares with, see :meth:`SequenceResults.metrics`
    """

    name: str
    family: str
    axis: tuple[str, Any] | None
    curves: list[SequenceResults]
    judged: list[SequenceResults]
    skill_neurons: list[dict[str, SkillNeurons]] = field(default_factory=list, repr=False)
    baseline_auc: Mapping[str, float] | None = None

    def values(self, metric: str) -> list[float]:
        """
        :param metric: one of ``METRICS`` or ``CW_METRICS``, or the name of a task for its performance at the end
        :return: one value per run
        """
        if metric in METRICS:
            return [values[metric] for values in self._metrics]
        if metric in CW_METRICS:
            return [values[metric] for values in self._cw_metrics]
        return [float(run.matrix()[-1, run.task_names.index(metric)]) for run in self.judged]

    @cached_property
    def _metrics(self) -> list[dict[str, float]]:
        return [asdict(run.metrics()) for run in self.judged]

    @cached_property
    def _cw_metrics(self) -> list[dict[str, float]]:
        return [asdict(run.metrics(self.baseline_auc)) for run in self.curves]


@dataclass(frozen=True)
class Comparison:
    """
    All methods on one sequence.

    :param sequence: its name, as the report shows it
    :param methods: in the report's order
    :param last: number of evaluations of which a segment is judged by the mean
    :param env_settings: arguments of its env but those that say which tasks, how long and how often
    :param n_evaluations: of segments, the fewest and the most that there are; ``None`` where none has ended
    """

    sequence: str
    methods: list[MethodRuns]
    last: int = 1
    env_settings: tuple[str, ...] = ()
    n_evaluations: tuple[int, int] | None = None

    @property
    def judged_by(self) -> str:
        """What a segment is judged by, in words; empty for its last evaluation."""
        if self.last == 1:
            return ""
        text = f"each segment is judged by the mean of its last {self.last} evaluations"
        fewest, most = self.n_evaluations or (self.last, self.last)
        if fewest >= self.last:
            return text
        return f"{text}, of which {f'it has {fewest} only' if fewest == most else f'some have fewer, from {fewest} on'}"

    @property
    def first(self) -> SequenceResults:
        """A run, which was evaluated if any was: what is true of the sequence stands in all."""
        return first_evaluated([(method.name, method.curves) for method in self.methods])

    def method(self, name: str) -> MethodRuns | None:
        """The method of that name, if it was trained on this sequence."""
        return next((method for method in self.methods if method.name == name), None)

    def labels(self) -> dict[str, str]:
        """What tables call the metrics, and the performance on each task at the end."""
        measure = self.first.measure
        averages = {"asr": measure.average, "asr_without_last": measure.average_without_last, "fm": "FM", "fwt": "FWT"}
        return {**averages, **{task: f"{measure.name} on {task}" for task in self.first.task_names}}


def group(runs: Iterable[Run], last: int | None = None) -> list[Comparison]:
    """
    :param runs: finished runs, methods in the order wanted
    :param last: number of evaluations that are averaged; default: what the suite of each sequence says
    :return: the same by sequence and method
    :raises ValueError: if runs on one sequence are in different measures, so that they have no common mean
    """
    grouped: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        grouped.setdefault(run.sequence, {}).setdefault(run.method, []).append(run)
    return [_comparison(sequence, list(methods.values()), last) for sequence, methods in grouped.items()]


def _comparison(sequence: str, methods: Sequence[Sequence[Run]], last: int | None) -> Comparison:
    check_one_measure([(runs[0].method, [run.results for run in runs]) for runs in methods])
    last = last or max(run.last_evaluations for runs in methods for run in runs)
    numbers = [number for runs in methods for run in runs for number in segment_evaluations(run.results)]
    n_evaluations = (min(numbers), max(numbers)) if numbers else None
    env_settings = _env_settings(methods[0][0])
    comparison = Comparison(sequence, [_method(runs, last) for runs in methods], last, env_settings, n_evaluations)
    if numbers and min(numbers) < last:
        warnings.warn(
            f"On {sequence!r} {comparison.judged_by}: all that there are count. Ask for fewer (--last, last_evaluations), or "
            "evaluate more often (eval_freq).",
            stacklevel=4,
        )
    return comparison


def _env_settings(run: Run) -> tuple[str, ...]:
    arguments = list(run.manifest.get("arguments", ()))
    if "--env-kwargs" not in arguments:
        return ()
    given = takewhile(lambda word: not word.startswith("-"), arguments[arguments.index("--env-kwargs") + 1 :])
    return tuple(sorted(word for word in given if word.partition(":")[0] not in WHICH_TASKS))


def _method(runs: Sequence[Run], last: int) -> MethodRuns:
    first, curves = runs[0], [run.results for run in runs]
    judged = [average_last(run, last) for run in curves]
    # After the mean: a copy has what its task had, and loses nothing.
    curves, judged = ([_as_copied(*of) for of in zip(runs, part, strict=True)] for part in (curves, judged))
    skills = [run.record.skill_neurons() for run in runs]
    return MethodRuns(first.method, first.family, first.axis, curves, judged, skills)


def _as_copied(run: Run, results: SequenceResults) -> SequenceResults:
    return results if run.copies_of is None else judged_by_copies(results)


def summary(methods: Sequence[MethodRuns], metric: str) -> dict[str, Estimate]:
    """
    :param methods: one method on one or several sequences
    :param metric: see :meth:`MethodRuns.values`
    :return: ``mean`` and ``iqm`` over the runs, stratified by sequence
    """
    strata = [method.values(metric) for method in methods]
    return {"mean": estimate(strata, mean), "iqm": estimate(strata, iqm)}


def improvement_over(methods: Sequence[MethodRuns], baselines: Sequence[MethodRuns], metric: str) -> Estimate:
    """
    :param methods: one method on one or several sequences
    :param baselines: another one on the same
    :param metric: see :meth:`MethodRuns.values`
    :return: probability that a run of the method is better than one of the baseline, a tie counting one half
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    strata = [[sign * value for value in method.values(metric)] for method in (*methods, *baselines)]
    return estimate(strata, improvement)


def pooled(comparisons: Sequence[Comparison]) -> dict[str, list[MethodRuns]]:
    """
    :param comparisons: over several sequences
    :return: the methods that were trained on all of them, one entry per sequence, in the first one's order
    """
    names = [method.name for method in comparisons[0].methods]
    rows = {name: [comparison.method(name) for comparison in comparisons] for name in names}
    return {name: [method for method in row if method is not None] for name, row in rows.items() if None not in row}
