"""Reports on runs that tell less than others, or than was asked for: they are made, and say so."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reported_runs import evaluation, run_of, write_benchmark

from sb3_nbsp.benchmark.find_runs import collect
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.last_evaluations import segment_evaluations
from sb3_nbsp.zoo import report_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path)


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("silent", [["b"], ["a", "b"]])
def test_a_run_that_told_no_success_does_not_count_beside_others_that_do(
    folder: Path, tmp_path: Path, silent: list[str]
) -> None:
    """An env that tells success only where there is some: the others' tables are there, whichever run comes first."""
    _untold(folder / "s" / "plain" / "seed0", silent)
    found = collect(folder)
    assert (folder / "s" / "plain" / "seed0" / "done.json").is_file()
    assert ("S", "plain", 0) not in {(run.sequence, run.method, run.seed) for run in found.runs} and len(found.runs) == 8
    text = write_report(folder, tmp_path / "report").read_text()
    missing = text[text.index("## Not counted") :]
    told = f"- told no success on {', '.join(silent)}, where other runs do (means are too high if "
    assert told in missing and "S, seed 0: plain (`s/plain/seed0`)" in missing
    assert re.search(r"^\| plain +\| 1 +\| 0.5", text, flags=re.MULTILINE)  # seed 1 is left
    for of_sequence in ("s/plain/seed1", *(f"s/memory-memory-size-{size}/seed{seed}" for size in (0, 100) for seed in (0, 1))):
        if (folder / of_sequence / "results.json").is_file():
            _untold(folder / of_sequence, silent)
    assert len(collect(folder).runs) == 9  # where no run tells it, all are judged by returns


def _untold(folder: Path, tasks: list[str]) -> None:
    run = SequenceResults.read(folder)
    untold = [replace(one, success={**one.success, **dict.fromkeys(tasks)}) for one in run.evaluations]
    replace(run, evaluations=untold).write(folder)


def test_runs_without_the_others_reference_scores_do_not_count(folder: Path) -> None:
    for path in (folder / "t").rglob("results.json"):
        _untold(path.parent, ["a", "b"])
    known = replace(SequenceResults.read(folder / "t/plain/seed1"), reference_scores={"a": (0.0, 1.0), "b": (0.0, 1.0)})
    known.write(folder / "t/plain/seed1")
    found = collect(folder)
    assert [run.seed for run in found.runs if run.sequence == "T"] == [1]
    reasons = {entry.reason for entry in found.not_counted if entry.sequence == "T"}
    assert reasons == {"known in mean return only, where other runs tell human-normalised return"}


@pytest.mark.usefixtures("tables_only")
def test_a_report_says_where_there_are_fewer_evaluations_than_asked_for(folder: Path, tmp_path: Path) -> None:
    run = run_of(0.1, 1)
    more = replace(run, evaluations=[run.evaluations[0], evaluation(3, 0, "interval", 0.1, 0.1), *run.evaluations[1:]])
    assert segment_evaluations(run) == [2, 2] and segment_evaluations(more) == [3, 2]
    with pytest.warns(UserWarning, match=r"On '[ST]' each segment .* last 10 evaluations, of which it has 2 only"):
        text = write_report(folder, tmp_path / "report", last=10).read_text()
    assert "\nEach segment is judged by the mean of its last 10 evaluations, of which it has 2 only.\n" in text
    more.write(folder / "t" / "plain" / "seed1")
    with pytest.warns(UserWarning, match="of which some have fewer, from 2 on"):
        text = write_report(folder, tmp_path / "report", last=3).read_text()
    by = "each segment is judged by the mean of its last 3 evaluations, of which"
    assert f"\nOn S {by} it has 2 only.\nOn T {by} some have fewer, from 2 on.\n" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(folder, tmp_path / "report", last=2)


def test_figures_that_there_are_none_of_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report_command.main([str(folder), "--figures", "t/*", "s/interval"])
    told = capsys.readouterr().err
    assert "Expected figures among s/intervals, s/axis-memory_size, s/performance, " in told
    assert "t/matrices-1 (* stands for anything), got ['s/interval']. Did you mean 's/intervals', " in told
    assert not (folder / "report").exists()
    write_report(folder, folder / "report", figures=["t/perf*", "*/axis-*"])
    assert {path.stem for path in (folder / "report").rglob("*.png")} == {"performance", "axis-memory_size"}
