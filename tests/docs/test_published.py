"""What is published under docs/results: few files, little data, and every cell with the values of NBSP's arguments."""

import csv
from collections import Counter
from math import isclose
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from sb3_nbsp.benchmark import report
from sb3_nbsp.benchmark.file_names import RUNS
from sb3_nbsp.benchmark.manifest import changed_settings
from sb3_nbsp.benchmark.runs_file import read_runs_file, write_runs_file
from sb3_nbsp.benchmark.suite import Suite

RESULTS = Path(__file__).parents[2] / "docs" / "results"
FILES = [path for path in sorted(RESULTS.rglob("*")) if path.is_file()]
PUBLISHED = sorted(RESULTS.rglob(RUNS))
MEGABYTE = 1_000_000


def test_there_are_few_files() -> None:
    by_folder = Counter(path.relative_to(RESULTS).parts[0] for path in FILES)
    assert {folder: number for folder, number in by_folder.items() if number > 13} == {}
    assert len(FILES) <= 250


def test_they_are_small() -> None:
    data = [path for path in FILES if path.suffix in (".xz", ".json", ".jsonl", ".csv", ".txt")]
    assert sum(path.stat().st_size for path in data) <= 3.5 * MEGABYTE  # 3 until all of Meta-World was trained
    assert sum(path.stat().st_size for path in FILES) <= 12 * MEGABYTE


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_every_run_is_whole(path: Path, tmp_path: Path) -> None:
    suites, records = read_runs_file(path)
    assert records and all(record.state == "done" for record in records if record.manifest)
    assert all(record.manifest.get("resolved") for record in records if record.manifest.get("algo") == "nbspsac")
    assert all((results := record.results()) is not None and results.finished for record in records)
    write_runs_file(tmp_path / RUNS, suites, records)
    assert (tmp_path / RUNS).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name, n_runs", [("quick", 460), ("metaworld", 55)])
def test_suites_still_say_what_their_published_runs_were_trained_with(name: str, n_runs: int) -> None:
    """Whatever the defaults of the classes are now: a suite names them, so that these runs count beside new ones."""
    done = [cell for cell in Suite.read(f"{name}.yml").cells(RESULTS / name) if cell.is_done]
    assert len(done) >= n_runs
    assert {cell.name: changes for cell in done if (changes := changed_settings(cell))} == {}


def reported() -> list[Any]:
    """Published runs with a report. The intervals of hundreds of runs take a minute or more."""
    paths = [path for path in PUBLISHED if (path.parent / "report").is_dir()]
    marks = {path: [pytest.mark.expensive] if path.stat().st_size > MEGABYTE / 5 else [] for path in paths}
    return [pytest.param(path, id=path.parent.name, marks=marks[path]) for path in paths]


@pytest.mark.parametrize("path", reported())
def test_every_table_is_what_a_report_makes_of_the_data(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = path.parent / "report"
    (tmp_path / "figures").symlink_to(published / "figures")  # the report names those that are there
    monkeypatch.setattr(report, "draw", lambda *_: None)
    report.write_report(path.parent, tmp_path)
    for name in ("report.md", "summary.csv", "improvement.csv", "runs.csv"):
        assert (tmp_path / name).read_text() == (published / name).read_text(), f"sb3-nbsp report {path.parent}"


def test_the_table_of_the_ten_tasks_is_what_its_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    folder = RESULTS / "continual-world"
    run_path(str(folder / "ten_tasks.py"))
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines() if line and "---" not in line]
    assert len(rows) == 11
    assert set(rows) <= {line.replace(" ", "") for line in (folder / "README.md").read_text().splitlines()}


Values = dict[tuple[str, str, str], list[float]]  # by sequence, method and metric, one per run


def better(mine: list[float], theirs: list[float], sign: float) -> float:
    """Share of the pairs of runs in which mine is better; of a tie one half."""
    wins = [0.5 if isclose(a, b, abs_tol=1e-9) else float(sign * a > sign * b) for a in mine for b in theirs]
    return sum(wins) / len(wins)


def means_of(folder: Path) -> Values:
    values: Values = {}
    with (folder / "runs.csv").open() as file:
        for row in csv.DictReader(file):
            value = float(row["performance"] or "nan")
            values.setdefault((row["sequence"], row["method"], row["metric"]), []).append(value)
    return values


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in RESULTS.rglob("improvement.csv")), ids=lambda path: path.parent.name
)
def test_probabilities_of_improvement_are_counted_over_pairs(folder: Path) -> None:
    """Whatever rounding made of values that are equal."""
    values = means_of(folder)
    with (folder / "improvement.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if row["sequence"] != "all sequences" and row["probability"] not in ("", "nan")
        ]
    for row in rows:
        mine, theirs = (values[row["sequence"], row[name], row["metric"]] for name in ("method", "baseline"))
        expected = better(mine, theirs, -1.0 if row["metric"] == "fm" else 1.0)
        assert isclose(float(row["probability"]), expected, abs_tol=1e-9), row
