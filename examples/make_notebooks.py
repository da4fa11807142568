"""
Make the notebooks out of their sources, the .py files beside them, and run them.

    python examples/make_notebooks.py                    # all of them, with their own budgets
    python examples/make_notebooks.py 1_quick_start      # one of them
    python examples/make_notebooks.py --text             # only the text has changed: nothing is run, outputs stay
"""

import argparse
import re
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("[0-9]_*.py"))
# What tells of the machine that a notebook ran on: absolute paths of files, and temporary folders.
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|opt|var|mnt|Users|private)/[\w.]|[A-Z]:\\")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read_source(source: Path) -> nbformat.NotebookNode:
    """
    :param source: a .py file in jupytext's percent format
    :return: the notebook without outputs. What differs from one conversion to the next is fixed.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
        cell.metadata = nbformat.from_dict({})
    return notebook


def run(notebook: nbformat.NotebookNode, folder: Path, timeout: int = 14_400) -> None:
    """
    Run a notebook in place, from top to bottom.

    :param notebook: is given its outputs, warnings (stderr) among them
    :param folder: where it runs, and writes
    :param timeout: seconds for each cell
    :raises CellExecutionError: if a cell fails
    """
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})


def machine_paths(notebook: nbformat.NotebookNode) -> list[str]:
    """
    :param notebook: with outputs
    :return: lines of its text outputs that hold a path of the machine it ran on
    """
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts += [output.get("text", ""), *output.get("traceback", [])]
            texts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return [line for text in texts for line in text.splitlines() if MACHINE_PATH.search(line)]


def keep_outputs(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> None:
    """
    :param notebook: is given the outputs of the stored one
    :param stored: ran earlier, with the same code
    :raises ValueError: if the code is another
    """
    old, new = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (stored, notebook))
    if [cell.source for cell in old] != [cell.source for cell in new]:
        raise ValueError("The code has changed, not only the text: run it without --text.")
    for before, cell in zip(old, new, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count


def main(names: list[str], text_only: bool = False) -> None:
    """
    :param names: sources without ending; none for all
    :param text_only: run nothing, exchange the text around the stored outputs
    """
    for source in SOURCES:
        if names and source.stem not in names:
            continue
        print(source.name, flush=True)
        notebook = read_source(source)
        if text_only:
            keep_outputs(notebook, nbformat.read(source.with_suffix(".ipynb"), as_version=4))
        else:
            with tempfile.TemporaryDirectory() as folder:
                run(notebook, Path(folder))
        if lines := machine_paths(notebook):
            raise ValueError(f"Outputs of {source.name} hold paths of this machine: {lines}")
        nbformat.write(notebook, source.with_suffix(".ipynb"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="names without ending (default: all)")
    parser.add_argument("--text", action="store_true", help="the code has not changed: keep the outputs and run nothing")
    args = parser.parse_args()
    main(args.notebooks, args.text)
