"""The figures of a report."""

import math
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from sb3_nbsp.base.names import did_you_mean
from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.benchmark.comparison import LOWER_IS_BETTER, Comparison, MethodRuns, summary
from sb3_nbsp.benchmark.suite import slug
from sb3_nbsp.evaluation import plot_sequence
from sb3_nbsp.evaluation.comparison_plots import AxisPanel, Bar, plot_axis, plot_intervals
from sb3_nbsp.evaluation.method_styles import CEILINGS
from sb3_nbsp.evaluation.performance_kind import RETURN, SUCCESS
from sb3_nbsp.evaluation.score_plots import plot_score_histograms
from sb3_nbsp.evaluation.small_multiples import plot_curves, plot_matrices
from sb3_nbsp.evaluation.statistics import Estimate

MANY = 30  # figures, of which an error tells the kinds
CURVES_TOGETHER = 4  # more cannot be told apart at a glance
PANELS_PER_FIGURE = 16
AXIS_METRICS = ("asr", "fm")
INTERVAL_METRICS = ("asr", "fm", "fwt")  # in the tables there are more
NOT_IN_NAMES = r"[^\w.-]"  # of files: an argument's name may have come from somewhere else
# Kinds of figures, in the order of their file names: <kind>.png or <kind>-<which>.png
KINDS = ("intervals", "axis", "performance", "curves", "matrices", "scores")


def draw(
    comparison: Comparison, baselines: Sequence[str], folder: Path, note: str = "", only: Sequence[str] | None = None
) -> None:
    """
    Draw ``intervals.png``, ``axis-<argument>.png`` where there is one, ``performance.png`` (the baselines and the best of the
    others), ``curves-1.png`` (not of returns) and ``matrices-1.png``, ... (all methods), and ``scores-01-<method>.png``, ...
    where runs kept the scores of their neurons.

    :param comparison: all methods on one sequence
    :param baselines: methods that stand in every figure
    :param folder: where to, named after the sequence; figures of an earlier report are deleted
    :param note: below figures of metrics
    :param only: patterns of what to draw, as FOLDER/NAME, e.g. ``*/intervals``; default: everything
    """
    for old in [path for kind in KINDS for path in folder.glob(f"{kind}*.png")]:
        old.unlink()
    for name, figure in _figures(comparison, baselines, note).items():
        if only is None or any(fnmatchcase(f"{folder.name}/{name}", pattern) for pattern in only):
            path = folder / f"{name}.png"
            with may_fail(path, "The report goes on without it."):
                figure(path)


def check_figures(comparisons: Sequence[Comparison], baselines: Sequence[str], patterns: Sequence[str]) -> None:
    """
    :param comparisons: all sequences of a report
    :param baselines: methods that stand in every figure
    :param patterns: of what shall be drawn, see :func:`draw`
    :raises ValueError: if one of them fits no figure
    """
    if not patterns:
        return
    known = [f"{slug(one.sequence)}/{name}" for one in comparisons for name in _figures(one, baselines, "")]
    if unknown := [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in known)]:
        shown = known
        if len(known) > MANY:
            kinds = [f"*/{kind}*" for kind in KINDS]
            shown = [kind for kind in kinds if any(fnmatchcase(name, kind) for name in known)]
        hint = did_you_mean(unknown[0], known)
        raise ValueError(f"Expected figures among {', '.join(shown)} (* stands for anything), got {unknown}. {hint}".rstrip())


