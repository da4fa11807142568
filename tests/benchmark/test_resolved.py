"""A cell records the value of every argument of NBSP, and a default that changes makes it another training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sb3_nbsp.benchmark import resolved_arguments as module
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.earlier_values import BEFORE, DEFAULTS, OF_ENVS
from sb3_nbsp.benchmark.manifest import ForeignCellError, changed_settings, check_manifest, read_json, write_manifest
from sb3_nbsp.benchmark.resolved_arguments import (
    hyperparameters,
    nbsp_defaults,
    recorded_arguments,
    resolved_arguments,
    without,
)

ENV = "sb3_nbsp/PointGoal-v0"


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell("m", "nbspsac", ENV, 0, tmp_path / "cell", ("--eval-freq", "5", "-params", "memory_size:7", "--device", "cpu"))


def set_default(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    changed = {**nbsp_defaults("nbspsac"), name: value}
    monkeypatch.setattr(module, "nbsp_defaults", lambda algo: changed if algo == "nbspsac" else {})


def test_values_come_from_the_command_then_the_settings_file_then_the_signature(cell: Cell) -> None:
    values = resolved_arguments(cell.algo, cell.env, cell.arguments)
    assert (values["memory_size"], values["scoring_steps"], values["mask_coef"]) == (7, 1_000, 0.2)
    assert "learning_rate" not in values and values.keys() == nbsp_defaults("nbspsac").keys()
    given = resolved_arguments("nbspsac", "another", ("-params", 'score:"taylor"', "scoring_steps:9", "task_warmup:None"))
    assert (given["score"], given["scoring_steps"], given["task_warmup"], given["memory_size"]) == ("taylor", 9, None, 10_000)
    assert resolved_arguments("sac", ENV, ()) == {}  # it has no such argument


def test_a_settings_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(f"{ENV}: {{scoring_steps: 3, learning_rate: 0.1}}\n")
    values = resolved_arguments("nbspsac", ENV, ("--conf-file", str(tmp_path / "own.yml"), "-params", "memory_size:1"))
    assert (values["scoring_steps"], values["memory_size"]) == (3, 1)


@pytest.mark.parametrize("algo", DEFAULTS)
def test_earlier_values_are_of_arguments_that_exist(algo: str) -> None:
    """A removed or renamed argument would leave earlier cells without a value to compare."""
    assert DEFAULTS[algo].keys() | BEFORE.get(algo, {}).keys() <= nbsp_defaults(algo).keys()
    assert all(values.keys() <= DEFAULTS[algo].keys() for values in OF_ENVS[algo].values())


def test_a_manifest_records_them(cell: Cell) -> None:
    write_manifest(cell, None)
    manifest = read_json(cell.folder / "manifest.json")
    assert manifest is not None and manifest["resolved"] == resolved_arguments(cell.algo, cell.env, cell.arguments)
    assert recorded_arguments(manifest) == manifest["resolved"]


def test_a_changed_default_is_another_training(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(cell, None)
    set_default(monkeypatch, "mask_coef", 0.5)
    with pytest.raises(ForeignCellError, match=r"\(mask_coef: 0.2 there, 0.5 now\).* recorded value among the suite's params"):
        check_manifest(cell)
    named = replace(cell, arguments=("--eval-freq", "5", "-params", "mask_coef:0.2", "memory_size:7", "--device", "cpu"))
    check_manifest(named)  # what the message says to do
    with pytest.raises(
        ForeignCellError, match=r"arguments: \['--eval-freq 5'\] there, \[\] now; mask_coef: 0.2 there, 0.3 now"
    ):
        check_manifest(replace(cell, arguments=("-params", "mask_coef:0.3", "memory_size:7")))


def test_what_was_given_does_not_change_with_a_default(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(cell, None)
    set_default(monkeypatch, "memory_size", 1)
    assert changed_settings(cell) == ""


def test_a_new_argument_is_no_difference_until_it_is_given(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(cell, None)
    set_default(monkeypatch, "invented", 1)
    assert changed_settings(cell) == ""
    assert "invented:2" in changed_settings(replace(cell, arguments=(*cell.arguments[:4], "invented:2", *cell.arguments[4:])))


def test_what_held_before_an_argument_existed_counts_for_cells_that_do_not_record_it(cell: Cell) -> None:
    write_manifest(cell, None)
    path = cell.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["resolved"]["rehearsal"]
    path.write_text(json.dumps(manifest))
    with_params = replace(
        cell, arguments=("--eval-freq", "5", "-params", "memory_size:7", "rehearsal:'replay'", "--device", "cpu")
    )
    assert changed_settings(with_params) == ""
    cloned = replace(cell, arguments=("--eval-freq", "5", "-params", "memory_size:7", "rehearsal:'clone'", "--device", "cpu"))
    assert "rehearsal: 'replay' there, 'clone' now" in changed_settings(cloned)


def test_cells_of_earlier_commits_get_the_values_of_then(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(cell, None)
    path = cell.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["resolved"]
    path.write_text(json.dumps(manifest))
    earlier = recorded_arguments(manifest)
    assert (earlier["memory_size"], earlier["scoring_steps"], earlier["mask_coef"]) == (7, 1_000, 0.2)
    set_default(monkeypatch, "mask_coef", 0.5)
    assert "mask_coef: 0.2 there, 0.5 now" in changed_settings(cell).split("; ")


def test_what_sb3s_own_algorithm_does_not_take_is_no_difference(tmp_path: Path) -> None:
    """A suite names NBSP's settings for all its methods; SAC's cells leave them out."""
    cell = Cell("m", "sac", ENV, 0, tmp_path / "cell", ("--eval-freq", "5", "--device", "cpu"))
    write_manifest(cell, None)
    named = replace(cell, arguments=("--eval-freq", "5", "-params", "reset_ent_coef:True", "--device", "cpu"))
    assert changed_settings(named) == ""
    assert "gamma" in changed_settings(
        replace(cell, arguments=("--eval-freq", "5", "-params", "gamma:0.5", "--device", "cpu"))
    )


def test_arguments_without_some_hyperparameters() -> None:
    arguments = ("--eval-freq", "5", "-params", "a:1", "b:2", "c:3", "--device", "cpu")
    assert without(["b"], arguments) == ["--eval-freq", "5", "-params", "a:1", "-params", "c:3", "--device", "cpu"]
    assert without("abc", arguments) == ["--eval-freq", "5", "--device", "cpu"]


def test_an_option_that_is_given_twice_counts_as_train_reads_it() -> None:
    """A suite's params, and -params among its arguments."""
    twice = ("-params", "skill_fraction:0.3", "scoring_steps:20", "--device", "cpu", "-params", "scoring_steps:30")
    assert hyperparameters("sac", ENV, twice) == {"skill_fraction": 0.3, "scoring_steps": 30}
