"""Many methods as small panels side by side: performance matrices, and learning curves."""

import os
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_nbsp.evaluation.common_curves import Curves, common_curves, warn_of_left_out
from sb3_nbsp.evaluation.method_styles import COLOURS, TASK_COLOURS
from sb3_nbsp.evaluation.metric_arguments import FloatArray
from sb3_nbsp.evaluation.performance_kind import RETURN, SUCCESS
from sb3_nbsp.evaluation.plots import (
    SHADE,
    WIDTH,
    balanced,
    colour_limits,
    new_figure,
    plain,
    save_figure,
    seeds_in_words,
    write_below,
)
from sb3_nbsp.evaluation.results import SequenceResults
from sb3_nbsp.evaluation.table import LabelledRuns, check_comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_ROW = 3
TITLE_CHARACTERS = 32  # in a line above a panel
NAME_CHARACTERS = 16  # of a task beside a panel


def plot_matrices(results: LabelledRuns, path: str | os.PathLike[str]) -> None:
    """
    Draw the performance matrices (means over runs) of several methods as small heat maps with one scale.

    :param results: (label, runs with different seeds) for each method, all over the same sequence
    :param path: image file, replaced as a whole
    :raises ValueError: if there is nothing to draw or the runs are not over the same sequence
    """
    first = check_comparable(results)
    matrices = [np.mean([run.matrix() for run in runs], axis=0) for _, runs in results]
    columns, rows = ([_short(name) for name in names] for names in (first.task_names, first.segments))
    longest = max(map(len, columns))
    across = _columns(len(results))
    upright = longest * len(columns) > 84 // across  # characters in a line of the figure
    figure, panels = _grid(results, 0.28 * len(rows), 0.5 + (0.075 * longest if upright else 0))
    limits = _common_limits(first, np.concatenate(matrices))
    image: Any = None
    for index, (panel, matrix) in enumerate(zip(panels, matrices, strict=True)):
        image = _draw_matrix(panel, matrix, first, limits)
        labels = [f"{k + 1}. {name}" for k, name in enumerate(rows)] if index % across == 0 else [""] * len(rows)
        panel.set_yticks(range(len(rows)), labels, fontsize=9)
        names = columns if index + across >= len(results) else [""] * len(columns)  # below the lowest of each column
        panel.set_xticks(range(len(columns)), names, fontsize=9, rotation=90 if upright else 0)
        panel.tick_params(length=0)
    _let_names_hang(panels, across)
    bar = figure.colorbar(image, ax=panels, shrink=min(1.0, 1.6 * across / len(results) + 0.2), aspect=25)
    bar.ax.tick_params(labelsize=9)
    figure.supylabel("after training", fontsize=9)
    figure.supxlabel(f"{first.measure.title} on (outlined: the task just trained)", fontsize=9)
    save_figure(figure, path)


def plot_curves(results: LabelledRuns, path: str | os.PathLike[str]) -> None:
    """
    Draw the performance over the whole sequence, one small panel per method and one line per task: the mean over runs. A bar
    in the task's colour stands where it is trained. Lines share a scale: returns of different tasks are better not drawn.

    :param results: (label, runs with different seeds) for each method, all over the same sequence
    :param path: image file, replaced as a whole
    :raises ValueError: if there is nothing to draw or the runs are not over the same sequence
    """
    first = check_comparable(results)
    across = _columns(len(results))
    figure, panels = _grid(results, 1.15, 0.8)
    curves = [(label, [common_curves(runs, task) for task in range(len(first.task_names))]) for label, runs in results]
    warn_of_left_out(curves)
    for index, (panel, (_, of_tasks)) in enumerate(zip(panels, curves, strict=True)):
        _draw_curves(panel, of_tasks, first)
        panel.tick_params(labelleft=index % across == 0, labelbottom=index + across >= len(results))
    low, high = (f([f(panel.get_ylim()) for panel in panels]) for f in (min, max))
    if first.measure == SUCCESS:
        low, high = -0.05, 1.05
    for panel in panels:
        panel.set_ylim(low, high + 0.06 * (high - low))  # room for the bar
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), frameon=False, fontsize=9)
    figure.supylabel(first.measure.title, fontsize=9)
    seeds = seeds_in_words((len(runs) for _, runs in results), "mean over ")
    write_below(figure, f"env steps; line: {seeds}; bar on top: the task that is being trained")
    save_figure(figure, path)


