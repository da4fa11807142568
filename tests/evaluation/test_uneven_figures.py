"""Figures of runs whose sub-envs do not divide a task: its end comes a little later than planned, and is drawn too."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from sb3_nbsp.evaluation import Evaluation, SequenceResults, plot_sequence, plots


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
    monkeypatch.setattr(plots, "save_figure", lambda figure, _: figures.append(figure))
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
