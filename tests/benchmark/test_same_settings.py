"""A method on a sequence is one thing with several seeds: other settings under its name are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reported_runs import run_of

from sb3_nbsp.benchmark import report
from sb3_nbsp.benchmark.archive import write_archive
from sb3_nbsp.benchmark.comparison import group
from sb3_nbsp.benchmark.find_runs import collect
from sb3_nbsp.benchmark.local_runner import run_cells
from sb3_nbsp.benchmark.manifest import ForeignCellError, check_manifest, write_done, write_failed, write_manifest
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.same_settings import settings_differ
from sb3_nbsp.benchmark.suite import Suite

SUITE = """
seeds: {seeds}
common: {{algo: nbspsac}}
sequences: {{{sequence}: {{env: sb3_nbsp/PointGoal-v0}}}}
methods: {{NBSP: {{params: {{mask_coef: {coef}}}}}}}
last_evaluations: {last}
"""


def suite_of(folder: Path, seeds: list[int], coef: float, sequence: str = "S", last: int = 1) -> Suite:
    path = folder / "suite.yml"
    path.write_text(SUITE.format(seeds=seeds, coef=coef, sequence=sequence, last=last))
    return Suite.read(path)


def train(suite: Suite, folder: Path) -> Path:
    """As if all cells were trained."""
    suite.write(folder)
    for cell in suite.cells(folder):
        write_manifest(cell, None)
        run_of(seed=cell.seed).write(cell.folder)
        write_done(cell, 1.0)
    return folder


def test_a_suite_that_was_changed_is_refused_for_other_seeds_too(tmp_path: Path) -> None:
    out = train(suite_of(tmp_path, [0, 1], 0.1), tmp_path / "out")
    write_archive(out, tmp_path / "archive")
    for folder in (out, tmp_path / "archive"):
        for cell in suite_of(tmp_path, [2], 0.1).cells(folder):
            check_manifest(cell)
        for cell in suite_of(tmp_path, [2], 0.9).cells(folder):
            with pytest.raises(
                ForeignCellError,
                match=r"Expected NBSP, S, seed 2 to have the settings of seed [01] in .*mask_coef: 0.1 there, 0.9",
            ):
                run_cells([cell], n_jobs=1)


def test_seeds_that_failed_are_no_reason(tmp_path: Path) -> None:
    (failed,) = suite_of(tmp_path, [0], 0.1).cells(tmp_path / "out")
    write_manifest(failed, None)
    write_failed(failed, "exit status 1", "")
    (cell,) = suite_of(tmp_path, [1], 0.9).cells(tmp_path / "out")
    check_manifest(cell)


def test_a_report_on_two_settings_under_one_name_is_refused(tmp_path: Path) -> None:
    out = train(suite_of(tmp_path, [0, 1], 0.1), tmp_path / "out")
    train(suite_of(tmp_path, [2, 3], 0.9), out)
    told = r"for 'NBSP' on 'S', got seed 0, 1 \(s/nbsp/seed0\) and seed 2, 3 \(s/.*mask_coef: 0.1 there, 0.9 here"
    with pytest.raises(ValueError, match=told):
        collect(out)


def test_suites_with_other_settings_are_told_apart_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under one parent, also where one of them is an archive. Those of the same settings are one."""
    for folder, seeds, coef in (("one", [0, 1], 0.1), ("other", [1, 2], 0.9), ("more", [2], 0.1)):
        train(suite_of(tmp_path, seeds, coef), tmp_path / folder)
        write_archive(tmp_path / folder, tmp_path / "all" / folder)
    train(suite_of(tmp_path, [0, 1], 0.1, "T"), tmp_path / "all" / "tasks")
    found = collect(tmp_path / "all")
    told = {
        ("S (more, one)", 0),
        ("S (more, one)", 1),
        ("S (more, one)", 2),
        ("S (other)", 1),
        ("S (other)", 2),
        ("T", 0),
        ("T", 1),
    }
    assert {(run.sequence, run.seed) for run in found.runs} == told and len(found.runs) == 7 and not found.not_counted
    monkeypatch.setattr(report, "draw", lambda *_: None)
    text = write_report(tmp_path / "all", tmp_path / "report").read_text()
    assert [line for line in text.splitlines() if line.startswith("## S")] == ["## S (more, one)", "## S (other)"]
    assert "mask_coef:0.9" in text


