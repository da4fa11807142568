"""Figures of many methods side by side: intervals, matrices, and performance along an axis such as the memory's size."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_nbsp.evaluation.measures import SUCCESS
from sb3_nbsp.evaluation.metrics import FloatArray
from sb3_nbsp.evaluation.plots import COLOURS, LINE_STYLES, MARKERS, SHADE, WIDTH, colour_limits, new_figure, save_figure
from sb3_nbsp.evaluation.records import SequenceResults
from sb3_nbsp.evaluation.statistics import Estimate
from sb3_nbsp.evaluation.table import LabelledRuns, check_comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATRICES_PER_ROW = 4
GREY = "#555555"


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
    :param highlighted: methods in another colour, with a line at their mean: baselines
    :param note: below the figure
    :param shares: show 0 to 1 in full
    """
    methods = list(next(iter(panels.values())))
    figure = new_figure(WIDTH + 1.5, 1.1 + 0.27 * len(methods))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, (title, bars) in zip(axes, panels.items(), strict=True):
        for row, name in enumerate(methods):
            _draw_bar(panel, row, bars[name], COLOURS[1] if name in highlighted else COLOURS[0], name in highlighted)
        panel.set_title(title, fontsize=9, fontweight="bold")
        panel.set_ylim(len(methods) - 0.5, -0.5)  # the first method on top
        if shares:
            panel.set_xlim(*_containing_shares(*panel.get_xlim()))
        _plain(panel)
        panel.grid(axis="x", color=SHADE, linewidth=0.8)
    axes[0].set_yticks(range(len(methods)), methods, fontsize=8)
    _write_below(figure, f"point and line: mean and its 95 % interval; dots: single runs{_more(note)}")
    save_figure(figure, path)


def _draw_bar(panel: "Axes", row: int, bar: Bar, colour: str, with_line: bool) -> None:
    rows = row + 0.32 * (np.arange(len(bar.values)) / max(len(bar.values) - 1, 1) - 0.5)  # equal values lie side by side
    panel.scatter(bar.values, rows, s=7, color=colour, alpha=0.35, linewidths=0, zorder=2)
    if np.isfinite(bar.estimate.low):
        panel.plot([bar.estimate.low, bar.estimate.high], [row, row], color=colour, linewidth=2.2, zorder=3)
    panel.plot([bar.estimate.value], [row], "o", color=colour, markersize=5, zorder=4)
    if with_line:
        panel.axvline(bar.estimate.value, color=colour, linewidth=0.8, linestyle=":", zorder=1)


