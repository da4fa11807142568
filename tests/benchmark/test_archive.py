"""The form in which a benchmark is published: the same report, and cells that are taken as done."""

import json
from pathlib import Path

import pytest
from helpers.reported_runs import run_of, write_benchmark

from sb3_nbsp.benchmark import report
from sb3_nbsp.benchmark.archive import write_archive
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.manifest import write_done
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.zoo import benchmark_command

TABLES = ("report.md", "runs.csv", "summary.csv", "improvement.csv")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path)


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of a report's time."""
    monkeypatch.setattr(report, "draw", lambda *_: None)


def cell_of(runs: Path, method: str, seed: int) -> Cell:
    cells = Suite.read(runs.parent / "suite.yml").cells(runs)
    return next(cell for cell in cells if (cell.sequence, cell.method, cell.seed) == ("S", method, seed))


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def figures(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*.png")}


def test_an_archive_gives_the_same_report(runs: Path, tmp_path: Path) -> None:
    write_archive(runs, tmp_path / "archive")
    one, other = (write_report(folder, tmp_path / folder.name / "report").parent for folder in (runs, tmp_path / "archive"))
    assert tables(one) == tables(other)
    assert figures(one) == figures(other) and len(figures(one)) > 5


@pytest.mark.parametrize("place", [".", "report"])
def test_a_report_within_the_archive_does_not_disturb_the_next(runs: Path, tmp_path: Path, place: str) -> None:
    archive = tmp_path / "archive"
    write_archive(runs, archive)
    before = {path for path in archive.rglob("*.json")}
    first = tables(write_report(archive, archive / place).parent)
    drawn = figures(archive)
    assert tables(write_report(archive, archive / place).parent) == first
    assert figures(archive) == drawn and {path for path in archive.rglob("*.json")} == before
    write_archive(runs, archive)  # nor does the next archive disturb the report
    assert tables(archive / place) == first and figures(archive) == drawn


def test_an_archive_holds_what_a_report_needs(runs: Path, tmp_path: Path) -> None:
    size = write_archive(runs, tmp_path / "archive")
    kept = [path for path in (tmp_path / "archive").rglob("*") if path.is_file()]
    assert size == sum(path.stat().st_size for path in kept)
    assert all(path.suffix == ".json" and path.read_text().count("\n") == 1 for path in kept)
    cell = cell_of(runs, "memory, memory size 100", 0)
    copy = tmp_path / "archive" / cell.folder.relative_to(runs)
    assert {path.name for path in copy.iterdir()} == {"manifest.json", "results.json", "done.json", "skill_neurons.json"}
    assert SequenceResults.read(copy) == SequenceResults.read(cell.folder)  # to the last digit
    assert (copy / "results.json").stat().st_size < 0.8 * (cell.folder / "results.json").stat().st_size


def test_a_suite_takes_the_cells_as_done(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_archive(runs, tmp_path / "archive")
    suite = str(tmp_path / "suite.yml")
    printed = []
    for folder in (runs, tmp_path / "archive"):
        benchmark_command.main([suite, "-f", str(folder), "--dry-run"])
        printed.append(capsys.readouterr().out.replace(str(folder), "FOLDER"))
    assert printed[0] == printed[1] and "9 done: will not be repeated" in printed[1]


@pytest.mark.usefixtures("tables_only")
def test_what_has_changed_is_archived_again(runs: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    write_archive(runs, archive)
    failed, interrupted = cell_of(runs, "memory, memory size 0", 2), cell_of(runs, "memory, memory size 100", 2)
    copies = [archive / cell.folder.relative_to(runs) for cell in (failed, interrupted)]
    assert (copies[0] / "failed.json").is_file() and len(list(copies[1].rglob("run/*/*/results.json"))) == 1
    (failed.folder / "failed.json").unlink()
    for cell in (failed, interrupted):
        run_of(0.3, 2).write(cell.folder)
        write_done(cell, 1.0)
    write_archive(runs, archive)
    for copy in copies:
        assert sorted(path.name for path in copy.rglob("*.json")) == ["done.json", "manifest.json", "results.json"]
    assert tables(write_report(archive, tmp_path / "1").parent) == tables(write_report(runs, tmp_path / "2").parent)


@pytest.mark.usefixtures("tables_only")
def test_runs_outside_a_benchmark(tmp_path: Path) -> None:
    for seed in range(2):
        folder = tmp_path / "logs" / "nbspsac" / f"E_{seed}"
        run_of(seed=seed, settings={"algo": "nbspsac", "env": "E"}).write(folder)
        (folder / "best_model.zip").touch()
    write_archive(tmp_path / "logs", tmp_path / "archive")
    assert {path.name for path in (tmp_path / "archive").rglob("*") if path.is_file()} == {"results.json"}
    one, other = (write_report(tmp_path / name, tmp_path / f"of-{name}").parent for name in ("logs", "archive"))
    assert tables(one) == tables(other)


@pytest.mark.usefixtures("tables_only")
def test_the_command_reports_on_the_archive(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.main([str(runs), "--archive", str(tmp_path / "archive")])
    assert (tmp_path / "archive" / "report" / "report.md").is_file() and not (runs / "report").exists()
    assert json.loads((tmp_path / "archive" / "suite.json").read_text())["baselines"] == ["plain"]
    assert "Archived: " in capsys.readouterr().out


@pytest.mark.parametrize("place", [".", "archive", ".."])
def test_an_archive_among_the_runs_is_refused(runs: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report.main([str(runs), "--archive", str(runs / place)])
    assert "Expected an archive beside the runs" in capsys.readouterr().err


def test_trainings_are_not_overwritten(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    others = write_benchmark(tmp_path / "second")
    with pytest.raises(ValueError, match=r"Expected a new folder or an earlier archive, got .* with trainings in it"):
        write_archive(runs, others)
    with pytest.raises(FileNotFoundError, match="Expected runs in"):
        write_archive(tmp_path / "second" / "nothing", tmp_path / "archive")
