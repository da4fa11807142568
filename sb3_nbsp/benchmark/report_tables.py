"""The tables of a report, as Markdown and CSV."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sb3_nbsp.base.markdown import escaped, one_line
from sb3_nbsp.benchmark.comparison import CW_METRICS, METRICS, Comparison, MethodRuns, improvement_over, pooled, summary
from sb3_nbsp.evaluation.json_csv import write_csv
from sb3_nbsp.evaluation.statistics import Estimate
from sb3_nbsp.evaluation.table import NOTES, markdown_table

ALL = "all sequences"
CAPTIONS = {
    "intervals": "Mean, interval and single runs",
    "axis": "Along an argument",
    "performance": "Performance over env steps",
    "curves": "Performance over env steps, all methods",
    "matrices": "Performance after each segment",
    "scores": "Scores of the neurons",
}
FEW = 8  # methods, of which everything is shown unfolded


def sequence_section(comparison: Comparison, baselines: Sequence[str], pictures: dict[str, list[str]]) -> list[str]:
    """
    :param comparison: all methods on one sequence
    :param baselines: methods that others are compared with
    :param pictures: paths of the figures by their kind
    :return: paragraphs of Markdown
    """
    labels = comparison.labels()
    rows = {method.name: [method] for method in comparison.methods}
    note = NOTES[comparison.first.measure.name].strip(". ")
    at_end = _estimates(rows, {task: labels[task] for task in comparison.first.task_names}, "mean")
    images = {kind: _images(comparison.sequence, kind, pictures) for kind in CAPTIONS}
    few = len(rows) <= FEW
    return [
        f"## {escaped(comparison.sequence)}",
        f"{note}." if note else "",
        *images["intervals"],
        *_tables(rows, labels, baselines),
        *_folded("Performance on each task at the end of the sequence", [at_end], few),
        *images["axis"],
        *images["performance"],
        *_folded(CAPTIONS["curves"], images["curves"], few),
        *_folded(CAPTIONS["matrices"], images["matrices"], few),
        *_folded(CAPTIONS["scores"], images["scores"]),
    ]


def pooled_section(comparisons: Sequence[Comparison], baselines: Sequence[str]) -> list[str]:
    """
    :param comparisons: over several sequences
    :param baselines: methods that others are compared with
    :return: paragraphs of Markdown; none where performances cannot be averaged
    """
    rows = pooled(comparisons)
    if not rows or not _poolable(comparisons):
        return []
    text = f"Methods that were trained on each of {', '.join(escaped(comparison.sequence) for comparison in comparisons)}."
    return ["## All sequences together", text, *_tables(rows, comparisons[0].labels(), baselines)]


def write_csvs(comparisons: Sequence[Comparison], baselines: Sequence[str], out: Path) -> None:
    """
    Write ``runs.csv`` (a row per run and metric), ``summary.csv`` (per method and metric), ``improvement.csv`` (per method,
    baseline and metric) and ``continual_world.csv`` (as ``summary.csv``, Continual World's metrics).

    :param comparisons: the numbers
    :param baselines: methods that others are compared with
    :param out: folder
    """
    groups = [(comparison.sequence, {method.name: [method] for method in comparison.methods}) for comparison in comparisons]
    runs: list[tuple[Any, ...]] = [("sequence", "method", "family", "argument", "value", "seed", "metric", "performance")]
    for comparison in comparisons:
        for method in comparison.methods:
            for metric in (*METRICS, *comparison.first.task_names):
                told = (comparison.sequence, method.name, method.family, *(method.axis or ("", "")))
                values = zip(method.curves, method.values(metric), strict=True)
                runs += [(*told, run.seed, metric, value) for run, value in values]
    write_csv(out / "runs.csv", runs)
    if len(comparisons) > 1 and _poolable(comparisons):
        groups.append((ALL, pooled(comparisons)))
    for name, metrics in (("summary.csv", METRICS), ("continual_world.csv", CW_METRICS)):
        write_csv(out / name, [SUMMARY_HEADER, *(row for group in groups for row in _summary_rows(*group, metrics))])
    header = ("sequence", "method", "baseline", "metric", "probability", "low", "high")
    write_csv(out / "improvement.csv", [header, *(row for group in groups for row in _improvement_rows(*group, baselines))])


SUMMARY_HEADER = ("sequence", "method", "runs", "metric", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high")


def _summary_rows(sequence: str, rows: dict[str, list[MethodRuns]], metrics: Sequence[str]) -> list[tuple[Any, ...]]:
    result = []
    for name, methods in rows.items():
        tasks = methods[0].curves[0].task_names if metrics == METRICS and len(methods) == 1 else ()
        for metric in (*metrics, *tasks):
            estimates = summary(methods, metric)
            numbers = (number for key in ("mean", "iqm") for number in _numbers(estimates[key]))
            result.append((sequence, name, _n_runs(methods), metric, *numbers))
    return result


def _improvement_rows(sequence: str, rows: dict[str, list[MethodRuns]], baselines: Sequence[str]) -> list[tuple[Any, ...]]:
    return [
        (sequence, name, baseline, metric, *_numbers(improvement_over(methods, rows[baseline], metric)))
        for baseline in baselines
        if baseline in rows
        for name, methods in rows.items()
        if name != baseline
        for metric in METRICS
    ]


def _tables(rows: dict[str, list[MethodRuns]], labels: dict[str, str], baselines: Sequence[str]) -> list[str]:
    metrics = {metric: labels[metric] for metric in METRICS}
    few = len(rows) <= FEW
    parts = [_estimates(rows, metrics, "mean"), *_folded("Interquartile means", [_estimates(rows, metrics, "iqm")], few)]
    for baseline in baselines:
        if baseline in rows and len(rows) > 1:
            parts += _folded(f"P(better than {baseline})", [_improvements(rows, metrics, baseline)], few)
    return parts


def _folded(title: str, parts: Sequence[str], shown: bool = False) -> list[str]:
    """Paragraphs that GitHub and browsers fold up below their title; none where there are none."""
    opening = f"<details{' open' if shown else ''}><summary>{html.escape(one_line(title), quote=False)}</summary>"
    return [opening, *parts, "</details>"] if parts else []


def _estimates(rows: dict[str, list[MethodRuns]], metrics: dict[str, str], kind: str) -> str:
    cells = [
        [escaped(name), _n_runs(methods), *(str(summary(methods, metric)[kind]) for metric in metrics)]
        for name, methods in rows.items()
    ]
    return markdown_table(["method", "seeds", *map(escaped, metrics.values())], cells)


def _improvements(rows: dict[str, list[MethodRuns]], metrics: dict[str, str], baseline: str) -> str:
    cells = [
        [escaped(name), *(str(improvement_over(methods, rows[baseline], metric)) for metric in metrics)]
        for name, methods in rows.items()
        if name != baseline
    ]
    return markdown_table(["method", *(f"in {escaped(label)}" for label in metrics.values())], cells)


def _n_runs(methods: Sequence[MethodRuns]) -> str:
    """Number of seeds, for each sequence where they differ."""
    return " + ".join(dict.fromkeys(str(len(method.curves)) for method in methods))


def _poolable(comparisons: Sequence[Comparison]) -> bool:
    """Returns of different sequences have no common scale."""
    measures = {comparison.first.measure.name for comparison in comparisons}
    return len(measures) == 1 and measures != {"return"}


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _images(sequence: str, kind: str, pictures: dict[str, list[str]]) -> list[str]:
    return [f"![{CAPTIONS[kind]}: {escaped(sequence)}]({path})" for path in pictures.get(kind, [])]
