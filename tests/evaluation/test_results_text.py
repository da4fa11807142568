"""The results of a run as a terminal shows them."""

import pytest

from sb3_nbsp.base.plain_text import two_decimals
from sb3_nbsp.evaluation import Evaluation, SequenceResults, results_text
from sb3_nbsp.evaluation.statistics import Estimate


def results(*evaluations, success=True):
    tasks = ("east", "west")
    found = []
    for step, segment, kind, values in evaluations:
        told = {task: value if success else None for task, value in zip(tasks, values, strict=True)}
        found.append(Evaluation(step, segment, kind, told, dict.fromkeys(tasks, -2.0), 0.1))
    return SequenceResults(tasks, ("east", "west"), (10, 10), found, {"n_eval_episodes": 5})


def test_the_matrix_and_what_the_metrics_mean():
    text = results_text(results((0, 0, "start", (0, 0)), (10, 0, "switch", (1, 0)), (20, 1, "switch", (0.25, 1))))
    rows = [line.split() for line in text.splitlines()]
    assert ["1.", "east", "1.00", "0.00"] in rows and ["2.", "west", "0.25", "1.00"] in rows
    shown = {row[0]: row[1] for row in rows if row and row[0] in ("ASR", "FM", "FWT")}
    assert shown == {"ASR": "0.62", "FM": "0.75", "FWT": "1.00"}  # (0.25 + 1) / 2; 1 - 0.25; (1 + 1) / 2
    assert "mean of 5 episodes" in text and "nan" not in text


def test_a_run_that_was_stopped_shows_where_it_stands():
    text = results_text(results((0, 0, "start", (0, 0)), (7, 0, "end", (0.5, 0))))
    assert "(at step 7)" in text and "0.50" in text and "FM" not in text and "nan" not in text


def test_returns_are_called_so():
    text = results_text(results((10, 0, "switch", (0, 0)), success=False))
    assert text.startswith("Mean return on every task") and "AR " in text and "-2.00" in text


@pytest.mark.parametrize(
    "value, text", [(-0.004, "0.00"), (-0.0, "0.00"), (-0.006, "-0.01"), (0.125, "0.12"), (float("nan"), "nan")]
)
def test_what_rounds_to_zero_has_no_sign(value, text):
    assert two_decimals(value) == text
    assert value != value or str(Estimate(1.0, value, value)) == f"1.00 [{text}, {text}]"


def test_no_forgetting_has_no_sign():
    text = results_text(results((0, 0, "start", (0, 0)), (10, 0, "switch", (0.996, 0)), (20, 1, "switch", (1, 1))))
    assert "-0.00" not in text and ["FM", "0.00"] in [line.split()[:2] for line in text.splitlines()]
