"""Names that came from somewhere else: in suites, in published runs, and in reports."""

import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reported_runs import run_of

from sb3_nbsp.base.markdown import code, escaped
from sb3_nbsp.benchmark.archive import write_archive
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.runs_file import read_runs_file, write_runs_file
from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.benchmark.suite_file import SuiteError
from sb3_nbsp.benchmark.suite_methods import train_arguments
from sb3_nbsp.evaluation import results_table

SUITE = """
seeds: [0]
common: {COMMON}
sequences: {S: {env: sb3_nbsp/PointGoal-v0}}
methods:
  plain: {algo: sac}
"""
RUNS = "__import__('os').system('touch ran')"


@pytest.mark.parametrize(
    "common, message",
    [
        (
            f'params: {{"{RUNS}": 1}}',
            r"Expected names of arguments for params of common: letters, digits and _; got .__import",
        ),
        (f'env_kwargs: {{"a={RUNS}": 1}}', "Expected names of arguments for env_kwargs of common"),
        ("params: {'': 1}", "Expected names of arguments"),
        ("params: {lambda: 1}", "got 'lambda'"),
        ("params: {1: 1}", "got 1"),
        ("params: {a: 2026-11-26}", "Expected for 'a' in params of common numbers, texts, lists and mappings"),
        ("params: {a: [{b: 2026-11-26}]}", "Expected for 'a' in params"),
        ("algo: ../sac", "Expected for 'algo' of common an id as nbspsac, got '../sac'"),
        ("algo: --help", "Expected for 'algo'"),
        ("callbacks: [print]", "Expected callbacks of common as package.Class"),
        ("callbacks: ['os.system(1)']", "Expected callbacks"),
        ("arguments: [--hyperparams=a:1]", "as a setting, got it in arguments"),
        ("arguments: [--hyperp, 'a:1']", "as a setting, got it in arguments"),
        ("arguments: [--log-folder=/etc]", "that a cell does not set itself, got '--log-folder=/etc'"),
        ("arguments: [--log-f, /etc]", "that a cell does not set itself"),
        ("arguments: [[a]]", "as a list of texts and numbers"),
        ("eval_tasks: 0", "common: Expected eval_tasks='all' or a number of tasks, 1 or more, got 0"),
        ("eval_tasks: true", "Expected a .* for 'eval_tasks'"),
    ],
)
def test_a_suite_cannot_name_code_or_other_places(tmp_path: Path, common: str, message: str) -> None:
    (tmp_path / "suite.yml").write_text(SUITE.replace("COMMON", common))
    with pytest.raises(SuiteError, match=message):
        Suite.read(tmp_path / "suite.yml")


@pytest.mark.parametrize("env", ["../../PointGoal-v0", "'os:PointGoal-v0'", "a/b/c", "--help", "''"])
def test_an_env_is_an_id(tmp_path: Path, env: str) -> None:
    (tmp_path / "suite.yml").write_text(SUITE.replace("COMMON", "").replace("sb3_nbsp/PointGoal-v0", env))
    with pytest.raises(SuiteError, match="Expected for 'env' of sequences: S an id as sb3_nbsp/PointGoal-v0"):
        Suite.read(tmp_path / "suite.yml")


def test_names_of_methods_and_sequences_stay_below_the_folder(tmp_path: Path) -> None:
    text = SUITE.replace("COMMON", "").replace("plain:", "'../../x y': ").replace("{S:", "{'/../S\\..': ")
    (tmp_path / "suite.yml").write_text(text)
    (cell,) = Suite.read(tmp_path / "suite.yml").cells(tmp_path / "out")
    assert cell.folder.resolve().relative_to(tmp_path / "out").parts == ("s", "x-y", "seed0")


def test_the_shipped_suites_are_read() -> None:
    assert {len(Suite.read(name).methods) > 0 for name in shipped_suites()} == {True}


def test_eval_tasks_reach_the_command() -> None:
    assert train_arguments({"eval_tasks": 3, "eval_freq": 100}) == ("--eval-freq", "100", "--eval-tasks", "3")


