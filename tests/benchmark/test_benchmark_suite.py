"""What may stand in a suite's file, and the command that reads it. Nothing is trained."""

import json
import sys
from pathlib import Path

import pytest

from sb3_nbsp.benchmark.manifest import write_manifest
from sb3_nbsp.benchmark.suite import Suite, shipped_suites, slug
from sb3_nbsp.benchmark.suite_file import SuiteError, merge
from sb3_nbsp.benchmark.suite_methods import train_arguments
from sb3_nbsp.zoo import benchmark_command
from sb3_nbsp.zoo.algorithms import ALGORITHMS, PARENTS, sequence_of
from sb3_nbsp.zoo.suite_checks import check_cells

SUITE = """
seeds: [3, 4]
common: {algo: nbspsac, params: {batch_size: 32, memory_size: 5}, arguments: [--device, cpu]}
sequences:
  A: {env: sb3_nbsp/PointGoal-v0, env_kwargs: {cycles: 1}}
  B: {env: sb3_nbsp/PointGoal4-v0, params: {batch_size: 64}}
methods:
  plain: {algo: sac}
  NBSP:
    params: {score: random}
    axis: {memory_size: {0: mask only, 1000: , 10000: NBSP}}
    sequences: [A]
baselines: [plain]
last_evaluations: 3
"""


def suite_of(tmp_path: Path, text: str = SUITE) -> Suite:
    (tmp_path / "suite.yml").write_text(text)
    return Suite.read(tmp_path / "suite.yml")


def test_cells_are_methods_times_sequences_times_seeds(tmp_path: Path) -> None:
    cells = suite_of(tmp_path).cells(Path("out"))
    assert [(cell.seed, cell.sequence, cell.method) for cell in cells] == [
        (seed, sequence, method)
        for seed in (3, 4)
        for sequence, methods in (("A", ("plain", "mask only", "NBSP, memory size 1,000", "NBSP")), ("B", ("plain",)))
        for method in methods
    ]
    assert [cell.axis for cell in cells[:4]] == [None, ("memory_size", 0), ("memory_size", 1000), ("memory_size", 10000)]
    assert {cell.family for cell in cells[1:4]} == {"NBSP"}
    assert cells[2].folder == Path("out/a/nbsp-memory-size-1000/seed3")
    assert len({cell.folder for cell in cells}) == len(cells)


def test_settings_of_methods_count_more_than_those_of_sequences(tmp_path: Path) -> None:
    cells = {(cell.sequence, cell.method): cell for cell in suite_of(tmp_path).cells(Path("out"))}
    assert cells["A", "mask only"].arguments == (
        *("--env-kwargs", "cycles:1", "-params", "batch_size:32", "memory_size:0", 'score:"random"', "--device", "cpu"),
    )
    assert cells["B", "plain"].algo == "sac" and "batch_size:64" in cells["B", "plain"].arguments


def test_settings_become_arguments_of_the_training_command() -> None:
    callbacks = [{"sb3_nbsp.example.Callback": {"coef": 0.5}}]
    arguments = train_arguments({"callbacks": callbacks, "save_freq": 10, "eval_freq": 5, "env_kwargs": {"tasks": ["a"]}})
    assert arguments[:7] == ("--env-kwargs", "tasks:['a']", "--eval-freq", "5", "--save-freq", "10", "--save-replay-buffer")
    assert train_arguments({"algo": "nbspsac", "save_freq": 10}) == ("--checkpoint-freq", "10")
    (name, _, value) = arguments[-1].partition(":")
    assert arguments[-2] == "-params" and (name, eval(value)) == ("callback", callbacks)


