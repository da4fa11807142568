"""Metrics on matrices whose answer can be worked out by hand, and the files that hold them."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from sb3_nbsp.evaluation import (
    Evaluation,
    Metrics,
    SequenceResults,
    area_under_curve,
    average_success,
    average_success_without_last,
    bootstrap_interval,
    cw_forgetting,
    cw_forward_transfer,
    cw_performance,
    forgetting_measure,
    forward_transfer,
    plot_matrix,
    plot_sequence,
    results_table,
    summarize,
)
from sb3_nbsp.evaluation.plots import line_width
from sb3_nbsp.evaluation.table import check_comparable

NAN = math.nan
CYCLE = [0, 1, 0, 1]
CYCLE_MATRIX = [[0.9, 0.1], [0.4, 0.8], [1.0, 0.3], [0.7, 0.6]]
THREE_MATRIX = [[0.8, 0.0, 0.1], [0.5, 0.6, 0.2], [0.6, 0.2, 1.0]]


def made_results(shift: float = 0.0, with_success: bool = True, until: int = 8, seed: int = 3) -> SequenceResults:
    """Tasks a, b, a, b of 100 steps, evaluated every 50; switches give CYCLE_MATRIX minus ``shift``."""
    between = [[0.0, 0.0], [0.5, 0.0], [0.6, 0.4], [0.8, 0.6], [0.8, 0.4]]  # start, then the middle of each segment
    switches = iter(CYCLE_MATRIX)
    evaluations = []
    for index in range(9):
        values = next(switches) if index and index % 2 == 0 else between[(index + 1) // 2]
        kind = "start" if index == 0 else "switch" if index % 2 == 0 else "interval"
        success = {name: max(value - shift, 0.0) if with_success else None for name, value in zip("ab", values, strict=True)}
        returns = {name: 10 * value for name, value in zip("ab", values, strict=True)}
        evaluations.append(Evaluation(50 * index, max(0, index - 1) // 2, kind, success, returns, 0.5))
    return SequenceResults(("a", "b"), tuple("abab"), (100,) * 4, evaluations[: until + 1], {"method": "made"}, seed=seed)


@pytest.mark.known_answer
def test_average_success_is_the_last_rows_mean():
    assert average_success(CYCLE_MATRIX) == pytest.approx(0.65)
    assert average_success(THREE_MATRIX) == pytest.approx(0.6)


@pytest.mark.known_answer
def test_forgetting_counts_only_tasks_not_being_trained():
    # Only a is old after the last segment (b); its best was 1.0 in the third row.
    assert forgetting_measure(CYCLE_MATRIX, CYCLE) == pytest.approx(0.3)
    # a: 0.8 - 0.6, b: 0.6 - 0.2.
    assert forgetting_measure(THREE_MATRIX, [0, 1, 2]) == pytest.approx(0.3)


@pytest.mark.known_answer
def test_the_average_without_the_last_task_is_that_of_the_others():
    assert average_success_without_last([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.2, 0.4, 0.9]], [0, 1, 2]) == pytest.approx(0.3)
    # After three of four segments it is the third's task that is left out; of a task alone nothing is left.
    assert average_success_without_last([*CYCLE_MATRIX[:3], [NAN, NAN]], CYCLE) == pytest.approx(CYCLE_MATRIX[2][1])
    assert math.isnan(average_success_without_last([[0.7]], [0]))
    assert math.isnan(average_success_without_last([[NAN, NAN]], [0]))


@pytest.mark.known_answer
def test_forgetting_ignores_performance_before_the_first_training():
    # c's lucky 0.9 came before c was trained and must not count as forgotten.
    matrix = [[1.0, 0.0, 0.9], [1.0, 1.0, 0.9], [1.0, 1.0, 0.5], [1.0, 1.0, 0.4]]
    assert forgetting_measure(matrix, [0, 1, 2, 1]) == pytest.approx((0.0 + 0.1) / 2)


@pytest.mark.known_answer
def test_forgetting_is_negative_when_old_tasks_improve():
    assert forgetting_measure([[0.5, 0.0], [0.7, 1.0]], [0, 1]) == pytest.approx(-0.2)


@pytest.mark.known_answer
def test_forward_transfer_reads_the_first_visit():
    assert forward_transfer(CYCLE_MATRIX, CYCLE) == pytest.approx((0.9 + 0.8) / 2)
    assert forward_transfer(CYCLE_MATRIX, CYCLE, reference=0.5) == pytest.approx(0.35)
    assert forward_transfer(THREE_MATRIX, [0, 1, 2], reference=[0.8, 0.5, 0.5]) == pytest.approx((0.0 + 0.1 + 0.5) / 3)


@pytest.mark.known_answer
@pytest.mark.parametrize(
    "rows, asr, fm, fwt", [(0, NAN, NAN, NAN), (1, 0.5, NAN, 0.9), (2, 0.6, 0.5, 0.85), (3, 0.65, 0.5, 0.85)]
)
def test_rows_not_yet_measured_are_left_out(rows, asr, fm, fwt):
    matrix = np.array(CYCLE_MATRIX)
    matrix[rows:] = NAN
    assert average_success(matrix) == pytest.approx(asr, nan_ok=True)
    assert forgetting_measure(matrix, CYCLE) == pytest.approx(fm, nan_ok=True)
    assert forward_transfer(matrix, CYCLE) == pytest.approx(fwt, nan_ok=True)


@pytest.mark.known_answer
def test_a_missing_first_visit_is_not_replaced_by_the_second():
    """Nor is the mean then over fewer tasks."""
    matrix = np.array(CYCLE_MATRIX)
    matrix[0] = NAN
    assert math.isnan(forward_transfer(matrix, CYCLE))
    assert forgetting_measure(matrix, CYCLE) == pytest.approx(0.3)


@pytest.mark.known_answer
@pytest.mark.parametrize("lost, fm", [(0, (0.5 - 0.6 + 0.6 - 0.2) / 2), (1, NAN)])
def test_a_lost_row_is_no_mean_over_fewer_tasks(lost, fm):
    """Without row 0 the best of a is known from row 1; without row 1 nothing is known of b before the end."""
    matrix = np.array(THREE_MATRIX)
    matrix[lost] = NAN
    assert forgetting_measure(matrix, [0, 1, 2]) == pytest.approx(fm, nan_ok=True)
    assert math.isnan(forward_transfer(matrix, [0, 1, 2]))


@pytest.mark.known_answer
def test_segments_not_reached_are_left_out_of_forward_transfer():
    matrix = np.array(THREE_MATRIX)
    matrix[2] = NAN
    assert forward_transfer(matrix, [0, 1, 2]) == pytest.approx((0.8 + 0.6) / 2)


@pytest.mark.parametrize("matrix, segments", [([1.0, 2.0], [0]), (CYCLE_MATRIX, [0, 1]), (CYCLE_MATRIX, [0, 1, 2, 0])])
def test_metrics_refuse_what_does_not_fit(matrix, segments):
    with pytest.raises(ValueError, match="Expected"):
        forgetting_measure(matrix, segments)


@pytest.mark.known_answer
def test_continual_world_metrics():
    assert cw_performance([[0.4, 1.0], [0.6, 0.8]]) == pytest.approx(0.7)
    assert cw_forgetting([0.9, 0.8], [0.7, 0.8]) == pytest.approx(0.1)
    # (0.6 - 0.5) / 0.5 and (0.4 - 0.6) / 0.4
    assert cw_forward_transfer([0.6, 0.4], [0.5, 0.6]) == pytest.approx((0.2 - 0.5) / 2)
    assert math.isnan(cw_forward_transfer([0.6, 0.4], [0.5, 1.0]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        cw_forward_transfer([0.6], [12.0])


@pytest.mark.known_answer
def test_area_under_curve_weighs_by_env_steps():
    steps, values = [0, 10, 30, 40, 99], [0.0, 1.0, 1.0, 0.0, 5.0]
    assert area_under_curve(steps, values, 0, 40) == pytest.approx((5 + 20 + 5) / 40)
    assert area_under_curve(steps, values, 10, 40) == pytest.approx(25 / 30)
    assert math.isnan(area_under_curve(steps, values, 41, 99))


def test_summary_is_json_safe():
    assert summarize(Metrics(0.5, NAN, np.float64(0.25))) == {
        "asr": 0.5,
        "fm": None,
        "fwt": 0.25,
        "cw_performance": None,
        "cw_forgetting": None,
        "cw_forward_transfer": None,
        "asr_without_last": None,
    }


@pytest.mark.known_answer
def test_results_give_matrix_and_metrics():
    results = made_results()
    np.testing.assert_array_equal(results.matrix(), CYCLE_MATRIX)
    np.testing.assert_allclose(results.matrix("return"), 10 * np.array(CYCLE_MATRIX))
    metrics = results.metrics()
    assert (metrics.asr, metrics.asr_without_last, metrics.fm, metrics.fwt) == pytest.approx((0.65, 0.7, 0.3, 0.85))
    # Each segment has two evaluations of its own: a 0.7, b 0.6, a 0.9, b 0.5; at the end a 0.75, b 0.5.
    assert metrics.cw_performance == pytest.approx((0.75 + 0.5) / 2)
    assert metrics.cw_forgetting == pytest.approx((0.7 - 0.75 + 0.6 - 0.5 + 0.9 - 0.75 + 0.0) / 4)
    assert math.isnan(metrics.cw_forward_transfer)


@pytest.mark.known_answer
def test_extra_rows_where_a_training_stopped_are_no_late_evaluations():
    plain, stopped = made_results(), made_results()
    extra = [replace(plain.evaluations[-2], step=360, kind="end"), replace(plain.evaluations[-2], step=370, kind="start")]
    zero = {"a": 0.0, "b": 0.0}
    stopped.evaluations[-1:] = [*(replace(row, success=zero) for row in extra), stopped.evaluations[-1]]
    for name in ("cw_performance", "cw_forgetting"):
        assert getattr(stopped.metrics(), name) == getattr(plain.metrics(), name)


@pytest.mark.known_answer
def test_results_give_areas_of_first_segments():
    results = made_results()
    assert results.auc() == pytest.approx({"a": (0.25 + 0.7) / 2, "b": (0.25 + 0.6) / 2})
    transfer = results.metrics(baseline_auc={"a": 0.4, "b": 0.5}).cw_forward_transfer
    assert transfer == pytest.approx((0.075 / 0.6 - 0.075 / 0.5) / 2)
    with pytest.raises(ValueError, match=r"\['b'\]"):
        results.metrics(baseline_auc={"a": 0.4})


@pytest.mark.known_answer
def test_unfinished_results_have_no_continual_world_metrics():
    results = made_results(until=5)
    assert np.isnan(results.matrix()[2:]).all() and not np.isnan(results.matrix()[:2]).any()
    metrics = results.metrics()
    assert (metrics.asr, metrics.fm) == pytest.approx((0.6, 0.5))
    assert math.isnan(metrics.cw_performance) and math.isnan(metrics.cw_forgetting)
    assert math.isnan(made_results(until=1).auc()["a"])


@pytest.mark.known_answer
def test_without_success_the_return_is_the_performance():
    results = made_results(with_success=False)
    np.testing.assert_allclose(results.matrix(), 10 * np.array(CYCLE_MATRIX))
    partly = made_results()
    partly.evaluations[0].success["b"] = None
    np.testing.assert_allclose(partly.matrix(), 10 * np.array(CYCLE_MATRIX))


def test_json_roundtrip_keeps_everything():
    results = made_results()
    results.settings = {"lr": 3e-4, "net": [16], "none": None, "flag": True, "act": dict, "n": np.int64(2), "inf": math.inf}
    results.evaluations[0].mean_return["a"] = NAN
    again = SequenceResults.from_json(results.to_json())
    assert again.settings == {**results.settings, "act": repr(dict), "n": 2, "inf": None}
    assert math.isnan(again.evaluations[0].mean_return["a"])
    again.settings = results.settings
    assert repr(again) == repr(results)  # nan != nan
    assert json.loads(results.to_json())["metrics"] == summarize(results.metrics())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}', '{"format": "sb3_nbsp.sequence_results/1"}'])
def test_foreign_files_are_refused_by_name(tmp_path, text):
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"results\.json: Expected the results of a sb3_nbsp sequence run"):
        SequenceResults.read(tmp_path)


def test_files_are_tidy(tmp_path):
    made_results(until=3).write(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(os.listdir(folder)) == ["evaluations.csv", "matrix.csv", "results.json"]
    assert (folder / "matrix.csv").read_text() == "segment,trained_task,a,b\n0,a,0.9,0.1\n1,b,,\n2,a,,\n3,b,,\n"
    lines = (folder / "evaluations.csv").read_text().splitlines()
    assert lines[0] == "step,segment,trained_task,kind,task,success,mean_return"
    assert lines[1:3] == ["0,0,a,start,a,0.0,0.0", "0,0,a,start,b,0.0,0.0"]
    assert lines[5] == "100,0,a,switch,a,0.9,9.0" and len(lines) == 1 + 4 * 2


@pytest.mark.parametrize("name", ["evaluations.csv", "matrix.csv", "results.json"])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, name):
    made_results(until=3).write(tmp_path)
    old, replace = (tmp_path / name).read_text(), os.replace

    def killed_at_name(source, target):
        if os.path.basename(target) == name:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed_at_name)
    with pytest.raises(KeyboardInterrupt):
        made_results().write(tmp_path)
    assert (tmp_path / name).read_text() == old
    assert sorted(os.listdir(tmp_path)) == ["evaluations.csv", "matrix.csv", "results.json"]


@pytest.mark.known_answer
def test_table_holds_means_and_intervals():
    runs = [made_results(shift, seed=seed) for seed, shift in enumerate((0.0, 0.05, 0.1))]
    table = results_table([("one", runs[:1]), ("three", runs), ("unfinished", [made_results(until=1)])])
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]
    assert lines[2] == ["one", "1", "0.65", "0.30", "0.85"]
    assert lines[3] == ["three", "3", "0.60 [0.55, 0.65]", "0.30 [0.30, 0.30]", "0.80 [0.75, 0.85]"]
    assert lines[4] == ["unfinished", "1", "-", "-", "-"]
    assert ["three", "2. b", "0.35 [0.30, 0.40]", "0.75 [0.70, 0.80]"] in lines


def test_bootstrap_interval():
    assert bootstrap_interval([0.5, 0.5]) == (0.5, 0.5)
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(values)
    half_width = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half_width, values.mean() + half_width), abs=0.01)
    assert bootstrap_interval(values) == (low, high)


def test_figures_are_written(tmp_path):
    runs = [made_results(), made_results(0.1, seed=4)]
    plot_sequence([("one", runs), ("two", runs[:1])], tmp_path / "figures" / "sequence.png")
    plot_matrix([made_results(until=1, with_success=False)], tmp_path / "figures" / "matrix.png")
    for name in ("sequence.png", "matrix.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path / "figures")) == ["matrix.png", "sequence.png"]


def test_lines_drawn_later_are_narrower():
    for n_methods in (1, 2, 3, 8):
        widths = [line_width(i, n_methods) for i in range(n_methods)]
        assert widths == sorted(set(widths), reverse=True)
        assert widths[0] < 3.9 and widths[-1] == pytest.approx(1.4)


@pytest.mark.parametrize("show", [plot_sequence, lambda results, _path: results_table(results)])
def test_only_runs_over_one_sequence_are_compared(show, tmp_path):
    other = made_results()
    other.segment_steps = (100, 100, 100, 50)
    with pytest.raises(ValueError, match="same sequence"):
        show([("one", [made_results()]), ("other", [other])], tmp_path / "x.png")
    with pytest.raises(ValueError, match="at least one run"):
        show([("one", [])], tmp_path / "x.png")


@pytest.mark.parametrize("show", [plot_sequence, lambda results, path: results_table(results)])
def test_success_rates_and_returns_are_not_averaged(show, tmp_path):
    """One None in a run turns it into returns."""
    other = made_results(seed=4)
    other.evaluations[2].success["b"] = None
    assert other.measure.name == "return"
    for results in ([("one", [made_results(), other])], [("one", [made_results()]), ("two", [other])]):
        words = r"one measure, got success rate \('one', seed 3\) and mean return \('(one|two)', seed 4"
        with pytest.raises(ValueError, match=words):
            show(results, tmp_path / "x.png")


def test_a_run_without_evaluations_tells_no_measure():
    returns, empty = made_results(with_success=False), made_results(until=-1)
    assert check_comparable([("empty", [empty]), ("returns", [returns])]) is returns
    assert check_comparable([("empty", [empty])]) is empty
