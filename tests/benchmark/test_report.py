"""Statistics, the mean of the last evaluations, and the report that is made of them."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.reported_runs import evaluation, run_of, write_benchmark

from sb3_nbsp.benchmark.comparison import group
from sb3_nbsp.benchmark.find_runs import NotCounted, collect
from sb3_nbsp.benchmark.provenance import provenance_section
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.report_figures import most_telling
from sb3_nbsp.evaluation.last_evaluations import average_last
from sb3_nbsp.evaluation.statistics import Estimate, estimate, improvement, iqm, mean
from sb3_nbsp.zoo import report_command

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


@pytest.mark.known_answer
def test_strata_are_resampled_among_themselves():
    """All variance is between the strata here: pooled, the interval would be wide."""
    assert estimate([[0.0] * 5, [1.0] * 5], mean) == Estimate(0.5, 0.5, 0.5)
    pooled = estimate([[0.0] * 5 + [1.0] * 5], mean)
    assert pooled.low < 0.3 and pooled.high > 0.7


@pytest.mark.known_answer
def test_unequal_numbers_of_runs():
    assert estimate([[0.0], [1.0, 1.0, 1.0]], mean).value == 0.5
    assert estimate([[2.0], [1.0, 1.0]], improvement).value == 1.0


@pytest.mark.known_answer
def test_ties_count_one_half():
    assert estimate([[1.0, 1.0], [1.0, 1.0, 1.0]], improvement) == Estimate(0.5, 0.5, 0.5)


@pytest.mark.known_answer
def test_ties_are_not_decided_by_rounding():
    assert 1.0 - 0.8 != 0.8 - 0.6
    assert estimate([[1.0 - 0.8] * 4, [0.8 - 0.6] * 4], improvement) == Estimate(0.5, 0.5, 0.5)


def test_what_cannot_be_estimated():
    single = estimate([[0.25]])
    assert single.value == 0.25 and math.isnan(single.low) and str(single) == "0.25"
    assert str(estimate([[0.5, math.nan]])) == "-"
    with pytest.raises(ValueError, match="at least one run in every stratum"):
        estimate([[0.5], []])


@pytest.mark.known_answer
def test_mean_of_the_last_evaluations_of_each_segment():
    run = run_of()
    assert average_last(run, 1) == run
    np.testing.assert_allclose(average_last(run, 2).matrix(), [[0.75, 0.0], [0.25, 0.75]])
    # Nothing of another segment, and no evaluation that only says where a training started or went on.
    np.testing.assert_allclose(average_last(run, 99).matrix(), [[0.75, 0.0], [0.25, 0.75]])
    np.testing.assert_allclose(average_last(run, 2).matrix("return"), [[7.5, 0.0], [2.5, 7.5]])
    assert average_last(run, 2).evaluations[1] == run.evaluations[1]
    # Nor one that was made because a training stopped there.
    stopped = replace(run, evaluations=[*run.evaluations[:5], evaluation(17, 1, "end", 0.9, 0.9), *run.evaluations[5:]])
    np.testing.assert_allclose(average_last(stopped, 99).matrix(), average_last(run, 99).matrix())
    with pytest.raises(ValueError, match="1 or more, got 0"):
        average_last(run, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_runs_in_different_measures_are_not_averaged(folder: Path) -> None:
    runs = collect(folder).runs
    assert len(group(runs, 2)) == 2
    runs[0].results.evaluations[-1].success["b"] = None
    with pytest.raises(ValueError, match="Expected runs in one measure, got "):
        group(runs, 2)


@pytest.mark.known_answer
def test_report_of_a_benchmark(folder: Path, tmp_path: Path) -> None:
    text = write_report(folder, tmp_path / "report").read_text()
    assert text.index("## S") < text.index("## T") < text.index("## All sequences together") < text.index("## Not counted")
    assert "P(better than plain)" in text and "mean of its last 2 evaluations" in text
    missing = text[text.index("## Not counted") :]
    for reason in ("failed: exit status 1", "started, not finished (50%)", "not started"):
        assert f"- {reason}: S, seed 2: " in missing
    figures = tmp_path / "report" / "figures"
    for name in ("intervals", "matrices-1", "performance", "axis-memory_size", "scores-03-memory-memory-size-100"):
        assert f"(figures/s/{name}.png)" in text
        assert (figures / "s" / f"{name}.png").stat().st_size > 5_000
    assert sorted(path.stem for path in (figures / "t").iterdir()) == ["intervals", "matrices-1", "performance"]

    summary = {(row["sequence"], row["method"], row["metric"]): row for row in rows_of(tmp_path / "report" / "summary.csv")}
    # Means of the last two evaluations: a (0.5 + last) / 2 with last 0.7, 0.8; b 0.75.
    row = summary["S", "memory, memory size 100", "asr"]
    assert row["runs"] == "2" and float(row["mean"]) == pytest.approx(((0.6 + 0.75) / 2 + (0.65 + 0.75) / 2) / 2)
    assert float(summary["S", "memory, memory size 100", "a"]["mean"]) == pytest.approx(0.625)
    assert summary["all sequences", "plain", "asr"]["runs"] == "2 + 3"
    better = {(row["sequence"], row["method"], row["metric"]): row for row in rows_of(tmp_path / "report" / "improvement.csv")}
    assert float(better["S", "memory, memory size 100", "asr"]["probability"]) == 1.0
    assert float(better["S", "memory, memory size 100", "fm"]["probability"]) == 1.0  # less forgetting is better
    assert len(rows_of(tmp_path / "report" / "runs.csv")) == 9 * 6  # finished runs, metrics and tasks


@pytest.mark.usefixtures("tables_only")
def test_a_report_is_reproduced(folder: Path, tmp_path: Path) -> None:
    np.random.seed(1)
    first = write_report(folder, tmp_path / "1").read_text()
    np.random.seed(2)
    assert write_report(folder, tmp_path / "2").read_text() == first


@pytest.mark.usefixtures("tables_only")
def test_single_evaluations_and_other_baselines_on_request(folder: Path, tmp_path: Path) -> None:
    text = write_report(folder, tmp_path / "report", baselines=["memory, memory size 0"], last=1).read_text()
    assert "P(better than memory, memory size 0)" in text and "evaluations." not in text
    with pytest.raises(ValueError, match=r"Expected baselines among .*'plain'.*, got \['plane'\]"):
        write_report(folder, tmp_path / "report", baselines=["plane"])


@pytest.mark.usefixtures("tables_only")
def test_settings_are_told_once(folder: Path, tmp_path: Path) -> None:
    text = write_report(folder, tmp_path / "report").read_text()
    told = text[text.index("## What was trained") : text.index("## Not counted")]
    assert "Where a method names no other: `--algo sac`." in told  # most cells' algorithm
    rows = {name.strip(): adds.strip() for _, name, adds, _ in (row.split("|") for row in told.splitlines() if "|" in row)}
    assert rows["plain"] == "" and rows["memory, memory size 100"] == "`--algo nbspsac` `memory_size:100`"
    assert rows["S"] == "`--env sb3_nbsp/PointGoal-v0`"


def test_missing_seeds_of_many_methods_take_a_line(folder: Path, tmp_path: Path) -> None:
    found = collect(folder)
    names = [f"m{number}" for number in range(12)]
    suite = {"cells": [{"sequence": "S", "method": name, "seed": seed} for name in names for seed in range(6)]}
    missing = [NotCounted(name, "S", (0, 1, 2, 5), "not started") for name in names[:-1]]
    text = "\n".join(provenance_section(replace(found, not_counted=missing, suites=[suite])))
    assert text.endswith("- not started: S, seeds 0 to 2, 5: all 12 methods but m11")
    missing = [*missing, NotCounted("m11", "S", (0, 1, 2, 5), "not started")]
    text = "\n".join(provenance_section(replace(found, not_counted=missing, suites=[suite])))
    assert text.endswith("- not started: S, seeds 0 to 2, 5: all 12 methods")


def test_trainings_that_were_stopped_are_named(folder: Path) -> None:
    found = collect(folder)
    assert "stopped" not in "\n".join(provenance_section(found))
    first = next(run for run in found.trained if run.manifest)
    files = {**first.record.files, "manifest.json": {**first.manifest, "starts": ["2026-11-28", "2026-11-29"]}}
    stopped = replace(first, record=replace(first.record, files=files))
    lines = "\n".join(provenance_section(replace(found, runs=[stopped, *found.runs]))).splitlines()
    assert f"- stopped, and gone on with later: {first.sequence}: {first.method} (seed {first.seed})" in lines


def test_curves_that_are_drawn_together(folder: Path) -> None:
    (comparison, _) = group(collect(folder).runs, 1)
    best = replace(comparison.methods[-1], name="best")
    many = [comparison.methods[0], *(replace(comparison.methods[1], name=f"m{number}") for number in range(8)), best]
    chosen = [method.name for method in most_telling(many, ["plain"])]
    assert chosen == ["plain", "m0", "m1", "best"]
    copies = replace(best, name="saved copy per task")  # a policy for each task is no rival
    assert [method.name for method in most_telling([*many, copies], ["plain"])] == chosen


@pytest.mark.usefixtures("tables_only")
def test_what_is_folded_up_is_not_printed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_command.main([str(folder), "-o", str(tmp_path / "report")])
    printed = capsys.readouterr().out
    assert "ASR" in printed and "Not counted" in printed
    assert "details" not in printed and ".png" not in printed and "Interquartile means" not in printed


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
    assert [(run.method, run.seed, Path(run.record.folder).name) for run in found.runs] == [
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
        report_command.main([str(tmp_path)])
    assert "Expected runs in" in capsys.readouterr().err


def test_only_unfinished_runs(tmp_path: Path) -> None:
    replace(run_of(), finished=False).write(tmp_path / "run")
    text = write_report(tmp_path, tmp_path / "report").read_text()
    assert "Finished runs: 0." in text and "not finished" in text


def test_runs_without_a_seed_all_count(tmp_path: Path):
    """Of scripts that gave their models none. With the same seed twice one counts."""
    for folder, seed in (("a", None), ("b", None), ("c", 3), ("d", 3)):
        replace(run_of(), seed=seed).write(tmp_path / folder)
    found = collect(tmp_path)
    assert sorted(str(run.seed) for run in found.runs) == ["3", "None", "None"]
    assert [entry.reason for entry in found.not_counted] == ["another run of this seed is counted"]
