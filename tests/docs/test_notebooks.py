"""The notebooks run from top to bottom with a small budget, and are what their sources say."""

import os
import runpy
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXAMPLES = Path(__file__).parents[2] / "examples"
MAKE = runpy.run_path(str(EXAMPLES / "make_notebooks.py"))
SOURCES = MAKE["SOURCES"]
SMALL_BUDGET = 60  # env steps per task
MAX_BYTES = 500_000


def source_id(source):
    return source.stem


@pytest.mark.parametrize("source", SOURCES, ids=source_id)
def test_runs_with_a_small_budget(source, tmp_path, monkeypatch):
    if "meta_world" in source.stem:
        pytest.importorskip("metaworld")
        pytest.importorskip("rl_zoo3")
    if "ppo" in source.stem:
        pytest.importorskip("ale_py")
    monkeypatch.setenv("NOTEBOOK_STEPS", str(SMALL_BUDGET))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = MAKE["read_source"](source)
    MAKE["run"](notebook, tmp_path, timeout=120)
    for cell in notebook.cells:  # that the budget is shorter than a warm-up is told there
        cell["outputs"] = [output for output in cell.get("outputs", ()) if output.get("name") != "stderr"]
    assert not MAKE["machine_paths"](notebook)
    assert list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("source", SOURCES, ids=source_id)
def test_stored_notebook_is_its_source(source):
    stored = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    wanted = MAKE["read_source"](source)
    cells = [[(cell.id, cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (stored, wanted)]
    assert cells[0] == cells[1], "run `make notebooks`"
    nbformat.validate(stored)


@pytest.mark.parametrize("source", SOURCES, ids=source_id)
def test_stored_outputs_are_small_and_tell_no_machine(source):
    path = source.with_suffix(".ipynb")
    stored = nbformat.read(path, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "run `make notebooks`"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs), "a run gives no warning"
    assert not MAKE["machine_paths"](stored)
    assert path.stat().st_size < MAX_BYTES


def test_machine_paths_are_found():
    output = nbformat.v4.new_output("stream", text="runs/a.png\nPicture: /home/somebody/a.png\n1/2 and https://x.org/tmp/a")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    assert MAKE["machine_paths"](notebook) == ["Picture: /home/somebody/a.png"]
