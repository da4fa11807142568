"""The figures of a report."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.comparison import LOWER_IS_BETTER, METRICS, Comparison, Method, summary
from sb3_nbsp.evaluation import plot_sequence
from sb3_nbsp.evaluation.comparison_plots import AxisPanel, Bar, plot_axis, plot_intervals, plot_matrices
from sb3_nbsp.evaluation.measures import SUCCESS
from sb3_nbsp.evaluation.statistics import Estimate

CURVES_PER_FIGURE = 6
LEGEND_CHARACTERS = 22  # in a line, of which four stand side by side
AXIS_METRICS = ("asr", "fm")


def draw(comparison: Comparison, baselines: Sequence[str], folder: Path, note: str = "") -> None:
    """
    Draw ``intervals.png``, ``matrices.png``, ``performance-1.png``, ... and ``axis-<argument>.png`` where there is one.

    :param comparison: all methods on one sequence
    :param baselines: methods that stand in every figure
    :param folder: where to; figures of an earlier report are deleted
    :param note: below figures of metrics
    """
    for old in folder.glob("*.png"):
        old.unlink()
    _draw_intervals(comparison, baselines, folder / "intervals.png", note)
    plot_matrices([(method.name, method.judged) for method in comparison.methods], folder / "matrices.png")
    for index, chosen in enumerate(_portions(comparison.methods, baselines)):
        labelled = [(textwrap.fill(method.name, LEGEND_CHARACTERS), method.curves) for method in chosen]
        plot_sequence(labelled, folder / f"performance-{index + 1:02}.png")
    for argument in dict.fromkeys(method.axis[0] for method in comparison.methods if method.axis):
        _draw_axis(comparison, argument, baselines, folder / f"axis-{argument}.png", note)


def _draw_intervals(comparison: Comparison, baselines: Sequence[str], path: Path, note: str) -> None:
    labels = comparison.labels()
    panels = {
        f"{labels[metric]} ({'lower' if metric in LOWER_IS_BETTER else 'higher'} is better)": {
            method.name: Bar(summary([method], metric)["mean"], method.values(metric)) for method in comparison.methods
        }
        for metric in METRICS
    }
    present = [name for name in baselines if comparison.method(name) is not None]
    marked = "orange: what others are compared with" if present else ""
    plot_intervals(panels, path, present, "; ".join(filter(None, (marked, note))), _are_shares(comparison))


def _draw_axis(comparison: Comparison, argument: str, baselines: Sequence[str], path: Path, note: str) -> None:
    labels = comparison.labels()
    curves: dict[str, dict[Any, Method]] = {}
    for method in comparison.methods:
        if method.axis and method.axis[0] == argument:
            curves.setdefault(method.family, {})[method.axis[1]] = method
    named = [comparison.method(name) for name in baselines]
    lines = [method for method in named if method is not None and method.family not in curves]
    panels = [
        AxisPanel(
            labels[metric],
            {family: {value: _mean(method, metric) for value, method in curve.items()} for family, curve in curves.items()},
            {method.name: _mean(method, metric) for method in lines},
        )
        for metric in AXIS_METRICS
    ]
    words = {"memory_size": "old samples kept per task (memory_size)"}
    plot_axis(panels, words.get(argument, argument), path, note, _are_shares(comparison))


def _are_shares(comparison: Comparison) -> bool:
    return comparison.first.measure == SUCCESS


def _mean(method: Method, metric: str) -> Estimate:
    return summary([method], metric)["mean"]


def _portions(methods: Sequence[Method], baselines: Sequence[str]) -> list[list[Method]]:
    """A few methods at a time, beside the baselines: more curves cannot be told apart."""
    fixed = [method for method in methods if method.name in baselines][: CURVES_PER_FIGURE - 1]
    others = [method for method in methods if method not in fixed]
    size = CURVES_PER_FIGURE - len(fixed)
    return [fixed + others[start : start + size] for start in range(0, len(others), size)] or [fixed]
