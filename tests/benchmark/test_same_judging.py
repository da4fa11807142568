"""No other suite takes the place of the one that runs were made under, and has them judged otherwise."""

from pathlib import Path

import pytest
from helpers.reported_runs import run_of

from sb3_nbsp.benchmark import report
from sb3_nbsp.benchmark.archive import write_archive
from sb3_nbsp.benchmark.manifest import write_done, write_manifest
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.zoo import benchmark_command

METHODS = "methods: {plain: {}, old: {params: {mask_coef: 0.1}}, copy: {copies_of: plain}}"
JUDGED = f"{METHODS}\nbaselines: [plain]\nreferences: plain\nlast_evaluations: 1\n"
OTHERWISE = {
    "last_evaluations: 1 there, 2 here": JUDGED.replace("last_evaluations: 1", "last_evaluations: 2"),
    r"baselines: \['plain'\] there, \['old'\] here": JUDGED.replace("[plain]", "[old]"),
    r"baselines: \['plain'\] there, \[\] here": JUDGED.replace("[plain]", "[]"),
    "references: 'plain' there, None here": JUDGED.replace("references: plain\n", ""),
    r"copies: {'copy': 'plain'} there, {} here": JUDGED.replace(", copy: {copies_of: plain}", ""),
}
GROWN = {
    "a method": JUDGED.replace("old:", "new: {params: {mask_coef: 0.3}}, old:"),
    "a baseline": JUDGED.replace("[plain]", "[old, plain]"),
    "an alias": JUDGED.replace("plain", "fine-tuning") + "aliases: {plain: fine-tuning}\n",
    "fewer methods": JUDGED.replace("old: {params: {mask_coef: 0.1}}, ", ""),
}


def trained(folder: Path, judged: str, sequence: str = "S", name: str = "first", seeds: str = "[0, 1]") -> Path:
    """As if all cells of a suite were trained."""
    path = written(folder, judged, sequence, name, seeds)
    suite = Suite.read(path)
    suite.write(folder)
    for cell in suite.cells(folder):
        write_manifest(cell, None)
        run_of(0.1, cell.seed).write(cell.folder)
        write_done(cell, 1.0)
    return folder


def written(folder: Path, judged: str, sequence: str, name: str, seeds: str = "[0, 1]") -> Path:
    path = folder.parent / f"{name}.yml"
    head = f"seeds: {seeds}\ncommon: {{algo: nbspsac}}\nsequences: {{{sequence}: {{env: sb3_nbsp/PointGoal-v0}}}}\n"
    path.write_text(head + judged)
    return path


@pytest.mark.parametrize("told", OTHERWISE)
def test_an_archive_refuses_a_suite_that_judges_its_runs_otherwise(tmp_path: Path, told: str) -> None:
    first, other = trained(tmp_path / "a", JUDGED), trained(tmp_path / "b", OTHERWISE[told], "T", "other")
    write_archive(first, tmp_path / "archive")
    before = (tmp_path / "archive" / "runs.jsonl.xz").read_bytes()
    with pytest.raises(ValueError, match=f"as suite 'first' says, got suite 'other' .*{told}.* another --archive folder"):
        write_archive(other, tmp_path / "archive")
    assert (tmp_path / "archive" / "runs.jsonl.xz").read_bytes() == before


@pytest.mark.parametrize("what", GROWN)
def test_a_suite_that_grew_is_archived(tmp_path: Path, what: str) -> None:
    write_archive(trained(tmp_path / "a", JUDGED), tmp_path / "archive")
    later = trained(tmp_path / "b", GROWN[what], seeds="[2, 3]")
    assert write_archive(later, tmp_path / "archive").kept == 4


def test_the_same_runs_may_be_judged_anew(tmp_path: Path) -> None:
    """Whoever edits a suite has all its runs judged by it, in the archive too."""
    write_archive(trained(tmp_path / "a", JUDGED), tmp_path / "archive")
    again = trained(tmp_path / "a", OTHERWISE["last_evaluations: 1 there, 2 here"])
    assert write_archive(again, tmp_path / "archive").replaced == 4


@pytest.mark.parametrize("suite_first", [True, False])
def test_runs_without_a_suite_are_judged_by_none(tmp_path: Path, suite_first: bool) -> None:
    folders = [trained(tmp_path / "a", OTHERWISE["last_evaluations: 1 there, 2 here"]), tmp_path / "b"]
    run_of(settings={"algo": "sac", "env": "E"}).write(tmp_path / "b" / "E_1")
    first, then = folders if suite_first else folders[::-1]
    write_archive(first, tmp_path / "archive")
    with pytest.raises(ValueError, match="still judges E_1 as no suite says, got suite 'first'"):
        write_archive(then, tmp_path / "archive")


def test_below_one_parent_each_suite_judges_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw", lambda *_: None)
    first = trained(tmp_path / "a", JUDGED)
    other = trained(tmp_path / "b", OTHERWISE["last_evaluations: 1 there, 2 here"], "T", "other")
    for folder in (first, other):
        write_archive(folder, tmp_path / "all" / folder.name)
    alone = write_report(first, tmp_path / "alone").with_name("runs.csv").read_text().splitlines()
    both = write_report(tmp_path / "all", tmp_path / "both").with_name("runs.csv").read_text().splitlines()
    assert [line for line in both if not line.startswith("T,")] == alone
    assert "On T each segment is judged by the mean of its last 2 evaluations" in (tmp_path / "both/report.md").read_text()


@pytest.mark.parametrize("archived", [False, True])
def test_a_folder_keeps_its_suite(tmp_path: Path, archived: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trained(tmp_path / "a", JUDGED)
    if archived:
        write_archive(folder, tmp_path / "archive")
        folder = tmp_path / "archive"
    otherwise = OTHERWISE["last_evaluations: 1 there, 2 here"]
    with pytest.raises(SystemExit, match="2"):
        benchmark_command.main([str(written(folder, otherwise, "T", "other")), "-f", str(folder), "--dry-run"])
    assert "last_evaluations: 1 there, 2 here). Name another folder with -f" in capsys.readouterr().err
    for judged, name in ((otherwise, "first"), (JUDGED, "other")):  # edited; another, that judges alike
        benchmark_command.main([str(written(folder, judged, "T", name)), "-f", str(folder), "--dry-run"])
