"""Figures of runs whose sub-envs do not divide a task, or that were not evaluated at the same steps; and how many they are."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from sb3_nbsp.evaluation import Evaluation, SequenceResults, plot_matrix, plot_sequence, plots, small_multiples
from sb3_nbsp.evaluation.common_curves import common_curves
from sb3_nbsp.evaluation.small_multiples import plot_curves, plot_matrices


def run(steps: list[int], shift: float = 0.0, after: int = 0) -> SequenceResults:
    """Tasks of 1000 steps: start, switch, interval, switch at these steps, and an end beyond ``after`` more."""
    kinds = ["start", "switch", "interval", "switch", "end"]
    taken = [*steps, steps[-1] + after] if after else steps
    segments = [0, 0, 1, 1, 1]
    values = [0.1, 0.5, 0.6, 0.7, 0.8]
    rows = [
        Evaluation(step, segment, kind, {"a": value + shift, "b": value}, {"a": 1.0, "b": 1.0}, 0.1)
        for step, segment, kind, value in zip(taken, segments, kinds, values, strict=False)
    ]
    return SequenceResults(("a", "b"), ("a", "b"), (1000, 1000), rows)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    for module in (plots, small_multiples):
        monkeypatch.setattr(module, "save_figure", lambda figure, _: figures.append(figure))
    return figures


@pytest.mark.parametrize(
    "steps, after, x",
    [
        ([0, 1000, 1500, 2000], 0, [0, 1000, 1500, 2000]),
        ([0, 1000, 1500, 2000], 48, [0, 1000, 1500, 2000]),  # PPO's last rollout
        ([0, 1002, 1500, 2001], 0, [0, 1002, 1500, 2000]),
        ([0, 1002, 1500, 2001], 47, [0, 1002, 1500, 2000]),
        ([0, 1005, 1500, 2002], 0, [0, 1005, 1500, 2000]),
    ],
)
def test_lines_and_bars_reach_the_last_tasks_end(drawn, steps, after, x):
    runs = [run(steps, after=after), run(steps, 0.1, after)]
    plot_sequence([("one", runs), ("two", runs)], "unused.png")
    (figure,) = drawn
    panel = figure.axes[0]
    line = panel.get_lines()[0] if len(panel.get_lines()[0].get_xdata()) == 4 else panel.get_lines()[1]
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_allclose(line.get_ydata(), [0.15, 0.55, 0.65, 0.75])
    bars = [bars for bars in panel.collections if isinstance(bars, LineCollection)]
    places = [[segment[0, 0] for segment in bar.get_segments()] for bar in bars]
    np.testing.assert_allclose(places, [[x[1] - 8, x[3] - 8], [x[1] + 8, x[3] + 8]])


def test_a_run_without_switches_is_drawn(drawn):
    started = run([0, 1000, 1500, 2000])
    started.evaluations[1:] = []
    plot_sequence([("one", [started])], "unused.png")
    assert len(drawn) == 1


def rows_of(*rows: tuple[int, int, str]) -> SequenceResults:
    """Tasks of 100 steps; the success on both is the step's thousandth part."""
    evaluations = [
        Evaluation(step, segment, kind, {"a": step / 1000, "b": step / 1000}, {"a": 1.0, "b": 1.0}, 0.1)
        for step, segment, kind in rows
    ]
    return SequenceResults(("a", "b"), ("a", "b"), (100, 100), evaluations)


START, MIDDLE, SWITCH, LATER = (0, 0, "start"), (50, 0, "interval"), (100, 0, "switch"), (150, 1, "interval")
LAST = (200, 1, "switch")
WHOLE = rows_of(START, MIDDLE, SWITCH, LATER, LAST)
UNEVEN = rows_of(START, (51, 0, "interval"), (102, 0, "switch"), LATER, (201, 1, "switch"))


