"""The numbers of a report: runs by sequence and method, and estimates over them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from sb3_nbsp.benchmark.find_runs import Run
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.last_evaluations import average_last
from sb3_nbsp.evaluation.statistics import Estimate, estimate, improvement, iqm, mean
from sb3_nbsp.evaluation.table import check_one_measure, first_evaluated
from sb3_nbsp.neurons.skill_neurons import SkillNeurons

METRICS = ("asr", "asr_without_last", "fm", "fwt")
LOWER_IS_BETTER = ("fm",)
WHICH_TASKS = ("tasks", "order", "steps_per_task", "cycles")  # arguments of sequences


@dataclass(frozen=True)
class Method:
    """
    The runs of one method on one sequence.

    :param name: as tables show it
    :param family: name that methods along an axis share
    :param axis: the argument that tells the method from its family, and its value
    :param curves: the runs
    :param judged: the runs with the mean of the last evaluations in place of each segment's last one
    :param skill_neurons: of each run, by task; empty for runs that kept none
    """

    name: str
    family: str
    axis: tuple[str, Any] | None
    curves: list[SequenceResults]
    judged: list[SequenceResults]
    skill_neurons: list[dict[str, SkillNeurons]] = field(default_factory=list, repr=False)

    def values(self, metric: str) -> list[float]:
        """
        :param metric: one of ``METRICS``, or the name of a task for its performance at the end
        :return: one value per run
        """
        if metric in METRICS:
            return [values[metric] for values in self._metrics]
        return [float(run.matrix()[-1, run.task_names.index(metric)]) for run in self.judged]

    @cached_property
    def _metrics(self) -> list[dict[str, float]]:
        return [asdict(run.metrics()) for run in self.judged]


@dataclass(frozen=True)
class Comparison:
    """
    All methods on one sequence.

    :param sequence: its name, as the report shows it
    :param methods: in the report's order
    :param env_settings: arguments of its env but those that say which tasks, how long and how often
    """

    sequence: str
    methods: list[Method]
    env_settings: tuple[str, ...] = ()

    @property
    def first(self) -> SequenceResults:
        """A run, which was evaluated if any was: what is true of the sequence stands in all."""
        return first_evaluated([(method.name, method.curves) for method in self.methods])

    def method(self, name: str) -> Method | None:
        """The method of that name, if it was trained on this sequence."""
        return next((method for method in self.methods if method.name == name), None)

    def labels(self) -> dict[str, str]:
        """What tables call the metrics, and the performance on each task at the end."""
        measure = self.first.measure
        averages = {"asr": measure.average, "asr_without_last": measure.average_without_last, "fm": "FM", "fwt": "FWT"}
        return {**averages, **{task: f"{measure.name} on {task}" for task in self.first.task_names}}


def group(runs: Iterable[Run], last: int) -> list[Comparison]:
    """
    :param runs: finished runs, methods in the order wanted
    :param last: number of evaluations that are averaged
    :return: the same by sequence and method
    :raises ValueError: if runs on one sequence are in different measures, so that they have no common mean
    """
    grouped: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        grouped.setdefault(run.sequence, {}).setdefault(run.method, []).append(run)
    for methods in grouped.values():
        check_one_measure([(name, [run.results for run in group]) for name, group in methods.items()])
    return [
        Comparison(name, [_method(group, last) for group in methods.values()], _env_settings(next(iter(methods.values()))[0]))
        for name, methods in grouped.items()
    ]


def _env_settings(run: Run) -> tuple[str, ...]:
    arguments = list(run.manifest.get("arguments", ()))
    if "--env-kwargs" not in arguments:
        return ()
    given = takewhile(lambda word: not word.startswith("-"), arguments[arguments.index("--env-kwargs") + 1 :])
    return tuple(sorted(word for word in given if word.partition(":")[0] not in WHICH_TASKS))


def _method(runs: Sequence[Run], last: int) -> Method:
    first, curves = runs[0], [run.results for run in runs]
    judged, skills = [average_last(run, last) for run in curves], [run.record.skill_neurons() for run in runs]
    return Method(first.method, first.family, first.axis, curves, judged, skills)


def summary(methods: Sequence[Method], metric: str) -> dict[str, Estimate]:
    """
    :param methods: one method on one or several sequences
    :param metric: see :meth:`Method.values`
    :return: ``mean`` and ``iqm`` over the runs, stratified by sequence
    """
    strata = [method.values(metric) for method in methods]
    return {"mean": estimate(strata, mean), "iqm": estimate(strata, iqm)}


def improvement_over(methods: Sequence[Method], baselines: Sequence[Method], metric: str) -> Estimate:
    """
    :param methods: one method on one or several sequences
    :param baselines: another one on the same
    :param metric: see :meth:`Method.values`
    :return: probability that a run of the method is better than one of the baseline, a tie counting one half
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    strata = [[sign * value for value in method.values(metric)] for method in (*methods, *baselines)]
    return estimate(strata, improvement)


def pooled(comparisons: Sequence[Comparison]) -> dict[str, list[Method]]:
    """
    :param comparisons: over several sequences
    :return: the methods that were trained on all of them, one entry per sequence, in the first one's order
    """
    names = [method.name for method in comparisons[0].methods]
    rows = {name: [comparison.method(name) for comparison in comparisons] for name in names}
    return {name: [method for method in row if method is not None] for name, row in rows.items() if None not in row}