@pytest.mark.parametrize("folder", ["../outside", "/etc", "a/../../b", "a\\..\\b"])
def test_published_runs_lie_below_their_file(tmp_path: Path, folder: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "results.json").write_text("precious")
    archive = tmp_path / "archive"
    write_runs_file(archive / "runs.jsonl.xz", {}, [Record(folder, {"results.json": {}}, "x")])
    with pytest.raises(ValueError, match=r"names the place .*, which does not lie below it"):
        read_runs_file(archive / "runs.jsonl.xz")
    run_of().write(tmp_path / "runs" / "one")
    with pytest.raises(ValueError, match="does not lie below it"):
        write_archive(tmp_path / "runs", archive)
    assert (tmp_path / "outside" / "results.json").read_text() == "precious"


def test_suites_in_a_file_lie_below_it_too(tmp_path: Path) -> None:
    write_runs_file(tmp_path / "runs.jsonl.xz", {"../..": {}}, [])
    assert b"sb3_nbsp.runs" in lzma.decompress((tmp_path / "runs.jsonl.xz").read_bytes())
    with pytest.raises(ValueError, match=r"names the place '\.\./\.\.'"):
        read_runs_file(tmp_path / "runs.jsonl.xz")


# Reports


@pytest.mark.parametrize(
    "text, shown",
    [
        ("NBSP, 1,000 transitions", "NBSP, 1,000 transitions"),
        ("sb3_nbsp/PointGoal-v0", "sb3_nbsp/PointGoal-v0"),
        ("<script>a&b</script>", "&lt;script&gt;a&amp;b&lt;/script&gt;"),
        ("a|b\n| c", "a\\|b \\| c"),
        ("[x](javascript:y) ![p](q)", "\\[x\\](javascript:y) !\\[p\\](q)"),
        ("*bold* _it_ `code` \\", "\\*bold\\* \\_it\\_ \\`code\\` \\\\"),
    ],
)
def test_names_are_shown_as_they_are(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize("text, shown", [("a:1", "`a:1`"), ("a|b", "`a\\|b`"), ("a`b", "`` a`b ``"), ("a\nb", "`a b`")])
def test_settings_are_code(text: str, shown: str) -> None:
    assert code(text) == shown


EVIL = "<img src=x onerror=alert(1)>|[m](javascript:alert(1))\n\n# new"


def test_no_name_becomes_html_or_markdown_in_a_report(tmp_path: Path) -> None:
    for seed in range(2):
        run = run_of(seed=seed, settings={"algo": "x", "env": EVIL, "method": EVIL})
        run.versions = {EVIL: EVIL}
        run.write(tmp_path / "runs" / str(seed))
    unfinished = replace(run_of(seed=7, settings={"algo": "x", "env": EVIL, "method": EVIL}), finished=False)
    unfinished.write(tmp_path / "runs" / "z`|x")
    text = write_report(tmp_path / "runs", tmp_path / "out", baselines=[EVIL], figures=[]).read_text()
    assert "<img" not in text and "](javascript" not in text.replace("\\](", "") and "\n# new" not in text
    assert "&lt;img" in text and "not finished" in text


def test_a_figure_that_fails_leaves_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise OSError("No space left on device")

    run_of(settings={"algo": "x", "env": "y"}).write(tmp_path / "runs" / "0")
    monkeypatch.setattr("sb3_nbsp.benchmark.report_figures.plot_intervals", broken)
    with pytest.warns(UserWarning, match=r"intervals\.png could not be written .* The report goes on without it"):
        report = write_report(tmp_path / "runs", tmp_path / "out", figures=["*/intervals", "*/performance"])
    assert "## y" in report.read_text() and (tmp_path / "out" / "figures" / "y" / "performance.png").is_file()


def test_no_name_becomes_html_or_markdown_in_a_table() -> None:
    run = run_of()
    named = replace(run, task_names=(EVIL, "b"), segments=(EVIL, "b"), evaluations=[])
    table = results_table([(EVIL, [named])])
    assert "<img" not in table and len({line.replace("\\|", "").count("|") for line in table.splitlines()[:3]}) == 1
