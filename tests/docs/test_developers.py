"""The developer page against the code: what we override of SB3, and a model's file."""

import re
import zipfile
from pathlib import Path

import pytest
from helpers.cases import PPO_CASE, SAC_CASE, TABLE, every_case
from torch import nn

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "developers.md").read_text()
# What a class is rather than does; learn() stands in the table for all.
NOT_METHODS = {"__init__", "__module__", "__doc__", "policy_aliases", "learn"}


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL).group(1)


def table() -> set[tuple[str, str]]:
    """(method, class) of the table; a method's name stands in its first row only."""
    pairs, methods = set(), []
    rows = [line.split("|")[1:-1] for line in section("What we override of SB3").splitlines() if line.startswith("|")]
    for row in rows[2:]:
        methods = re.findall(r"`(\w+)`", row[0]) or methods
        classes = re.findall(r"`(\w+)`", row[1])
        one_each = len(methods) == len(classes) > 1
        pairs |= set(zip(methods, classes, strict=True)) if one_each else {(m, c) for m in methods for c in classes}
    return pairs


def test_the_table_of_overrides_is_the_code():
    overrides = set()
    for case in TABLE:
        theirs = {name for cls in case.parent.__mro__[:-1] for name in vars(cls)} - NOT_METHODS
        for cls in case.cls.__mro__:
            if cls.__module__.startswith("sb3_nbsp"):
                found = {name for name in vars(cls) if callable(getattr(cls, name)) and name in theirs}
                overrides |= {(name, cls.__name__) for name in found}
    assert table() == overrides


@pytest.mark.filterwarnings("ignore:The goal metric")
@every_case
def test_the_tree_of_a_file_is_the_file(case, tmp_path):
    every = {"task_gates": True, "policy_kwargs": {"activation_fn": nn.ReLU}}
    every |= {} if case is PPO_CASE else {"rehearsal": "both"}
    model = case.made(env=case.sequence_env(task_id=True), **every).learn(70)
    model.save(tmp_path / "model")
    lines = re.findall(r"^[├└]── (\S+)", section("A model's file"), flags=re.MULTILINE)
    optimizers = [f"{name}.pth" for name in model._get_torch_save_params()[0] if name.endswith("optimizer")]
    buffer = "rollout_buffer" if case is PPO_CASE else "replay_buffer"
    shown = {line.replace("replay_buffer", buffer) for line in lines} - {"*.optimizer.pth"} | set(optimizers)
    shown -= {"cloning.memory.pth"} if case is PPO_CASE else {"rollout_buffer.recent.pth"}
    assert all(name.removesuffix(".pth") in PAGE for name in optimizers)
    assert set(zipfile.ZipFile(tmp_path / "model.zip").namelist()) == shown


def test_before_the_first_consolidation_a_file_has_the_parents_form(tmp_path):
    SAC_CASE.made().learn(30).save(tmp_path / "ours")
    SAC_CASE.made_parent().learn(30).save(tmp_path / "parents")
    ours, parents = (set(zipfile.ZipFile(tmp_path / f"{name}.zip").namelist()) for name in ("ours", "parents"))
    first, _ = section("A model's file").split("│\n├── neuron_masks.pth")
    assert ours - {"settings.json"} == parents and all(name in first for name in ours if "optimizer" not in name)
