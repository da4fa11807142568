"""Figures of runs over a task sequence. Drawn without pyplot: no global state, no display needed."""

import os
import textwrap
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.plain_text import two_decimals
from sb3_nbsp.evaluation.common_curves import Curves, common_curves, warn_of_left_out
from sb3_nbsp.evaluation.method_styles import COLOURS, Style, styles_of
from sb3_nbsp.evaluation.metric_arguments import FloatArray
from sb3_nbsp.evaluation.performance_kind import NORMALISED, SUCCESS
from sb3_nbsp.evaluation.results import SequenceResults
from sb3_nbsp.evaluation.table import LabelledRuns, check_comparable, check_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADE = "#ECECEC"
GREY = "#555555"  # of notes
WIDTH = 8.0  # inches: 1200 pixels at this resolution, legible at the width of a README
DPI = 150
LEGEND_CHARACTERS = 112  # side by side
ONE_SEED = "one seed"
LINE_WIDTHS = (1.4, 3.8)  # of the last method, and at most of the first: one line can be seen below another


def plot_sequence(results: LabelledRuns, path: str | os.PathLike[str]) -> None:
    """
    Draw the performance on each task over the whole sequence, one panel per task and one line per method.

    Lines are means over seeds. What reaches from the worst to the best seed is a band where there is one method; of several,
    whose bands would lie upon each other, a bar at each task's end. Vertical lines are task switches; a panel is shaded where
    its own task is trained.

    :param results: (label, runs with different seeds) for each method, all over the same sequence
    :param path: image file, replaced as a whole
    :raises ValueError: if there is nothing to draw or the runs are not over the same sequence
    """
    first = check_comparable(results)
    labels = [f"training {name}" for name in first.segments]
    tilted = _crowded(labels, 90)
    height = 1.3 + 1.5 * len(first.task_names) + (0.03 * max(map(len, labels)) if tilted else 0)
    figure = new_figure(WIDTH, height)
    axes = figure.subplots(len(first.task_names), 1, sharex=True, sharey=first.measure == SUCCESS, squeeze=False)[:, 0]
    styles = styles_of(label for label, _ in results)
    curves = [(label, [common_curves(runs, task) for task in range(len(axes))]) for label, runs in results]
    warn_of_left_out(curves)
    total = sum(first.segment_steps)
    for task, (panel, name) in enumerate(zip(axes, first.task_names, strict=True)):
        _mark_segments(panel, first, name)
        for index, (label, of_tasks) in enumerate(curves):
            _draw_method(panel, of_tasks[task], total, label, styles[label], line_width(index, len(results)))
            if len(results) > 1:
                _draw_spread(panel, of_tasks[task], total, styles[label], 0.008 * (index - (len(results) - 1) / 2))
            else:
                _draw_band(panel, of_tasks[task], styles[label])
        panel.set_title(f"{first.measure.title} on {name}", loc="left", fontsize=10, fontweight="bold", pad=4)
        if first.measure == SUCCESS:
            panel.set_ylim(-0.05, 1.05)
        elif first.measure == NORMALISED:
            _mark_references(panel)
    _name_segments(axes[0], first, labels, tilted)
    axes[-1].set_xlabel("env steps", fontsize=9)
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    seeds = seeds_in_words(len(runs) for _, runs in results)
    spread = "bar at a task's end" if len(results) > 1 else "band"
    over = f"line: mean over {seeds}, {spread}: worst to best seed" if seeds != ONE_SEED else seeds
    dotted = "; dotted: a random player at 0, a human at 1" if first.measure == NORMALISED else ""
    write_below(figure, f"{over}; shaded: this task is being trained; vertical lines: task switches{dotted}")
    if len(results) > 1:
        handles, names = axes[0].get_legend_handles_labels()
        columns = min(4, len(names), LEGEND_CHARACTERS // (max(map(len, names)) + 6) or 1)
        figure.legend(handles, names, loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
    save_figure(figure, path)


def plot_matrix(results: Sequence[SequenceResults], path: str | os.PathLike[str]) -> None:
    """
    Draw the performance matrix (mean over runs) as a heat map with its numbers.

    :param results: runs of one method with different seeds, all over the same sequence
    :param path: image file, replaced as a whole
    :raises ValueError: if there is nothing to draw or the runs are not over the same sequence
    """
    check_list(results)
    first = check_comparable([("runs", results)])
    matrix = np.mean([run.matrix() for run in results], axis=0)
    n_segments, n_tasks = matrix.shape
    figure = new_figure(min(WIDTH, 3.0 + 1.1 * n_tasks), 1.45 + 0.42 * n_segments)
    from matplotlib.patches import Rectangle  # after new_figure, which tells what to do without matplotlib

    axes = figure.subplots()
    low, high = colour_limits(first, matrix)
    image = axes.imshow(matrix, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            shade: Any = image.norm(np.array([value]))  # 0 dark, 1 bright
            colour = "white" if shade[0] < 0.5 else "black"
            axes.text(column, row, two_decimals(value), ha="center", va="center", color=colour, fontsize=10)
    for row, column in enumerate(first.segment_indices):
        axes.add_patch(Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, edgecolor=COLOURS[1], linewidth=2))
    axes.set_facecolor(SHADE)
    tilt: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if _crowded(first.task_names, 60) else {}
    axes.set_xticks(range(n_tasks), first.task_names, fontsize=9, **tilt)
    axes.set_yticks(range(n_segments), [f"{k + 1}. {name}" for k, name in enumerate(first.segments)], fontsize=9)
    seeds = seeds_in_words([len(results)], "mean of ")
    axes.set_xlabel(f"{first.measure.title} on each task, {seeds}\n(outlined: the task just trained)", fontsize=9)
    axes.set_ylabel("after training", fontsize=9)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label(first.measure.title, fontsize=9)
    bar.ax.tick_params(labelsize=9)
    save_figure(figure, path)


def colour_limits(first: SequenceResults, matrix: FloatArray) -> tuple[float | None, float | None]:
    """Success rates in full; normalised returns from random to human or what lies beyond; returns as they come."""
    if first.measure == SUCCESS:
        return 0.0, 1.0
    if first.measure == NORMALISED:
        return float(np.nanmin(matrix, initial=0.0)), float(np.nanmax(matrix, initial=1.0))
    return None, None


def _mark_references(panel: "Axes") -> None:
    """Lines at a random player, which every panel shows, and at a human, which does not stretch it."""
    low, high = panel.get_ylim()
    for value in (0.0, 1.0):
        panel.axhline(value, color="#888888", linewidth=0.8, linestyle=":", zorder=1)
    panel.set_ylim(min(low, -0.05), max(high, 0.05))


def _draw_method(panel: "Axes", curves: Curves, total: int, label: str, style: Style, width: float) -> None:
    inside = (curves.steps <= total) | curves.at_switch  # a last rollout may reach beyond the sequence's end
    steps, values = np.minimum(curves.steps[inside], total), curves.values[:, inside]
    line: dict[str, Any] = {"color": style.colour, "linewidth": width, "marker": style.marker, "markersize": 1.6 + width}
    panel.plot(steps, values.mean(axis=0), style.line, label=label, clip_on=False, **line)


def _draw_band(panel: "Axes", curves: Curves, style: Style) -> None:
    """From the worst to the best seed, all along."""
    low, high = curves.values.min(axis=0), curves.values.max(axis=0)
    if len(curves.values) > 1:
        panel.fill_between(curves.steps, low, high, color=style.colour, alpha=0.18, linewidth=0)


def _draw_spread(panel: "Axes", curves: Curves, total: int, style: Style, place: float) -> None:
    """From the worst to the best seed at each task's end; ``place``: beside it, as a share of the sequence."""
    at_end = curves.values[:, curves.at_switch]
    low, high = at_end.min(axis=0), at_end.max(axis=0)
    some = high > low
    x = (np.minimum(curves.steps[curves.at_switch], total) + place * total)[some]
    panel.vlines(x, low[some], high[some], color=style.colour, linewidth=1.6, alpha=0.9, clip_on=False, zorder=1.5)


def line_width(index: int, n_methods: int) -> float:
    """
    :param index: of a method, in the order of drawing
    :param n_methods: methods in the figure
    :return: in points; each method's line is narrower than those drawn before it, which show where it lies upon them
    """
    narrow, wide = LINE_WIDTHS
    return narrow + (n_methods - 1 - index) * min(1.0, (wide - narrow) / max(n_methods - 1, 1))


def _mark_segments(panel: "Axes", first: SequenceResults, task_name: str) -> None:
    ends = list(accumulate(first.segment_steps))
    for name, end, length in zip(first.segments, ends, first.segment_steps, strict=True):
        if name == task_name:
            panel.axvspan(end - length, end, color=SHADE, zorder=0)
    for end in ends[:-1]:
        panel.axvline(end, color="#888888", linewidth=0.8, zorder=1)
    panel.set_xlim(0, ends[-1])
    plain(panel)


def _name_segments(panel: "Axes", first: SequenceResults, labels: Sequence[str], tilted: bool) -> None:
    """Write above the top panel which task is trained when."""
    middles = np.cumsum(first.segment_steps) - np.array(first.segment_steps) / 2
    names = panel.secondary_xaxis("top")
    tilt: dict[str, Any] = {"rotation": 30, "ha": "left", "rotation_mode": "anchor"} if tilted else {}
    names.set_xticks(middles, labels, fontsize=9, color=GREY, **tilt)
    names.tick_params(length=0, pad=1)
    names.spines["top"].set_visible(False)


def _crowded(names: Sequence[str], available: int) -> bool:
    """Whether names side by side would touch, each having the same share of the available characters."""
    return max(map(len, names)) * len(names) > available


def new_figure(width: float, height: float) -> "Figure":
    """
    :param width: in inches
    :param height: in inches
    :return: an empty figure that needs no display
    :raises ImportError: if matplotlib is not installed
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'Figures need matplotlib ({error}): pip install "sb3-nbsp[plots]"') from error
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """
    Write a figure, atomically.

    :param figure: what to write
    :param path: its suffix tells the format, usually ``.png``
    :raises ValueError: for a suffix that matplotlib does not know
    """
    known = figure.canvas.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".").lower() not in known:
        raise ValueError(
            f"path must end in .png or another format of matplotlib ({', '.join(known)}); got {os.fspath(path)!r}."
        )
    with replacing(path) as temporary:
        figure.savefig(temporary)


def plain(panel: "Axes") -> None:
    """Small ticks, and no frame above and beside."""
    panel.tick_params(labelsize=9)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def seeds_in_words(numbers: Iterable[int], mean: str = "") -> str:
    """
    :param numbers: of seeds, for each method or panel of a figure
    :param mean: what stands before several, such as "mean over "
    :return: "one seed", "10 seeds", or "3 to 10 seeds" where they differ
    """
    different = sorted(set(numbers))
    if different == [1]:
        return ONE_SEED
    return f"{mean}{' to '.join(str(n) for n in dict.fromkeys((different[0], different[-1])))} seeds"


def write_below(figure: "Figure", text: str) -> None:
    """A note below a figure."""
    figure.supxlabel(balanced(text, int(figure.get_figwidth() * 14)), fontsize=9, color=GREY)


def balanced(text: str, width: int) -> str:
    """Text in as few lines of at most ``width`` characters as it takes, of nearly equal length."""
    whole_words: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    n_lines = len(textwrap.wrap(text, width, **whole_words))
    tries = (textwrap.wrap(text, narrower, **whole_words) for narrower in range(1, width + 1))
    return "\n".join(next(lines for lines in tries if len(lines) <= n_lines))
