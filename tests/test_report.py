"""Statistics, the mean of the last evaluations, and the report that is made of them."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sb3_nbsp.benchmark import report
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.collect import collect
from sb3_nbsp.benchmark.manifest import write_done, write_failed, write_manifest
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.evaluation import Evaluation, SequenceResults
from sb3_nbsp.evaluation.averaging import average_last
from sb3_nbsp.evaluation.records import Kind
from sb3_nbsp.evaluation.statistics import Estimate, estimate, improvement, iqm, mean

# Two strata of ten runs for each of two methods, and what rliable 1.2.0 (arch 7.2.0) says of them: aggregate_mean,
# aggregate_iqm and probability_of_improvement with get_interval_estimates (percentile, 20,000 and 5,000 samples).
X = [[0.6, 0.0, 0.8, 0.6, 0.5, 0.8, 0.9, 0.7, 0.9, 0.3], [0.3, 0.0, 0.9, 0.7, 0.9, 0.0, 0.0, 0.2, 0.5, 0.4]]
Y = [[0.2, 0.9, 0.8, 1.2, 0.9, 0.9, 0.3, 0.7, 0.7, 1.1], [0.3, 0.8, 0.6, 1.2, 0.9, 0.6, 0.9, 0.5, 1.1, 0.6]]


@pytest.mark.parametrize(
    ("strata", "statistic", "expected"),
    [
        (X, mean, (0.50, 0.365, 0.635)),
        (X, iqm, (0.54, 0.33, 0.72)),
        ([*X, *Y], improvement, (0.2725, 0.1275, 0.4425)),
    ],
)
def test_estimates_agree_with_rliable(strata, statistic, expected):
    found = estimate(strata, statistic)
    assert found.value == pytest.approx(expected[0])
    assert (found.low, found.high) == pytest.approx(expected[1:], abs=0.015)
    assert estimate(strata, statistic) == found == estimate([np.array(stratum) for stratum in strata], statistic)


def test_strata_are_resampled_among_themselves():
    """All variance is between the strata here: pooled, the interval would be wide."""
    assert estimate([[0.0] * 5, [1.0] * 5], mean) == Estimate(0.5, 0.5, 0.5)
    pooled = estimate([[0.0] * 5 + [1.0] * 5], mean)
    assert pooled.low < 0.3 and pooled.high > 0.7


def test_unequal_numbers_of_runs():
    assert estimate([[0.0], [1.0, 1.0, 1.0]], mean).value == 0.5
    assert estimate([[2.0], [1.0, 1.0]], improvement).value == 1.0


def test_ties_count_one_half():
    assert estimate([[1.0, 1.0], [1.0, 1.0, 1.0]], improvement) == Estimate(0.5, 0.5, 0.5)


def test_what_cannot_be_estimated():
    single = estimate([[0.25]])
    assert single.value == 0.25 and math.isnan(single.low) and str(single) == "0.25"
    assert str(estimate([[0.5, math.nan]])) == "-"
    with pytest.raises(ValueError, match="at least one run in every stratum"):
        estimate([[0.5], []])


def evaluation(step: int, segment: int, kind: Kind, a: float, b: float) -> Evaluation:
    return Evaluation(step, segment, kind, {"a": a, "b": b}, {"a": 10 * a, "b": 10 * b}, 0.1)


def run_of(last_a: float = 0.0, seed: int = 0, settings: dict | None = None) -> SequenceResults:
    evaluations = [
        evaluation(0, 0, "start", 0.9, 0.9),
        evaluation(5, 0, "interval", 0.5, 0.0),
        evaluation(10, 0, "switch", 1.0, 0.0),
        evaluation(13, 1, "start", 0.0, 0.0),  # went on from a checkpoint
        evaluation(15, 1, "interval", 0.5, 0.5),
        evaluation(20, 1, "switch", last_a, 1.0),
    ]
    return SequenceResults(("a", "b"), ("a", "b"), (10, 10), evaluations, settings or {}, seed, finished=True)


def test_mean_of_the_last_evaluations_of_each_segment():
    run = run_of()
    assert average_last(run, 1) == run
    np.testing.assert_allclose(average_last(run, 2).matrix(), [[0.75, 0.0], [0.25, 0.75]])
    # Nothing of another segment, and no evaluation that only says where a training started or went on.
    np.testing.assert_allclose(average_last(run, 99).matrix(), [[0.75, 0.0], [0.25, 0.75]])
    np.testing.assert_allclose(average_last(run, 2).matrix("return"), [[7.5, 0.0], [2.5, 7.5]])
    assert average_last(run, 2).evaluations[1] == run.evaluations[1]
    with pytest.raises(ValueError, match="1 or more, got 0"):
        average_last(run, 0)


SUITE = """
seeds: [0, 1, 2]
common: {algo: nbspsac}
sequences: {S: {env: sb3_nbsp/PointGoal-v0}, T: {env: sb3_nbsp/PointGoal4-v0}}
methods:
  plain: {algo: sac}
  memory: {axis: {memory_size: [0, 100]}, sequences: [S]}
