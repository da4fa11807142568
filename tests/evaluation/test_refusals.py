"""Metrics, tables and figures refuse what would give a wrong number, and say what they expect."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.reported_runs import run_of, skill_neurons

from sb3_nbsp.evaluation import (
    Evaluation,
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
    normalised_return,
    plot_matrix,
    plot_score_histogram,
    plot_score_histograms,
    plot_sequence,
    results_table,
    results_text,
    summarize,
)
from sb3_nbsp.evaluation.small_multiples import plot_curves, plot_matrices
from sb3_nbsp.evaluation.statistics import estimate, improvement

MATRIX = [[0.9, 0.1, 0.0], [0.5, 0.8, 0.1], [0.4, 0.6, 0.7]]
NAN = math.nan


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cw_forgetting([1, 1, 1], [0]), "as many values in after_training as in at_end, got 3 .* and 1"),
        (lambda: cw_forgetting([1], [0, 1]), "got 1 in after_training and 2 in at_end"),
        (lambda: cw_forgetting([1, 1, 1], [0, 1]), "as many values"),
        (lambda: cw_forgetting([[1, 1]], [[0, 1]]), r"after_training \[n_segments\], got shape \(1, 2\)"),
        (lambda: cw_forgetting(1.0, 0.5), r"after_training \[n_segments\], got shape \(\)"),
        (lambda: cw_forgetting(["a"], [0]), "Expected numbers in after_training"),
        (lambda: cw_forward_transfer([0.5, 0.6], [0.2]), "as many values in auc as in baseline_auc, got 2"),
        (lambda: cw_forward_transfer([50, 60], [0.2, 0.3]), "Expected areas .* between 0 and 1, .*percentages must be scaled"),
        (lambda: cw_forward_transfer([0.5, -0.1], [0.2, 0.3]), "Expected areas"),
        (lambda: cw_forward_transfer([0.5], [20]), "Expected baseline areas"),
        (lambda: cw_performance([1.0, 0.0]), r"\[n_evaluations, n_tasks\], got shape \(2,\)"),
        (lambda: cw_performance([["a"]]), "Expected numbers in the last evaluations"),
        (lambda: area_under_curve([0, 100, 50], [0, 1, 1], 0, 100), "env steps in their order"),
        (lambda: area_under_curve([0, NAN, 50], [0, 1, 1], 0, 100), "env steps in their order"),
        (lambda: area_under_curve([0, 50], [0, 1, 1], 0, 100), "as many values in steps as in values"),
        (lambda: area_under_curve([0, 50], [0, 1], 100, 0), "starts before its end, got 100 to 0"),
        (lambda: area_under_curve([[0, 50]], [[0, 1]], 0, 100), "Expected steps"),
        (lambda: bootstrap_interval([0.1, 0.5, 0.9], 95), r"confidence must be a number in \[0, 1\]; got 95"),
        (lambda: estimate([[0.1, 0.5]], confidence=-0.1), "confidence must be"),
        (lambda: estimate([[0.1, 0.5]], confidence="0.95"), "confidence must be"),
        (lambda: bootstrap_interval(["a", 1]), "Expected numbers in the values of the seeds"),
        (lambda: bootstrap_interval([[0.1, 0.2], [0.3, 0.4]]), r"values of the seeds .*got shape"),
        (lambda: estimate([["a"]]), "Expected numbers in every stratum"),
        (lambda: estimate([[1.0], [0.5], [0.2]], improvement), "strata of two methods"),
        (lambda: forgetting_measure(MATRIX, ["a", "b", "c"]), r"indices \(int\) from 0 to 2 .*segment_indices"),
        (lambda: forgetting_measure(MATRIX, [0.0, 1.0, 2.0]), r"indices \(int\) from 0 to 2"),
        (lambda: average_success_without_last(MATRIX, [0.0, 1.0, 2.0]), r"indices \(int\)"),
        (lambda: forward_transfer([[1, 0], [1, 0]], [False, True]), r"indices \(int\) .* got \[False, True\]"),
        (lambda: forgetting_measure(MATRIX, [0, 1, -1]), r"indices \(int\)"),
        (lambda: forgetting_measure(MATRIX, None), "one task index per row"),
        (lambda: forgetting_measure(MATRIX, 0), "one task index per row"),
        (lambda: forward_transfer(MATRIX, [0, 1, 2], "x"), "Expected numbers in reference"),
        (lambda: forward_transfer(MATRIX, [0, 1, 2], [0.1]), "one per task"),
        (lambda: average_success([[1, 2], [1]]), "Expected numbers in the performance matrix"),
        (lambda: summarize({"asr": 1.0}), r"metrics must be Metrics.*got dict"),
        (lambda: normalised_return(5, 3), "two returns"),
        (lambda: normalised_return(5, (1, 2, 3)), "two returns"),
    ],
)
def test_metrics_refuse_what_does_not_fit(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


@pytest.mark.known_answer
def test_what_fits_is_taken():
    segments = np.array([0, 1, 2])
    assert forgetting_measure(np.array(MATRIX), segments) == pytest.approx((0.9 - 0.4 + 0.8 - 0.6) / 2)
    assert forward_transfer(MATRIX, segments, 0.1) == forward_transfer(MATRIX, (0, 1, 2), [0.1] * 3) == pytest.approx(0.7)
    assert area_under_curve([0, 50, 50, 100], [0, 0, 1, 1], 0, 100) == 0.5  # stopped and went on at one step
    assert math.isnan(area_under_curve([50, 50], [0, 1], 0, 100)) and math.isnan(area_under_curve([0, 9], [0, 1], NAN, NAN))
    assert math.isnan(cw_forgetting([], [])) and math.isnan(cw_forward_transfer([], []))
    assert math.isnan(cw_forward_transfer([0.5, NAN], [0.2, 0.3]))
    assert bootstrap_interval([0.1, 0.5, 0.9], 1.0) == pytest.approx((0.1, 0.9))


# Results made by hand


@pytest.mark.parametrize("kind", ["swich", "", None, 1])
def test_an_evaluation_of_an_unknown_kind_is_refused(kind):
    """Its row would be missing in the matrix, and all metrics NaN."""
    with pytest.raises(ValueError, match="kind must be one of start, interval, switch, end; got"):
        Evaluation(10, 0, kind, {"a": 1.0}, {"a": 1.0}, 0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"segments": ("a", "x")}, r"segments must be names of tasks \(a, b\); got \['a', 'x'\]"),
        ({"segments": "ab"}, "segments must be a tuple; got 'ab'"),
        ({"segments": ()}, "segments must be names"),
        ({"task_names": ("a", "a")}, "different names"),
        ({"segment_steps": (10,)}, "segment_steps must be"),
        ({"segment_steps": (10, 0)}, "segment_steps must be"),
        ({"evaluations": [{"step": 0}]}, "evaluation 0 must be an Evaluation; got {'step': 0}"),
        ({"evaluations": None}, "evaluations must be a list"),
        ({"evaluations": run_of().evaluations[::-1]}, "order of their steps"),
        ({"evaluations": [replace(run_of().evaluations[0], success={"a": 50.0, "b": 0.0})]}, "success of evaluation 0 on 'a'"),
        ({"evaluations": [replace(run_of().evaluations[0], segment=2)]}, "segment of evaluation 0"),
        ({"seed": "0"}, "seed has the wrong type"),
    ],
)
def test_results_that_no_run_leaves_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(run_of(), **change)


def test_lists_become_tuples_so_that_runs_can_be_compared():
    assert SequenceResults(["a", "b"], ["a", "b"], [10, 10]).sequence == run_of().sequence


@pytest.mark.parametrize("metric", ["succes", "hns", "returns"])
def test_a_metric_that_is_none_is_not_read_as_returns(metric):
    with pytest.raises(ValueError, match=f"Unknown metric '{metric}'"):
        run_of().values(metric)


# Tables and figures

SHOW = {
    "table": lambda results, _: results_table(results),
    "sequence": plot_sequence,
    "curves": plot_curves,
    "matrices": plot_matrices,
}


@pytest.mark.parametrize("show", SHOW.values(), ids=SHOW)
@pytest.mark.parametrize(
    ("results", "words"),
    [
        (run_of(), r"pairs of a label and its runs.* got SequenceResults"),
        ([run_of()], "got one with SequenceResults in it"),
        ({"m": [run_of()]}, r"got dict\. list\(results\.items\(\)\)"),
        ([("m", run_of())], r"runs of 'm' as a list of SequenceResults, got SequenceResults.*\[run\]"),
        ([("m", ["results.json"])], r"runs of 'm' .*got a list of str"),
        ([(3, [run_of()])], "got one with a tuple of int, list in it"),
        ([("m", [run_of()], "red")], "got one with a tuple of str, list in it"),
        ("m", "got str"),
        ([("m", [run_of(), run_of()])], "different seeds, got seed 0 twice or more among those of 'm'"),
        ([("m", [run_of(seed=n) for n in (0, 1, 2, 1)])], "got seed 1 twice"),
        ([("m", [replace(run_of(), seed=None)] * 2)], "got the same run twice"),
    ],
)
def test_what_is_no_labelled_runs_is_refused(show, results, words, tmp_path):
    with pytest.raises((ValueError, TypeError), match=words):
        show(results, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_runs_without_seeds_and_seeds_of_other_methods_are_taken():
    without = [replace(run_of(), seed=None), replace(run_of(), seed=None)]
    table = results_table([("one", [run_of()]), ("two", [run_of()]), ("without", without)])
    rows = [[cell.strip() for cell in line.strip("| ").split("|")][:2] for line in table.splitlines()]
    assert rows[2:5] == [["one", "1"], ["two", "1"], ["without", "2"]]


@pytest.mark.parametrize("runs", [run_of(), {"m": [run_of()]}, ["results.json"], [("m", [run_of()])]])
def test_a_matrix_is_drawn_of_a_list_of_runs(runs, tmp_path):
    with pytest.raises(TypeError, match="Expected runs as a list of SequenceResults, got"):
        plot_matrix(runs, tmp_path / "x.png")


@pytest.mark.parametrize("name", ["m", "m.tmp", "m.", "folder/m.results"])
def test_a_figure_needs_the_suffix_of_an_image(name, tmp_path):
    draws = [
        lambda path: plot_matrix([run_of()], path),
        lambda path: plot_sequence([("m", [run_of()])], str(path)),
        lambda path: plot_score_histogram(skill_neurons(), path),
    ]
    for draw in draws:
        with pytest.raises(ValueError, match=rf"path must end in \.png or another format .*pdf.*; got '.*{name}'"):
            draw(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["svg", "PNG"])
def test_other_formats_are_written(suffix, tmp_path):
    plot_matrix([run_of()], tmp_path / f"m.{suffix}")
    assert (tmp_path / f"m.{suffix}").stat().st_size > 1000


def test_other_things_than_results_and_skill_neurons_are_refused(tmp_path):
    with pytest.raises(TypeError, match="results must be SequenceResults, of one run; got list"):
        results_text([run_of()])
    with pytest.raises(TypeError, match="SkillNeurons of one task, got dict"):
        plot_score_histogram({"a": skill_neurons()}, tmp_path / "x.png")
    for wrong in ({"a": skill_neurons()}, [skill_neurons()]):
        with pytest.raises(TypeError, match="list of dicts of SkillNeurons by task"):
            plot_score_histograms(wrong, tmp_path / "x.png")


def test_an_area_that_rounding_makes_larger_than_1_is_one_of_a_success_rate():
    assert cw_forward_transfer([1 + 1e-12, 0.5], [0.5, 0.5]) == pytest.approx(0.5)
    assert all(math.isnan(cw_forward_transfer([0.5, 0.9], [baseline, 0.5])) for baseline in (1 - 1e-12, 1.0, 1 + 1e-12))
