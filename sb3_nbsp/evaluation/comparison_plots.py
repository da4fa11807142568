"""Figures of metrics of many methods: with intervals, and along an axis such as the memory's size."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_nbsp.evaluation.method_styles import Style, styles_of
from sb3_nbsp.evaluation.plots import (
    SHADE,
    WIDTH,
    new_figure,
    plain,
    save_figure,
    write_below,
)
from sb3_nbsp.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Bar:
    """
    One method in one panel of an interval plot.

    :param estimate: the mean and its interval
    :param values: what it is the mean of, one per run
    """

    estimate: Estimate
    values: Sequence[float]


@dataclass(frozen=True)
class AxisPanel:
    """
    One panel of a plot along an axis.

    :param title: name of the metric
    :param curves: by family, an estimate for each value of the axis
    :param lines: methods that have no such axis
    """

    title: str
    curves: Mapping[str, Mapping[Any, Estimate]]
    lines: Mapping[str, Estimate] = field(default_factory=dict)


def plot_intervals(
    panels: Mapping[str, Mapping[str, Bar]],
    path: str | os.PathLike[str],
    highlighted: Sequence[str] = (),
    note: str = "",
    shares: bool = False,
) -> None:
    """
    Draw mean, interval and single runs, one row per method and one panel per metric.

    :param panels: by title, a bar for each method; the same methods everywhere
    :param path: image file, replaced as a whole
    :param highlighted: methods in bold, with a line at their mean: baselines
    :param note: below the figure
    :param shares: show 0 to 1 in full
    """
    methods = list(next(iter(panels.values())))
    styles = styles_of(methods)
    figure = new_figure(WIDTH, 1.2 + 0.25 * len(methods))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, (title, bars) in zip(axes, panels.items(), strict=True):
        for row, name in enumerate(methods):
            if row % 2:  # a shade leads the eye from the name to the last panel
                panel.axhspan(row - 0.5, row + 0.5, color="#F6F6F6", zorder=0)
            _draw_bar(panel, row, bars[name], styles[name].colour, name in highlighted)
        panel.set_title(title.replace(" (", "\n("), fontsize=9, fontweight="bold")
        panel.set_ylim(len(methods) - 0.5, -0.5)  # the first method on top
        if shares:
            panel.set_xlim(*_containing_shares(*panel.get_xlim()))
        plain(panel)
        panel.locator_params(axis="x", nbins=4)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", color=SHADE, linewidth=0.8)
    axes[0].set_yticks(range(len(methods)), methods, fontsize=9)
    for label in axes[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in highlighted else "normal")
    write_below(figure, f"point and line: mean and its 95 % interval; dots: single runs{_more(note)}")
    save_figure(figure, path)


def _draw_bar(panel: "Axes", row: int, bar: Bar, colour: str, with_line: bool) -> None:
    rows = row + 0.32 * (np.arange(len(bar.values)) / max(len(bar.values) - 1, 1) - 0.5)  # equal values lie side by side
    panel.scatter(bar.values, rows, s=7, color=colour, alpha=0.35, linewidths=0, zorder=2)
    if np.isfinite(bar.estimate.low):
        panel.plot([bar.estimate.low, bar.estimate.high], [row, row], color=colour, linewidth=2.2, zorder=3)
    panel.plot([bar.estimate.value], [row], "o", color=colour, markersize=5, zorder=4)
    if with_line:
        panel.axvline(bar.estimate.value, color=colour, linewidth=1.0, linestyle=":", zorder=1)


def plot_axis(
    panels: Sequence[AxisPanel], argument: str, path: str | os.PathLike[str], note: str = "", shares: bool = False
) -> None:
    """
    Draw metrics over the values of an argument, one curve per family; methods without it are horizontal lines.

    :param panels: one per metric, with the same families and lines
    :param argument: what the axis is, in words
    :param path: image file, replaced as a whole
    :param note: below the figure
    :param shares: show 0 to 1 in full
    """
    given = {value for panel in panels for curve in panel.curves.values() for value in curve}
    values = sorted(given, key=lambda value: (isinstance(value, str), value))
    styles = styles_of(name for panel in panels for name in (*panel.curves, *panel.lines))
    figure = new_figure(WIDTH, 4.1)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for index, (name, line) in enumerate(panel.lines.items()):
            _draw_line(axis, name, line, styles[name], ("--", "-.", ":")[index % 3])
        for family, curve in panel.curves.items():
            points = {_place(panel, family, value, values): estimate for value, estimate in curve.items()}
            _draw_curve(axis, family, points, styles[family])
        axis.set_xticks(range(len(values)), [f"{value:,}" if isinstance(value, int) else str(value) for value in values])
        axis.set_xlim(-0.4, len(values) - 0.6)
        if shares:
            axis.set_ylim(*_containing_shares(*axis.get_ylim()))
        axis.set_title(panel.title, fontsize=9, fontweight="bold")
        axis.set_xlabel(argument, fontsize=9)
        plain(axis)
        axis.grid(axis="y", color=SHADE, linewidth=0.8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)), frameon=False, fontsize=9)
    write_below(figure, f"mean and its 95 % interval; dashed: a method without this setting{_more(note)}")
    save_figure(figure, path)


def _place(panel: AxisPanel, family: str, value: Any, values: Sequence[Any]) -> float:
    """Where a family's point stands: those of one value side by side, their middle at the value."""
    there = [name for name, curve in panel.curves.items() if value in curve]
    return values.index(value) + 0.1 * (there.index(family) - (len(there) - 1) / 2)


def _draw_curve(axis: "Axes", label: str, curve: Mapping[float, Estimate], style: Style) -> None:
    points = sorted(curve.items())
    middle = np.array([estimate.value for _, estimate in points])
    reach = np.array([[estimate.value - estimate.low, estimate.high - estimate.value] for _, estimate in points]).T
    drawn: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 5, "linestyle": style.line}
    x = [position for position, _ in points]
    axis.errorbar(x, middle, yerr=np.maximum(reach, 0), label=label, capsize=3, linewidth=1.6, **drawn)


def _draw_line(axis: "Axes", label: str, line: Estimate, style: Style, dashes: str) -> None:
    axis.axhline(line.value, color=style.colour, linestyle=dashes, linewidth=1.4, label=label, zorder=1)
    if np.isfinite(line.low):
        axis.axhspan(line.low, line.high, color=style.colour, alpha=0.10, linewidth=0, zorder=0)


def _containing_shares(low: float, high: float) -> tuple[float, float]:
    """Small differences shall look small; a margin, so that nothing is cut off at an edge."""
    low, high = min(low, 0.0), max(high, 1.0)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _more(note: str) -> str:
    return f"; {note}" if note else ""