baselines: [plain]
last_evaluations: 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark with a failed cell, one that was interrupted and one that was not started."""
    (tmp_path / "suite.yml").write_text(SUITE)
    suite = Suite.read(tmp_path / "suite.yml")
    root = tmp_path / "out"
    suite.write(root)
    for cell in suite.cells(root):
        key = cell.sequence, cell.method, cell.seed
        if key == ("S", "plain", 2):
            continue
        write_manifest(cell, None)
        if key == ("S", "memory, memory size 0", 2):
            write_failed(cell, "exit status 1", "what went wrong")
        elif key == ("S", "memory, memory size 100", 2):
            finish(cell, root_of_run=True)
        else:
            finish(cell)
    return root


def finish(cell: Cell, root_of_run: bool = False) -> None:
    better = 0.0 if cell.axis is None else 0.2 + cell.axis[1] / 200
    run = run_of(better + 0.1 * cell.seed, cell.seed)
    if root_of_run:
        replace(run, evaluations=run.evaluations[:3], finished=False).write(cell.folder / "run" / "algo" / "env_1")
    else:
        run.write(cell.folder)
        write_done(cell, 1.0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_report_of_a_benchmark(folder: Path, tmp_path: Path) -> None:
    text = write_report(folder, tmp_path / "report").read_text()
    assert text.index("## S") < text.index("## T") < text.index("## All sequences together") < text.index("## Not counted")
    assert "P(better than *plain*)" in text and "mean of its last 2 evaluations" in text
    missing = text[text.index("## Not counted") :]
    for reason in ("failed: exit status 1", "started, not finished (50%)", "not started"):
        assert reason in missing
    for name in ("intervals", "matrices", "performance-01", "axis-memory_size"):
        assert "![" in text and f"(s/{name}.png)" in text
        assert (tmp_path / "report" / "s" / f"{name}.png").stat().st_size > 5_000
    assert not (tmp_path / "report" / "t" / "axis-memory_size.png").exists()

    summary = {(row["sequence"], row["method"], row["metric"]): row for row in rows_of(tmp_path / "report" / "summary.csv")}
    # Means of the last two evaluations: a (0.5 + last) / 2 with last 0.7, 0.8; b 0.75.
    row = summary["S", "memory, memory size 100", "asr"]
    assert row["runs"] == "2" and float(row["mean"]) == pytest.approx(((0.6 + 0.75) / 2 + (0.65 + 0.75) / 2) / 2)
    assert float(summary["S", "memory, memory size 100", "a"]["mean"]) == pytest.approx(0.625)
    assert summary["all sequences", "plain", "asr"]["runs"] == "2 + 3"
    better = {(row["sequence"], row["method"], row["metric"]): row for row in rows_of(tmp_path / "report" / "improvement.csv")}
    assert float(better["S", "memory, memory size 100", "asr"]["probability"]) == 1.0
    assert float(better["S", "memory, memory size 100", "fm"]["probability"]) == 1.0  # less forgetting is better
    assert len(rows_of(tmp_path / "report" / "runs.csv")) == 9 * 5  # finished runs, metrics and tasks


def test_a_report_is_reproduced(folder: Path, tmp_path: Path) -> None:
    np.random.seed(1)
    first = write_report(folder, tmp_path / "1").read_text()
    np.random.seed(2)
    assert write_report(folder, tmp_path / "2").read_text() == first


def test_single_evaluations_and_other_baselines_on_request(folder: Path, tmp_path: Path) -> None:
    text = write_report(folder, tmp_path / "report", baselines=["memory, memory size 0"], last=1).read_text()
    assert "P(better than *memory, memory size 0*)" in text and "evaluations." not in text
    with pytest.raises(ValueError, match=r"Expected baselines among .*'plain'.*, got \['plane'\]"):
        write_report(folder, tmp_path / "report", baselines=["plane"])


def test_plain_runs_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    def write(number: int, seed: int, finished: bool = True, **settings: object) -> None:
        run = run_of(seed=seed, settings={"algo": "nbspsac", "env": "E", **settings})
        replace(run, finished=finished).write(tmp_path / "nbspsac" / f"E_{number}")

    write(1, seed=0, mask_coef=0.2)
    write(2, seed=1, mask_coef=0.2)
    write(3, seed=1, mask_coef=0.2)  # once more
    write(4, seed=0, mask_coef=0.0)
    write(10, seed=1, mask_coef=0.0, finished=False)
    found = collect(tmp_path)
    assert [(run.method, run.seed, run.path.name) for run in found.runs] == [
        ("nbspsac (mask_coef 0.2)", 0, "E_1"),
        ("nbspsac (mask_coef 0.2)", 1, "E_3"),
        ("nbspsac (mask_coef 0.0)", 0, "E_4"),
    ]
    assert {(entry.path, entry.reason) for entry in found.not_counted} == {
        ("nbspsac/E_10", "not finished (100%)"),
        ("nbspsac/E_2", "another run of this seed is counted"),
    }


def test_runs_of_other_lengths_are_another_sequence(tmp_path: Path) -> None:
    run_of(settings={"algo": "sac", "env": "E"}).write(tmp_path / "short")
    replace(run_of(settings={"algo": "sac", "env": "E"}), segment_steps=(10, 30)).write(tmp_path / "long")
    assert {run.sequence for run in collect(tmp_path).runs} == {"E: a 10, b 10", "E: a 10, b 30"}


def test_nothing_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report.main([str(tmp_path)])
    assert "Expected runs in" in capsys.readouterr().err


def test_only_unfinished_runs(tmp_path: Path) -> None:
    replace(run_of(), finished=False).write(tmp_path / "run")
    text = write_report(tmp_path, tmp_path / "report").read_text()
    assert "Finished runs: 0." in text and "not finished" in text
