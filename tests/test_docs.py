"""What README and examples show runs, with small budgets."""

import re
import runpy
from pathlib import Path

import pytest
from helpers import task_env

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def test_the_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(BLOCKS[0].replace("8_000", "300"), names)
    assert (tmp_path / "point.zip").is_file() and names["model"].num_timesteps == 300


def test_tasks_of_your_own(capsys):
    names = {"env_a": task_env("east"), "env_b": task_env("west")}
    exec("from sb3_nbsp import NBSPSAC\n" + BLOCKS[1].replace("100_000", "120"), names)
    assert names["model"].learned_tasks == ["A"] and names["model"].num_timesteps == 240
    assert "Skill neurons of A" in capsys.readouterr().out


def test_building_blocks(capsys):
    main = runpy.run_path(str(ROOT / "examples" / "building_blocks.py"))["main"]
    main(steps=200)
    printed = capsys.readouterr().out
    assert "80% of the actor's neurons are free" in printed
    assert "moved, 0 chosen ones" in printed
