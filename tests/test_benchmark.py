"""Cells and the demonstration, with trainings of a few steps."""

from dataclasses import replace
from pathlib import Path

import pytest

from sb3_nbsp.benchmark import demo
from sb3_nbsp.benchmark.cells import CellError, run_cells

pytest.importorskip("rl_zoo3")


@pytest.fixture
def cells(tmp_path: Path) -> list:
    cell, *_ = demo.make_cells(tmp_path, "sac", seeds=[0], steps_per_task=60)
    arguments = (*cell.arguments, "scoring_steps:20", "learning_starts:30")
    return [replace(cell, arguments=arguments), replace(cell, arguments=arguments, seed=1, folder=tmp_path / "second")]


def test_cells_are_run_once(cells: list) -> None:
    seen = []
    run_cells(cells, n_jobs=2, watch=seen.extend)
    assert set(seen) == set(cells)
    assert all(cell.is_done and cell.progress == 1 for cell in cells)
    written = [next(cell.folder.glob("*/*/results.json")).stat().st_mtime for cell in cells]
    run_cells(cells, n_jobs=2)
    assert [next(cell.folder.glob("*/*/results.json")).stat().st_mtime for cell in cells] == written


def test_a_failed_cell_is_reported_and_the_others_are_finished(cells: list) -> None:
    broken = replace(cells[0], arguments=("--no-such-argument",))
    with pytest.raises(CellError, match="no-such-argument"):
        run_cells([broken, cells[1]], n_jobs=2)
    assert cells[1].is_done and not broken.is_done


def test_demo_ends_with_a_table_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo.main(["-f", str(tmp_path), "--algo", "dqn", "--seeds", "0", "--steps-per-task", "60", "--n-jobs", "2"])
    table = (tmp_path / "demo.md").read_text()
    assert all(method in table for method in demo.methods("dqn"))
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert "demo.png" in capsys.readouterr().out