def _columns(n_panels: int) -> int:
    """Side by side: at most ``PER_ROW``, and no more than rows of nearly equal length need, so that little stays empty."""
    n_rows = -(-n_panels // PER_ROW)
    return -(-n_panels // n_rows)


def _grid(results: LabelledRuns, height: float, margin: float) -> "tuple[Figure, list[Axes]]":
    """A figure with a titled panel for each method, of ``height`` inches each and ``margin`` in all."""
    titles = [balanced(label, TITLE_CHARACTERS) for label, _ in results]
    across = _columns(len(titles))
    rows = [titles[start : start + across] for start in range(0, len(titles), across)]
    lines = sum(1 + max(title.count("\n") for title in row) for row in rows)
    figure = new_figure(WIDTH, margin + len(rows) * (height + 0.12) + 0.18 * lines)
    panels = list(figure.subplots(len(rows), across, squeeze=False).flat)
    for panel in panels[len(titles) :]:
        panel.set_axis_off()
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(title, fontsize=9, pad=3)
    return figure, panels[: len(titles)]


def _let_names_hang(panels: "Sequence[Axes]", across: int) -> None:
    """Names below a column that ends above the last row hang into the gap there, and take no room of their own."""
    last_row = (len(panels) - 1) // across * across
    for panel in panels[-across:last_row]:
        for label in panel.get_xticklabels():
            label.set_in_layout(False)


def _draw_curves(panel: "Axes", curves: Sequence[Curves], first: SequenceResults) -> None:
    ends = list(accumulate(first.segment_steps))
    for task, name in enumerate(first.task_names):
        colour = TASK_COLOURS[task % len(TASK_COLOURS)]
        panel.plot(curves[task].steps, curves[task].values.mean(axis=0), color=colour, linewidth=1.3, label=name)
    for index, end, length in zip(first.segment_indices, ends, first.segment_steps, strict=True):
        colour = TASK_COLOURS[index % len(TASK_COLOURS)]
        panel.axvspan(end - length, end, 0.95, 1.0, color=colour, linewidth=0)
        panel.axvline(end, color="#BBBBBB", linewidth=0.6, zorder=0)
    panel.set_xlim(0, ends[-1])
    plain(panel)
    panel.tick_params(labelsize=9)
    panel.xaxis.set_major_locator(_few_ticks())
    panel.xaxis.set_major_formatter("{x:,.0f}")


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, prune="upper")  # no label at the edge, where the next panel begins


def _common_limits(first: SequenceResults, values: FloatArray) -> tuple[float, float]:
    low, high = colour_limits(first, values)
    if low is None or high is None:  # returns, in any unit
        return float(np.nanmin(values)), float(np.nanmax(values))
    return low, high


def _draw_matrix(panel: "Axes", matrix: Any, first: SequenceResults, limits: tuple[float, float]) -> Any:
    from matplotlib.patches import Rectangle

    image = panel.imshow(matrix, cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto")
    panel.set_facecolor(SHADE)  # where not measured
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            bright = np.asarray(image.norm(np.array([value])))[0] >= 0.5
            text = f"{value:.3g}" if first.measure == RETURN else f"{value:.2f}"
            panel.text(column, row, text, ha="center", va="center", color="black" if bright else "white", fontsize=9)
    for row, column in enumerate(first.segment_indices):
        panel.add_patch(Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, edgecolor=COLOURS[1], linewidth=1.2))
    return image


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