def _figures(comparison: Comparison, baselines: Sequence[str], note: str) -> dict[str, Callable[[Path], None]]:
    """What draws each figure, by the figure's name."""
    figures: dict[str, Callable[[Path], None]] = {"intervals": partial(_draw_intervals, comparison, baselines, note)}
    for argument in dict.fromkeys(method.axis[0] for method in comparison.methods if method.axis):
        figures[f"axis-{re.sub(NOT_IN_NAMES, '-', argument)}"] = partial(_draw_axis, comparison, argument, baselines, note)
    together = most_telling(comparison.methods, baselines)
    figures["performance"] = partial(plot_sequence, [(method.name, method.curves) for method in together])
    for index, methods in enumerate(_portions(comparison.methods)):
        if len(comparison.methods) > len(together) and comparison.first.measure != RETURN:  # which has no common scale
            figures[f"curves-{index + 1}"] = partial(plot_curves, [(method.name, method.curves) for method in methods])
        figures[f"matrices-{index + 1}"] = partial(plot_matrices, [(method.name, method.judged) for method in methods])
    for index, method in enumerate(comparison.methods):
        runs = [skills for skills in method.skill_neurons if any(skill.layers for skill in skills.values())]
        if runs:
            drawn = partial(plot_score_histograms, runs, title=method.name)
            figures[f"scores-{index + 1:02}-{slug(method.name)}"] = drawn
    return figures


def most_telling(methods: Sequence[MethodRuns], baselines: Sequence[str]) -> list[MethodRuns]:
    """
    :param methods: on one sequence
    :param baselines: names of those that others are compared with
    :return: a few whose curves can be told apart: baselines, and the best of the others with one network for all tasks; in the
        order of ``methods``
    """
    fixed = [method for method in methods if method.name in baselines][: CURVES_TOGETHER - 1]
    rivals = [method for method in methods if method not in fixed and method.name not in CEILINGS]
    others = _best_first(rivals)[: CURVES_TOGETHER - len(fixed)]
    return [method for method in methods if method in fixed or method in others]


def _best_first(methods: Sequence[MethodRuns]) -> list[MethodRuns]:
    def key(method: MethodRuns) -> float:
        value = _mean(method, "asr").value
        return math.inf if math.isnan(value) else -value

    return sorted(methods, key=key)


def _draw_intervals(comparison: Comparison, baselines: Sequence[str], note: str, path: Path) -> None:
    labels, methods = comparison.labels(), _best_first(comparison.methods)
    panels = {
        f"{labels[metric]} ({'lower' if metric in LOWER_IS_BETTER else 'higher'} is better)": {
            method.name: Bar(_mean(method, metric), method.values(metric)) for method in methods
        }
        for metric in INTERVAL_METRICS
    }
    present = [name for name in baselines if comparison.method(name) is not None]
    marked = "bold, dotted line at the mean: what others are compared with" if present else ""
    notes = filter(None, (f"sorted by {labels['asr']}", marked, note))
    plot_intervals(panels, path, present, "; ".join(notes), _are_shares(comparison))


def _draw_axis(comparison: Comparison, argument: str, baselines: Sequence[str], note: str, path: Path) -> None:
    labels = comparison.labels()
    curves: dict[str, dict[Any, MethodRuns]] = {}
    for method in comparison.methods:
        if method.axis and method.axis[0] == argument:
            curves.setdefault(method.family, {})[method.axis[1]] = method
    named = [comparison.method(name) for name in baselines]
    lines = [method for method in named if method is not None and method.family not in curves]
    panels = [
        AxisPanel(
            f"{labels[metric]} ({'lower' if metric in LOWER_IS_BETTER else 'higher'} is better)",
            {family: {value: _mean(method, metric) for value, method in curve.items()} for family, curve in curves.items()},
            {method.name: _mean(method, metric) for method in lines},
        )
        for metric in AXIS_METRICS
    ]
    words = {"memory_size": "transitions, for cloning observations,\nkept of each earlier task (memory_size)"}
    plot_axis(panels, words.get(argument, argument), path, note, _are_shares(comparison))


def _are_shares(comparison: Comparison) -> bool:
    return comparison.first.measure == SUCCESS


def _mean(method: MethodRuns, metric: str) -> Estimate:
    return summary([method], metric)["mean"]


def _portions(methods: Sequence[MethodRuns]) -> list[Sequence[MethodRuns]]:
    """Parts of nearly equal size."""
    n_parts = -(-len(methods) // PANELS_PER_FIGURE)
    size = -(-len(methods) // n_parts)
    return [methods[start : start + size] for start in range(0, len(methods), size)]