@pytest.mark.known_answer
@pytest.mark.parametrize(
    "other, steps, n_left_out",
    [
        (WHOLE, [0, 50, 100, 150, 200], 0),
        (UNEVEN, [0, 50.5, 101, 150, 200.5], 0),
        # It went on from a checkpoint, and had lost an evaluation, whose partner is left.
        (rows_of(START, MIDDLE, (70, 0, "start"), (102, 0, "switch"), LAST), [0, 50, 101, 200], 1),
        # Evaluated twice as often.
        (rows_of(START, (25, 0, "interval"), MIDDLE, (75, 0, "interval"), SWITCH, LATER, LAST), [0, 50, 100, 150, 200], 2),
        # Two at one step, as earlier versions left them, and edited files.
        (rows_of(START, MIDDLE, MIDDLE, SWITCH, (100, 1, "start"), LATER, LAST), [0, 50, 100, 150, 200], 0),
        (rows_of(START, MIDDLE, SWITCH, (100, 0, "end"), LATER, LAST, (201, 1, "end")), [0, 50, 100, 150, 200], 0),
        (rows_of(START), [0], 4),
    ],
)
def test_evaluations_that_belong_together(other, steps, n_left_out):
    for runs in ([WHOLE, other], [other, WHOLE]):
        curves = common_curves(runs, 0)
        np.testing.assert_allclose(curves.steps, steps)
        np.testing.assert_allclose(1000 * curves.values.mean(axis=0), steps)
        assert curves.steps[curves.at_switch].tolist() == [step for step in steps if step in (100, 101, 200, 200.5)]
        assert curves.n_left_out == n_left_out
    alone = common_curves([other], 0)
    assert alone.n_left_out == 0 and len(alone.steps) == len({row.step for row in other.evaluations})


def test_of_two_evaluations_at_one_step_the_switch_counts_and_else_the_last():
    run = rows_of(START, SWITCH, SWITCH, (100, 1, "start"), LAST)
    for index, row in enumerate(run.evaluations):
        row.success["a"] = index / 10
    assert common_curves([run], 0).values.tolist() == [[0.0, 0.2, 0.4]]


@pytest.mark.parametrize("draw", [plot_sequence, plot_curves])
def test_curves_of_uneven_runs_are_drawn_whole_and_what_is_left_out_is_told(drawn, draw):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw([("one", [WHOLE, UNEVEN]), ("two", [WHOLE])], "unused.png")
    lines = [line for line in drawn[0].axes[0].get_lines() if len(line.get_xdata()) == 5]
    np.testing.assert_allclose(lines[0].get_xdata(), [0, 50.5, 101, 150, 200 if draw is plot_sequence else 200.5])
    with pytest.warns(UserWarning, match="Evaluations of 'one' that are left out of a figure: 4"):
        draw([("one", [WHOLE, rows_of(START)])], "unused.png")


@pytest.mark.parametrize(
    "numbers, sequence, curves",
    [
        ([1, 1], "one seed;", "line: one seed;"),
        ([2, 2], "line: mean over 2 seeds, bar", "line: mean over 2 seeds;"),
        ([1, 3], "line: mean over 1 to 3 seeds, bar", "line: mean over 1 to 3 seeds;"),
        ([3, 2], "line: mean over 2 to 3 seeds, bar", "line: mean over 2 to 3 seeds;"),
    ],
)
def test_figures_tell_how_many_seeds_they_are_of(drawn, numbers, sequence, curves):
    results = [(str(index), [replace(WHOLE, seed=seed) for seed in range(n)]) for index, n in enumerate(numbers)]
    for draw, text in ((plot_sequence, sequence), (plot_curves, curves)):
        draw(results, "unused.png")
        assert text in drawn[-1]._supxlabel.get_text().replace("\n", " ")
    plot_matrix(results[0][1], "unused.png")
    one = f"mean of {numbers[0]} seeds" if numbers[0] > 1 else "one seed"
    assert drawn[-1].axes[0].get_xlabel().startswith(f"success rate on each task, {one}\n")


@pytest.mark.parametrize("n_methods", [4, 7, 8, 9])
def test_rows_of_matrices_stand_equally_far_apart(drawn, n_methods):
    """Names below a column that ends above the last row have room there, and push no rows apart."""
    names = ("a task with a long name", "another with a long name")
    values = dict.fromkeys(names, 0.5)
    rows = [
        Evaluation(1000 * k, max(k - 1, 0), kind, values, values, 0.1) for k, kind in enumerate(("start", "switch", "switch"))
    ]
    named = SequenceResults(names, names, (1000, 1000), rows)
    plot_matrices([(f"method {k}", [named]) for k in range(n_methods)], "unused.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    panels = [panel for panel in figure.axes if panel.get_title()]
    tops = sorted({round(panel.get_position().y1, 3) for panel in panels}, reverse=True)
    gaps = -np.diff(tops)
    np.testing.assert_allclose(gaps, gaps[0], atol=0.01)
    across = sum(round(panel.get_position().y1, 3) == tops[0] for panel in panels)
    assert len(panels) == n_methods and len(tops) == -(-n_methods // across) > 1
    lowest = [panel for k, panel in enumerate(panels) if k + across >= n_methods]
    assert all(any(label.get_text() for label in panel.get_xticklabels()) for panel in lowest)
