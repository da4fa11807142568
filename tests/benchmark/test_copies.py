"""A method that is read from another one's runs: each task as it was at its end, and nothing is trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.reported_runs import evaluation, run_of

from sb3_nbsp.benchmark.comparison import group
from sb3_nbsp.benchmark.find_runs import collect
from sb3_nbsp.benchmark.manifest import write_done, write_manifest
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.suite import Suite, SuiteError
from sb3_nbsp.evaluation.judged_by_copies import judged_by_copies

SUITE = """
seeds: [0, 1]
common: {algo: nbspsac}
sequences: {S: {env: sb3_nbsp/PointGoal-v0}}
methods:
  copy: {copies_of: plain}
  plain: {params: {skill_fraction: 0}}
  other: {}
baselines: [copy]
last_evaluations: 2
"""


def suite_of(folder: Path, text: str = SUITE) -> Suite:
    (folder / "suite.yml").write_text(text)
    return Suite.read(folder / "suite.yml")


def trained(folder: Path, text: str = SUITE) -> Path:
    """A folder in which all that is to be trained is done."""
    suite, out = suite_of(folder, text), folder / "out"
    suite.write(out)
    for cell in suite.cells(out):
        write_manifest(cell, None)
        run_of(seed=cell.seed, last_a=0.25 * cell.seed).write(cell.folder)
        write_done(cell, 3600.0)
    return out


@pytest.mark.known_answer
def test_a_task_keeps_what_it_had_at_its_last_visit_end():
    """a, b, a: b is kept from its end on, a from its first visit's end until it is trained again."""
    played = [
        evaluation(5, 0, "interval", 0.5, 0.1),
        evaluation(10, 0, "switch", 1.0, 0.2),
        evaluation(15, 1, "interval", 0.3, 0.4),
        evaluation(20, 1, "switch", 0.1, 0.9),
        evaluation(25, 2, "interval", 0.6, 0.5),
        evaluation(30, 2, "switch", 0.8, 0.0),
        evaluation(31, 2, "end", 0.7, 0.0),
    ]
    run = replace(run_of(), segments=("a", "b", "a"), segment_steps=(10, 10, 10), evaluations=played)
    found = judged_by_copies(run)
    assert [e.success for e in found.evaluations] == [
        {"a": 0.5, "b": 0.1},
        {"a": 1.0, "b": 0.2},
        {"a": 1.0, "b": 0.4},
        {"a": 1.0, "b": 0.9},
        {"a": 0.6, "b": 0.9},
        {"a": 0.8, "b": 0.9},
        {"a": 0.7, "b": 0.9},
    ]
    np.testing.assert_allclose(found.matrix("return"), [[10, 2], [10, 9], [8, 9]])
    assert run.evaluations == played


def test_a_task_that_was_not_played_at_its_end_is_named():
    run = run_of()
    run.evaluations[2] = replace(run.evaluations[2], success={"b": 0.0}, mean_return={"b": 0.0})
    with pytest.raises(ValueError, match="Expected a to be played at its end, step 10"):
        judged_by_copies(run)


def test_holes_stay_holes():
    run = run_of()
    run.evaluations[4] = replace(run.evaluations[4], success={"b": 0.5}, mean_return={"b": 5.0})
    assert judged_by_copies(run).evaluations[4].success == {"b": 0.5}


def test_nothing_is_trained_for_it_and_the_report_has_its_row(tmp_path: Path):
    out = trained(tmp_path)
    assert {cell.method for cell in suite_of(tmp_path).cells(out)} == {"plain", "other"}
    found = collect(out)
    assert [run.method for run in found.runs] == ["copy", "copy", "plain", "plain", "other", "other"]
    assert {run.method for run in found.trained} == {"plain", "other"} and not found.not_counted
    text = write_report(out, tmp_path / "report", figures=[]).read_text()
    assert "Finished runs: 4. Methods: 3." in text
    assert "*copy* is read from the runs of *plain*: each task as it was at its last visit's end, judged there like" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| copy ") and "| 2 " in line][:1]
    assert "0.75 [0.75, 0.75]" in row and "| 0.00 [0.00, 0.00] |" in row  # a: the mean of 0.5 and 1 at its end; b as well
    assert "| copy " not in text[text.index("What was trained") :]


@pytest.mark.known_answer
def test_a_copy_loses_nothing_whatever_its_last_evaluations_were(tmp_path: Path):
    """It is judged by the mean of a segment's last evaluations, as its original is, and then stays."""
    (comparison,) = group(collect(trained(tmp_path)).runs)
    copy, plain = comparison.method("copy"), comparison.method("plain")
    assert comparison.last == 2 and copy is not None and plain is not None
    assert copy.values("fm") == [0.0, 0.0] and copy.values("a") == [0.75, 0.75]
    assert copy.values("b") == plain.values("b") and copy.values("fwt") == plain.values("fwt")
    assert [run.evaluations[-1].success for run in copy.curves] == [{"a": 1.0, "b": 1.0}] * 2  # as played


def test_a_training_of_that_name_counts_before_it(tmp_path: Path):
    out = trained(tmp_path, SUITE.replace("{copies_of: plain}", "{params: {skill_fraction: 0}}"))
    suite_of(tmp_path).write(out)
    found = collect(out)
    assert len(found.runs) == len(found.trained) == 6


@pytest.mark.known_answer
def test_each_seed_is_judged_as_what_it_is(tmp_path: Path):
    """A method of which one seed was trained and the other is a copy: the training may forget, the copy does not."""
    runs = collect(trained(tmp_path)).runs
    copy, plain = ({run.seed: run for run in runs if run.method == name} for name in ("copy", "plain"))
    was_trained = replace(plain[0], method="copy")
    for mixed in ([was_trained, copy[1]], [copy[1], was_trained]):
        (comparison,) = group([*mixed, *plain.values()])
        found, original = (comparison.method(name) for name in ("copy", "plain"))
        assert found is not None and original is not None
        forgotten = dict(zip([run.seed for run in found.judged], found.values("fm"), strict=True))
        assert forgotten == {0: original.values("fm")[0], 1: 0.0} and forgotten[0] > 0


def test_only_what_is_trained_can_be_asked_for(tmp_path: Path):
    suite = suite_of(tmp_path)
    assert {cell.method for cell in suite.cells(tmp_path, only=["copy", "other"])} == {"other"}
    with pytest.raises(SuiteError, match=r"'copy' is not trained: a report reads it from the runs of 'plain'\. Name these\."):
        suite.cells(tmp_path, only=["cop*"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{copies_of: plan}", "Expected copies_of one of the trained methods 'plain', 'other', got 'plan'"),
        ("{copies_of: copy}", "got 'copy'"),
        (
            "{copies_of: plain, params: {gamma: 0.9}}",
            "'copy' is read from the runs of 'plain'; got settings besides: 'params'",
        ),
        ("{copies_of: 3}", "Expected a str for 'copies_of'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, entry: str, message: str):
    with pytest.raises(SuiteError, match=message):
        suite_of(tmp_path, SUITE.replace("{copies_of: plain}", entry))