def plot_matrices(results: LabelledRuns, path: str | os.PathLike[str]) -> None:
    """
    Draw the performance matrices (means over runs) of several methods as small heat maps with one scale.

    :param results: (label, runs with different seeds) for each method, all over the same sequence
    :param path: image file, replaced as a whole
    :raises ValueError: if there is nothing to draw or the runs are not over the same sequence
    """
    first = check_comparable(results)
    matrices = [np.mean([run.matrix() for run in runs], axis=0) for _, runs in results]
    n_columns = min(MATRICES_PER_ROW, len(results))
    n_rows = -(-len(results) // n_columns)
    shape = len(first.segments), len(first.task_names)
    figure = new_figure(1.6 + 2.0 * n_columns, 0.9 + n_rows * (0.45 + 0.24 * shape[0]))
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    limits = _common_limits(first, np.concatenate(matrices))
    image: Any = None
    for index, panel in enumerate(panels.flat):
        if index >= len(results):
            panel.set_axis_off()
            continue
        image = _draw_matrix(panel, matrices[index], first, limits)
        panel.set_title(textwrap.fill(results[index][0], 30), fontsize=8, pad=3)
        labels = [f"{k + 1}. {name}" for k, name in enumerate(first.segments)] if index % n_columns == 0 else [""] * shape[0]
        panel.set_yticks(range(shape[0]), labels, fontsize=7)
        names = first.task_names if index + n_columns >= len(results) else [""] * shape[1]
        panel.set_xticks(range(shape[1]), names, fontsize=7, **_tilt(first.task_names))
        panel.tick_params(length=0)
    bar = figure.colorbar(image, ax=panels, shrink=min(1.0, 2.0 / n_rows + 0.2), aspect=25)
    bar.ax.tick_params(labelsize=7)
    figure.supylabel("after training", fontsize=8)
    figure.supxlabel(f"{first.measure.title} on (outlined: the task just trained)", fontsize=8)
    save_figure(figure, path)


def _common_limits(first: SequenceResults, values: FloatArray) -> tuple[float, float]:
    low, high = colour_limits(first, values)
    if low is None or high is None:  # returns, in any unit
        return float(np.nanmin(values)), float(np.nanmax(values))
    return low, high


def _draw_matrix(panel: "Axes", matrix: Any, first: SequenceResults, limits: tuple[float, float]) -> Any:
    from matplotlib.patches import Rectangle

    image = panel.imshow(matrix, cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto")
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            bright = np.asarray(image.norm(np.array([value])))[0] >= 0.5
            text = f"{value:.2f}" if first.measure == SUCCESS else f"{value:.3g}"
            panel.text(column, row, text, ha="center", va="center", color="black" if bright else "white", fontsize=7)
    for row, column in enumerate(first.segment_indices):
        panel.add_patch(Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, edgecolor=COLOURS[1], linewidth=1.2))
    return image


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
    figure = new_figure(WIDTH, 3.9)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for index, (name, line) in enumerate(panel.lines.items()):
            _draw_line(axis, name, line, LINE_STYLES[1 + index % (len(LINE_STYLES) - 1)])
        for index, (family, curve) in enumerate(panel.curves.items()):
            shift = 0.12 * (index - (len(panel.curves) - 1) / 2)  # intervals stand side by side
            _draw_curve(axis, family, {values.index(value) + shift: estimate for value, estimate in curve.items()}, index)
        axis.set_xticks(range(len(values)), [f"{value:,}" if isinstance(value, int) else str(value) for value in values])
        axis.set_xlim(-0.4, len(values) - 0.6)
        if shares:
            axis.set_ylim(*_containing_shares(*axis.get_ylim()))
        axis.set_title(panel.title, fontsize=9, fontweight="bold")
        axis.set_xlabel(argument, fontsize=9)
        _plain(axis)
        axis.grid(axis="y", color=SHADE, linewidth=0.8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)), frameon=False, fontsize=8)
    _write_below(figure, f"mean and its 95 % interval; horizontal: without this argument{_more(note)}")
    save_figure(figure, path)


def _draw_curve(axis: "Axes", label: str, curve: Mapping[float, Estimate], index: int) -> None:
    points = sorted(curve.items())
    middle = np.array([estimate.value for _, estimate in points])
    reach = np.array([[estimate.value - estimate.low, estimate.high - estimate.value] for _, estimate in points]).T
    style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "markersize": 5}
    x = [position for position, _ in points]
    axis.errorbar(x, middle, yerr=np.nan_to_num(np.maximum(reach, 0)), label=label, capsize=3, linewidth=1.6, **style)


def _draw_line(axis: "Axes", label: str, line: Estimate, style: str) -> None:
    axis.axhline(line.value, color=GREY, linestyle=style, linewidth=1.4, label=label, zorder=1)
    if np.isfinite(line.low):
        axis.axhspan(line.low, line.high, color=GREY, alpha=0.10, linewidth=0, zorder=0)


def _plain(panel: "Axes") -> None:
    panel.tick_params(labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _tilt(names: Sequence[str]) -> dict[str, Any]:
    crowded = max(map(len, names)) * len(names) > 24
    return {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}


def _containing_shares(low: float, high: float) -> tuple[float, float]:
    """Small differences shall look small."""
    return min(low, -0.04), max(high, 1.04)


def _more(note: str) -> str:
    return f"; {note}" if note else ""


def _write_below(figure: "Figure", text: str) -> None:
    width = int(figure.get_figwidth() * 18)  # characters of this size
    figure.supxlabel(textwrap.fill(text, width), fontsize=8, color=GREY)