def test_some_cells(tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    assert {cell.method for cell in suite.cells(tmp_path, only=["plain"])} == {"plain"}
    assert len(suite.cells(tmp_path, only=["NBSP"], seeds=[9])) == 3  # all of the family
    assert {cell.method for cell in suite.cells(tmp_path, only=["*1,000"])} == {"NBSP, memory size 1,000"}
    with pytest.raises(SuiteError, match=r"Expected methods among 'plain', .* got \['plane'\]"):
        suite.cells(tmp_path, only=["plane"])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds: [3, 4]", "seeds: []", "got none for seeds"),
        ("seeds: [3, 4]", "seeds: [3, 3]", "distinct whole numbers"),
        ("algo: sac", "alog: sac", "got 'alog'. Did you mean 'algo'"),
        ("batch_size: 64", "learning_rate: 1e-3", "1e-3: text to YAML. Write 1.0e-3"),
        ("params: {score: random}", "params: [score]", "Expected a dict for 'params' of methods: NBSP"),
        ("sequences: [A]", "sequences: [C]", "Expected sequences among 'A', 'B' for method 'NBSP'"),
        ("0: mask only", "0: plain", "folders differ, got 'plain' and 'plain'"),
        ("baselines: [plain]", "baselines: [replay]", "Expected baselines among .* got \\['replay'\\]"),
        ("axis: {memory_size: {0", "axis: {k: [1], memory_size: {0", "one argument with a list of numbers"),
        (
            "axis: {memory_size: {0: mask only, 1000: , 10000: NBSP}}",
            "axis: {net_arch: [[8], [16]]}",
            "a list of numbers or texts",
        ),
        ("[--device, cpu]", "[--seed, 3]", "that a cell does not set itself, got '--seed'"),
        ("[--device, cpu]", "[-params, 'gamma:0.9']", "Expected '-params' of common as a setting"),
        ("last_evaluations: 3", "last_evaluations: 0", "1 or more, got 0"),
        ("methods:", "methods: [", "Expected YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in SUITE
    with pytest.raises(SuiteError, match=message):
        suite_of(tmp_path, SUITE.replace(before, after))


def test_a_missing_algorithm_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="Expected 'algo' for 'NBSP, memory size 1,000' on 'A', got none"):
        suite_of(tmp_path, SUITE.replace("algo: nbspsac, ", "")).cells(tmp_path, only=["*1,000"])


def test_lists_add_up_and_mappings_are_merged() -> None:
    one, two = {"params": {"a": 1, "b": 1}, "arguments": ["x"]}, {"params": {"b": 2}, "arguments": ["y"], "eval_freq": 3}
    assert merge(one, two) == {"params": {"a": 1, "b": 2}, "arguments": ["x", "y"], "eval_freq": 3}
    assert one["params"] == {"a": 1, "b": 1}


def test_slugs() -> None:
    assert slug("NBSP, memory size 10,000 (SB3's)") == "nbsp-memory-size-10000-sb3-s"


@pytest.mark.parametrize("name", ["quick.yml", "metaworld.yml"])
def test_shipped_suites_can_be_trained(name: str, tmp_path: Path) -> None:
    assert name in shipped_suites()
    suite = Suite.read(name)
    for cell in suite.cells(tmp_path):
        assert cell.algo in {*ALGORITHMS, *PARENTS}
        arguments = dict(argument.split(":", 1) for argument in cell.arguments if ":" in argument)
        known = ALGORITHMS[PARENTS.get(cell.algo, cell.algo)].__init__.__code__.co_varnames
        assert set(arguments) <= {*known, "callback", "steps_per_task", "cycles", "action_repeat", "horizon", "task_id"}
    memory = {method.axis[1] for method in suite.methods if method.axis and method.family == "NBSP"}
    assert memory == {0, 100, 1000, 10000}
    assert "rehearsal" in suite.baselines


def test_metaworld_is_four_visits() -> None:
    pytest.importorskip("metaworld")
    (cell, *_) = Suite.read("metaworld.yml").cells(Path("out"))
    start = cell.arguments.index("--env-kwargs") + 1
    pairs = (argument.split(":") for argument in cell.arguments[start : start + 4])
    sequence = sequence_of(cell.env, {name: int(value) for name, value in pairs})
    assert sequence is not None
    assert sequence.segments == ("coffee-button", "window-close") * 2 and sequence.total_steps == 48_000


def test_processes_at_a_time_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, anywhere = (Suite.read(name).cells(tmp_path)[:3] for name in ("quick.yml", "continual_world.yml"))
    monkeypatch.setattr(benchmark_command, "N_JOBS", 7)
    for on_gpu, population, cells, expected in (
        (True, True, anywhere, 1),
        (True, True, cpu, 7),
        (True, False, anywhere, 7),
        (False, True, anywhere, 7),
    ):
        monkeypatch.setattr(benchmark_command.th.cuda, "is_available", lambda there=on_gpu: there)
        assert benchmark_command.n_jobs_for(cells, population) == expected


def test_dry_run_shows_states_and_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = suite_of(tmp_path)
    folder = tmp_path / "out"
    write_manifest(suite.cells(folder)[0], None)
    benchmark_command.main([str(tmp_path / "suite.yml"), "-f", str(folder), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("10 cells (4 methods, 2 sequences, 2 seeds)")
    assert lines[1].split()[0] == "9" and lines[2].split()[0] == "1"
    assert lines[4].startswith("interrupted  sb3-nbsp train --algo sac")
    assert not (folder / "suite.json").exists()
    benchmark_command.main([str(tmp_path / "suite.yml"), "-f", str(folder), "--dry-run", "--seeds", "3-5", "7"])
    text = capsys.readouterr().out
    assert "sb3-nbsp train" not in text and "--only" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == ["sequence", "method", "waiting: seeds", "interrupted: seeds"]
    assert rows[2][2:] == ["4 to 5, 7", "3"] and all(row[2:] == ["3 to 5, 7", ""] for row in rows[3:7])


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(suite_of(tmp_path).cells(tmp_path / "out")[0], None)
    (tmp_path / "suite.yml").write_text(SUITE.replace("batch_size: 32", "batch_size: 33"))
    with pytest.raises(SystemExit, match="2"):
        benchmark_command.main([str(tmp_path / "suite.yml"), "-f", str(tmp_path / "out")])
    assert "batch_size:32" in capsys.readouterr().err


def test_a_report_is_told_what_there_is_to_be(tmp_path: Path) -> None:
    suite_of(tmp_path).write(tmp_path / "out")
    content = json.loads((tmp_path / "out" / "suite.json").read_text())
    assert content["baselines"] == ["plain"] and content["last_evaluations"] == 3 and content["sequences"] == ["A", "B"]
    assert {"sequence": "A", "method": "NBSP", "seed": 4} in content["cells"] and len(content["cells"]) == 10


def test_without_submitit_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "sb3_nbsp.benchmark.slurm", raising=False)
    monkeypatch.delattr("sb3_nbsp.benchmark.slurm", raising=False)
    suite_of(tmp_path)
    with pytest.raises(ImportError, match=r'pip install "sb3-nbsp\[slurm\]"'):
        benchmark_command.main([str(tmp_path / "suite.yml"), "-f", str(tmp_path / "out"), "--slurm"])


ALIASES = SUITE + "aliases: {SAC: plain, 'NBSP, no memory': mask only, BSP: NBSP}\n"


def test_earlier_names_of_methods_are_understood(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, ALIASES)
    for old, names in (
        ("SAC", {"plain"}),
        ("NBSP, no*", {"mask only"}),
        ("BSP", {"mask only", "NBSP", "NBSP, memory size 1,000"}),
    ):
        assert {cell.method for cell in suite.cells(tmp_path, [old])} == names
    (tmp_path / "a" / "nbsp-no-memory" / "seed3").mkdir(parents=True)  # trained under the earlier name
    (cell,) = suite.cells(tmp_path, ["mask only"], [3])
    assert cell.folder == tmp_path / "a" / "nbsp-no-memory" / "seed3" and cell.method == "mask only"


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ("{old: nothing}", "Expected aliases of methods among 'NBSP', .*, got .'nothing'."),
        ("{plain: NBSP}", "Expected as aliases names that no method has, got .'plain'."),
        ("{old: 1}", "Expected aliases as OLD NAME: NAME, got 'old': 1"),
    ],
)
def test_aliases_that_lead_nowhere_are_refused(tmp_path: Path, aliases: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        suite_of(tmp_path, SUITE + f"aliases: {aliases}\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("algo: nbspsac", "algo: nbspsca"), r"Unknown algo 'nbspsca'\. Did you mean 'nbspsac'"),
        (("batch_size: 32", "batchsize: 32"), r"Unknown argument of SAC 'batchsize'\. Did you mean 'batch_size'"),
        (("memory_size: 5}", "skill_fraction: 7}"), "skill_fraction must be a number"),
        (("batch_size: 32", "gamma: 2"), "gamma must be a number"),
        (("PointGoal-v0", "PointGaol-v0"), "PointGaol"),
        (("cycles: 1", "cycle: 1"), "cycle"),
        (("params: {score: random}", "callbacks: [sb3_nbsp.baselines.EWCC]"), "EWCC cannot be made"),
        (("params: {score: random}", "callbacks: [{sb3_nbsp.baselines.EWC: {coeff: 1}}]"), r"EWC cannot be made.*coeff"),
    ],
)  # fmt: skip
def test_what_no_training_can_use_is_told_before_the_first(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    cells = suite_of(tmp_path, SUITE.replace(*change)).cells(tmp_path)
    with pytest.raises(ValueError, match=words):
        check_cells(cells)
    check_cells(suite_of(tmp_path).cells(tmp_path))


def test_methods_and_sequences_that_do_not_meet_are_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"the chosen methods are trained on, 'A'; got \['B'\]"):
        suite_of(tmp_path).cells(tmp_path, only=["NBSP"], sequences=["B"])
