"""The form in which a benchmark is published: the same report, and cells that are taken as done."""

import json
import lzma
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reported_runs import run_of, write_benchmark

from sb3_nbsp.benchmark.archive import write_archive
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.local_runner import CellError, run_cells
from sb3_nbsp.benchmark.manifest import ForeignCellError, changed_settings, check_manifest, write_done, write_manifest
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.runs_file import read_runs_file
from sb3_nbsp.benchmark.stored_runs import read_stored
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.skill_file import read_skill_neurons
from sb3_nbsp.zoo import benchmark_command, report_command

FILE = "runs.jsonl.xz"
TABLES = ("report.md", "runs.csv", "summary.csv", "improvement.csv")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path)


def cell_of(runs: Path, method: str, seed: int) -> Cell:
    cells = Suite.read(runs.parent / "suite.yml").cells(runs)
    return next(cell for cell in cells if (cell.sequence, cell.method, cell.seed) == ("S", method, seed))


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def figures(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def record_of(archive: Path, cell: Cell) -> Record:
    (record,) = [record for record in read_runs_file(archive / FILE)[1] if Path(record.folder).parts == cell.folder.parts[-3:]]
    return record


def test_an_archive_gives_the_same_report_to_the_byte(runs: Path, tmp_path: Path) -> None:
    write_archive(runs, tmp_path / "archive")
    assert files_of(tmp_path / "archive") == {FILE}
    one, other = (write_report(folder, tmp_path / folder.name / "report").parent for folder in (runs, tmp_path / "archive"))
    assert tables(one) == tables(other)
    assert figures(one) == figures(other) and len(figures(one)) > 5


@pytest.mark.usefixtures("tables_only")
def test_the_file_itself_can_be_reported_on(runs: Path, tmp_path: Path) -> None:
    write_archive(runs, tmp_path / "archive")
    report_command.main([str(tmp_path / "archive" / FILE)])
    assert tables(tmp_path / "archive" / "report") == tables(write_report(runs, tmp_path / "report").parent)


def test_the_same_runs_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    sizes = [write_archive(runs, tmp_path / name).size for name in "ab"]
    first, second = ((tmp_path / name / FILE).read_bytes() for name in "ab")
    assert first == second and sizes == [len(first)] * 2
    write_archive(tmp_path / "a", tmp_path / "c")  # nor does it matter where they are read from
    assert (tmp_path / "c" / FILE).read_bytes() == first


@pytest.mark.parametrize("place", [".", "report"])
def test_a_report_within_the_archive_does_not_disturb_the_next(runs: Path, tmp_path: Path, place: str) -> None:
    archive = tmp_path / "archive"
    write_archive(runs, archive)
    before = (archive / FILE).read_bytes()
    first = tables(write_report(archive, archive / place).parent)
    drawn = figures(archive)
    assert tables(write_report(archive, archive / place).parent) == first
    assert figures(archive) == drawn and (archive / FILE).read_bytes() == before
    write_archive(runs, archive)  # nor does the next archive disturb the report
    assert tables(archive / place) == first and figures(archive) == drawn


def test_an_archive_holds_what_a_report_needs(runs: Path, tmp_path: Path) -> None:
    write_archive(runs, tmp_path / "archive")
    cell = cell_of(runs, "memory, memory size 100", 0)
    record = record_of(tmp_path / "archive", cell)
    assert set(record.files) == {"manifest.json", "results.json", "done.json", "skill_neurons.json"}
    assert record.results() == SequenceResults.read(cell.folder)  # to the last digit
    assert record.skill_neurons() == read_skill_neurons(cell.folder)
    failed = record_of(tmp_path / "archive", cell_of(runs, "memory, memory size 0", 2))
    assert failed.failure["reason"] == "exit status 1" and "log" not in failed.failure  # it tells of one machine


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
    assert record_of(archive, failed).state == "failed"
    assert set(record_of(archive, interrupted).files) == {"manifest.json", "run/algo/env_1/results.json"}
    (failed.folder / "failed.json").unlink()
    for cell in (failed, interrupted):
        run_of(0.3, 2).write(cell.folder)
        write_done(cell, 1.0)
    write_archive(runs, archive)
    for cell in (failed, interrupted):
        assert set(record_of(archive, cell).files) == {"manifest.json", "results.json", "done.json"}
    assert tables(write_report(archive, tmp_path / "1").parent) == tables(write_report(runs, tmp_path / "2").parent)


@pytest.mark.usefixtures("tables_only")
def test_newer_runs_are_merged_and_the_others_stay(runs: Path, tmp_path: Path) -> None:
    archive, newer = tmp_path / "archive", tmp_path / "newer"
    write_archive(runs, archive)
    cell = replace(cell_of(runs, "plain", 0), folder=newer / "s" / "plain" / "seed0")
    write_manifest(cell, None)
    run_of(0.9).write(cell.folder)
    write_done(cell, 1.0)
    write_archive(newer, archive)
    before, after = ({record.folder: record for record in read_stored(folder)[1]} for folder in (runs, archive))
    assert before.keys() == after.keys()
    changed = [folder for folder in before if before[folder].results() != after[folder].results()]
    assert changed == ["s/plain/seed0"] and after[changed[0]].results() == run_of(0.9)


def spread_out(runs: Path, folder: Path) -> None:
    """The form of archives until commit 2a43d91: a folder for each cell, without logs."""
    for path in runs.rglob("*.json"):
        (folder / path.relative_to(runs)).parent.mkdir(parents=True, exist_ok=True)
        (folder / path.relative_to(runs)).write_text(json.dumps(json.loads(path.read_text())))


def test_an_archive_in_the_earlier_form_is_read_and_nothing_in_it_is_deleted(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spread_out(runs, tmp_path / "earlier")
    write_report(tmp_path / "earlier", tmp_path / "earlier" / "report", figures=())
    assert tables(tmp_path / "earlier" / "report") == tables(write_report(runs, tmp_path / "report", figures=()).parent)
    benchmark_command.main([str(tmp_path / "suite.yml"), "-f", str(tmp_path / "earlier"), "--dry-run"])
    assert "9 done: will not be repeated" in capsys.readouterr().out
    before = files_of(tmp_path / "earlier")
    with pytest.raises(ValueError, match="Expected a new folder or an earlier archive"):
        write_archive(runs, tmp_path / "earlier")
    assert files_of(tmp_path / "earlier") == before


def test_a_suite_takes_cells_of_the_file_as_done_and_trains_the_others(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive"
    write_archive(runs, archive)
    script = "import sys; sys.exit('no training here')"
    monkeypatch.setattr(Cell, "command", lambda self, _=None: [sys.executable, "-S", "-c", script])
    cells = Suite.read(tmp_path / "suite.yml").cells(archive)
    with pytest.raises(CellError, match=r"2 of 12 trainings failed.*") as failure:  # the earlier one has failed before
        run_cells([cell for cell in cells if cell.state != "interrupted"] + [cells[0]], n_jobs=1)
    assert "exit status 1" in str(failure.value) and "no training here" in str(failure.value)
    trained = {path.parent.relative_to(archive).as_posix() for path in archive.rglob("manifest.json")}
    assert trained == {"s/plain/seed2"}
    states = Counter(cell.state for cell in Suite.read(tmp_path / "suite.yml").cells(archive))
    assert states == {"done": 9, "failed": 2, "interrupted": 1}


def test_published_cells_with_other_settings_are_refused(runs: Path, tmp_path: Path) -> None:
    write_archive(runs, tmp_path / "archive")
    (cell, *_) = Suite.read(tmp_path / "suite.yml").cells(tmp_path / "archive", ["plain"])
    assert cell.is_done and not cell.folder.exists() and changed_settings(cell) == ""
    with pytest.raises(
        ForeignCellError, match=r"in .*runs.jsonl.xz: s/plain/seed0, got other settings \(seed: 0 there, 5 now\)"
    ):
        check_manifest(replace(cell, seed=5))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: data[:200] + bytes(20) + data[220:],
        lambda data: b"version https://git-lfs.github.com/spec/v1",
        lambda data: b"",
        lambda data: lzma.compress(b"".join(lzma.decompress(data).splitlines(keepends=True)[:-1])),
        lambda data: lzma.compress(lzma.decompress(data).replace(b"runs/1", b"runs/2", 1)),
        lambda data: lzma.compress(b"[]\n"),
    ],
    ids=["cut off", "overwritten", "another file", "empty", "a line is missing", "a later format", "no object"],
)
def test_a_damaged_file_is_named(runs: Path, tmp_path: Path, damage, capsys: pytest.CaptureFixture[str]) -> None:
    write_archive(runs, tmp_path / "archive")
    path = tmp_path / "archive" / FILE
    path.write_bytes(damage(path.read_bytes()))
    for call in (
        lambda: report_command.main([str(path)]),
        lambda: benchmark_command.main([str(tmp_path / "suite.yml"), "-f", str(path.parent)]),
    ):
        with pytest.raises(SystemExit, match="2"):
            call()
        assert f"Expected in {path} what `sb3-nbsp report RUNS --archive FOLDER` writes" in (told := capsys.readouterr().err)
        assert "git checkout" in told


@pytest.mark.usefixtures("tables_only")
def test_runs_outside_a_benchmark(tmp_path: Path) -> None:
    for seed in range(2):
        folder = tmp_path / "logs" / "nbspsac" / f"E_{seed}"
        run_of(seed=seed, settings={"algo": "nbspsac", "env": "E"}).write(folder)
        (folder / "best_model.zip").touch()
    write_archive(tmp_path / "logs", tmp_path / "archive")
    assert files_of(tmp_path / "archive") == {FILE}
    one, other = (write_report(tmp_path / name, tmp_path / f"of-{name}").parent for name in ("logs", "archive"))
    assert tables(one) == tables(other)


@pytest.mark.usefixtures("tables_only")
def test_the_command_reports_on_the_archive(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_command.main([str(runs), "--archive", str(tmp_path / "archive")])
    assert (tmp_path / "archive" / "report" / "report.md").is_file() and not (runs / "report").exists()
    assert read_runs_file(tmp_path / "archive" / FILE)[0]["."]["baselines"] == ["plain"]
    assert "Archived: " in capsys.readouterr().out


@pytest.mark.parametrize("place", [".", "archive", ".."])
def test_an_archive_among_the_runs_is_refused(runs: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report_command.main([str(runs), "--archive", str(runs / place)])
    assert "Expected an archive beside the runs" in capsys.readouterr().err


def test_trainings_are_not_overwritten(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    others = write_benchmark(tmp_path / "second")
    with pytest.raises(ValueError, match=r"Expected a new folder or an earlier archive, got .* with trainings in it"):
        write_archive(runs, others)
    with pytest.raises(FileNotFoundError, match="Expected runs in"):
        write_archive(tmp_path / "second" / "nothing", tmp_path / "archive")


@pytest.mark.usefixtures("tables_only")
def test_runs_of_renamed_methods_count_as_the_methods(runs: Path, tmp_path: Path) -> None:
    """In folders, in a file, and in a file that newer runs are merged into."""
    write_archive(runs, tmp_path / "archive")
    before = write_report(runs, tmp_path / "before").read_text()
    suite = tmp_path / "suite.yml"
    suite.write_text(suite.read_text().replace("  plain:", "  fine-tuning:").replace("[plain]", "[fine-tuning]"))
    suite.write_text(suite.read_text() + "aliases: {plain: fine-tuning}\n")
    for folder in (runs, tmp_path / "archive"):
        Suite.read(suite).write(folder)
        states = Counter(cell.state for cell in Suite.read(suite).cells(folder))
        assert states["done"] == 9
        text = write_report(folder, tmp_path / "after", ["plain"]).read_text()
        assert "plain" not in text.replace("s/plain/seed", "") and text.count("fine-tuning") == before.count("plain")
    write_archive(runs, tmp_path / "archive")
    suites, records = read_runs_file(tmp_path / "archive" / FILE)
    assert suites["."]["aliases"] == {"plain": "fine-tuning"} and len(records) == 11
    assert "plain" not in {record.manifest["method"] for record in records}


def test_folders_of_the_package_s_suites_from_before_there_were_aliases(tmp_path: Path) -> None:
    folder = tmp_path / "four-tasks" / "replay-only" / "seed0"
    (cell,) = Suite.read("quick.yml").cells(tmp_path, ["replay only"], [0])[3:4]
    write_manifest(replace(cell, method="replay only", family="replay only", folder=folder), None)
    run_of().write(folder)
    write_done(replace(cell, folder=folder), 1.0)
    names = {"methods": ["mask only", "replay only"], "sequences": ["four tasks"], "baselines": ["replay only"]}
    missing = [{"sequence": "four tasks", "method": "mask only", "seed": 0}]
    (tmp_path / "suite.json").write_text(json.dumps({"name": "quick", **names, "last_evaluations": 1, "cells": missing}))
    suites, (record,) = read_stored(tmp_path)
    assert (record.manifest["method"], record.manifest["family"]) == ("rehearsal", "rehearsal")
    assert suites["."]["methods"] == ["masks only", "rehearsal"] and suites["."]["cells"][0]["method"] == "masks only"
    assert [cell.method for cell in Suite.read("quick.yml").cells(tmp_path) if cell.is_done] == ["rehearsal"]


def test_a_finished_run_is_not_replaced_by_an_unfinished_one(runs: Path, tmp_path: Path):
    """The same cell, begun anew on another machine, and stopped there."""
    archive = tmp_path / "archive"
    write_archive(runs, archive)
    before = (archive / FILE).read_bytes()
    cell = cell_of(runs, "plain", 0)
    assert record_of(archive, cell).is_finished
    again = tmp_path / "again"
    Suite.read(tmp_path / "suite.yml").write(again)
    write_manifest(replace(cell, folder=again / cell.folder.relative_to(runs)), None)
    write_archive(again, archive)
    assert (archive / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("seed", "settings", "told"),
    [
        (1, {}, "seed: 0 there, 1 here"),
        (0, {"gamma": 0.9}, r"settings: {'algo': 'sac'} there, {'algo': 'sac', 'gamma': 0.9} here"),
    ],
)
def test_another_run_in_the_same_folder_is_no_newer_one(tmp_path: Path, seed: int, settings: dict, told: str) -> None:
    """SB3 numbers the folders of each machine's runs: SAC_1 here is another run than SAC_1 there."""
    run_of(settings={"algo": "sac"}).write(tmp_path / "here" / "SAC_1")
    run_of(seed=seed, settings={"algo": "sac", **settings}).write(tmp_path / "there" / "SAC_1")
    archive = tmp_path / "archive"
    assert str(write_archive(tmp_path / "here", archive)).endswith("runs: 1 added, 0 replaced, 0 kept")
    assert str(write_archive(tmp_path / "here", archive)).endswith("runs: 0 added, 1 replaced, 0 kept")
    before = (archive / FILE).read_bytes()
    with pytest.raises(ValueError, match=rf"same training in .*SAC_1 and in .*SAC_1, got two \({told}"):
        write_archive(tmp_path / "there", archive)
    assert (archive / FILE).read_bytes() == before
    (tmp_path / "there" / "SAC_1").rename(tmp_path / "there" / "SAC_2")
    assert str(write_archive(tmp_path / "there", archive)).endswith("runs: 1 added, 0 replaced, 1 kept")


def test_a_cell_of_other_settings_does_not_replace_a_finished_one(runs: Path, tmp_path: Path) -> None:
    archive, newer = tmp_path / "archive", tmp_path / "newer"
    write_archive(runs, archive)
    for name, told in (("memory, memory size 100", "memory_size: 100 there, 7 here"), ("memory, memory size 0", None)):
        seed = 0 if told else 2  # of the latter method seed 2 has failed
        cell = cell_of(runs, name, seed)
        cell = replace(cell, folder=newer / cell.folder.relative_to(runs), arguments=("-params", "memory_size:7"))
        write_manifest(cell, None)
        run_of(0.9, seed).write(cell.folder)
        write_done(cell, 1.0)
        if told:
            with pytest.raises(ValueError, match=told):
                write_archive(newer, archive)
            (cell.folder / "manifest.json").unlink()
            (cell.folder / "results.json").unlink()
    write_archive(newer, archive)
    assert record_of(archive, cell).is_finished


def test_a_name_may_hold_what_some_take_for_a_line_end(tmp_path: Path):
    """U+2028 and U+0085 are no line ends of JSON lines."""
    run_of(settings={"method": "a\u2028b\u0085c"}).write(tmp_path / "runs" / "one")
    write_archive(tmp_path / "runs", tmp_path / "archive")
    (record,) = read_runs_file(tmp_path / "archive" / FILE)[1]
    assert record.results().settings["method"] == "a\u2028b\u0085c"