def test_what_does_not_decide_over_numbers_is_no_other_setting(tmp_path: Path) -> None:
    """Checkpoints, and a default that is written down."""
    out = train(suite_of(tmp_path, [0, 1], 0.1), tmp_path / "out")
    (cell, _) = suite_of(tmp_path, [2, 3], 0.1).cells(out)
    cell = replace(cell, arguments=("--checkpoint-freq", "100", *cell.arguments, "memory_size:10000"))
    check_manifest(cell)
    write_manifest(cell, None)
    run_of(seed=2).write(cell.folder)
    write_done(cell, 1.0)
    assert len(collect(out).runs) == 3


SAME = ["--eval-freq", "5", "--env-kwargs", "n_envs:2", "horizon:9", "-params", "gamma:0.9", "tau:-1", "-P"]


@pytest.mark.parametrize(
    ("arguments", "is_same"),
    [
        (["-params", "tau:-1", "gamma:0.9", "--env-kwargs", "horizon:9", "n_envs:2", "--eval-freq=5"], True),
        ([*SAME, "--verbose", "0", "--device=cuda", "--num-threads", "-1", "--progress"], True),
        ([*SAME, "--vec-env", "subproc"], False),
        (["--eval-freq", "5", "--env-kwargs", "n_envs:9", "horizon:2", "-params", "gamma:0.9", "tau:-1"], False),
        ([*SAME[:-1], "tau:0.5"], False),
    ],
)
def test_neither_order_nor_what_changes_nothing_is_another_setting(arguments: list[str], is_same: bool) -> None:
    there = {"algo": "sac", "env": "sb3_nbsp/PointGoal-v0", "arguments": SAME}
    assert bool(settings_differ(there, {**there, "arguments": arguments})) is not is_same
    assert bool(settings_differ({**there, "arguments": arguments}, there)) is not is_same


def test_of_what_is_given_twice_the_last_counts() -> None:
    there = {"algo": "sac", "env": "sb3_nbsp/PointGoal-v0", "arguments": ["-params", "tau:1", "tau:2"]}
    assert settings_differ(there, {**there, "arguments": ["-params", "tau:2", "tau:1"]})


def test_of_many_arguments_those_that_differ_are_named() -> None:
    there = {"algo": "sac", "env": "sb3_nbsp/PointGoal-v0", "arguments": SAME}
    other = settings_differ(there, {**there, "arguments": [*SAME[:-2], "tau:0.5", "--vec-env", "subproc"]})
    assert other == {"arguments": (["-params tau:-1"], ["--vec-env subproc", "-params tau:0.5"])}


def test_each_sequence_is_judged_as_its_own_suite_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under one parent: the mean of a sequence's last two evaluations, and of another one's last."""
    train(suite_of(tmp_path, [0, 1], 0.1, "S", last=2), tmp_path / "both" / "one")
    train(suite_of(tmp_path, [0, 1], 0.1, "T", last=1), tmp_path / "both" / "other")
    monkeypatch.setattr(report, "draw", lambda *_: None)
    text = write_report(tmp_path / "both", tmp_path / "report").read_text()
    assert "On S each segment is judged by the mean of its last 2 evaluations.\n" in text and "On T" not in text
    s, t = (text[text.index(f"## {name}\n") :] for name in "ST")
    assert "| NBSP   | 2     | 0.50 [" in s and "| NBSP   | 2     | 0.50 [" in t
    assert "| 0.25 [0.25, 0.25] |" in s and "| 0.00 [0.00, 0.00] |" in t  # a at the end: the mean of 0.5 and 0, and 0
    assert [comparison.last for comparison in group(collect(tmp_path / "both").runs, 1)] == [1, 1]  # asked for


@pytest.mark.parametrize("n_jobs", [0, -1, 1.5, True])
def test_less_than_one_process_is_refused(tmp_path: Path, n_jobs: object) -> None:
    (cell,) = suite_of(tmp_path, [0], 0.1).cells(tmp_path)
    with pytest.raises(ValueError, match="n_jobs must be a whole number"):
        run_cells([cell], n_jobs)  # type: ignore[arg-type]
