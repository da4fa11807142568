"""Tests lie where what they test lies, in files that can be read at one sitting; and they run on the CPU."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import torch as th
from helpers import run_python

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "sb3_nbsp"
MAX_LINES = 400
NO_ROOMS = {
    "algorithms",  # what holds for all classes
    "data",  # files that older versions wrote
    "docs",
    "gpu",
    "helpers",
    "reliability",  # bad inputs and interrupted runs, across all rooms
    "sb3_suite",  # SB3's own tests, with our classes
}
FILES = sorted(TESTS.rglob("*.py"))
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users)/[\w.]")
EXAMPLES_OF_PATHS = {"tests/docs/test_notebooks.py", "examples/make_notebooks.py", "tests/test_tree.py"}  # which find them


def test_no_file_is_too_long():
    assert len(FILES) > 50
    assert [str(file) for file in FILES if len(file.read_text().splitlines()) > MAX_LINES] == []


def test_folders_are_named_after_the_packages_rooms():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {file.relative_to(TESTS).parts[0] for file in FILES if file.parent != TESTS}
    assert folders >= NO_ROOMS and folders - NO_ROOMS <= rooms


def test_no_two_files_share_a_name():
    """pytest imports test files by their name alone."""
    names = Counter(file.name for file in FILES if file.name.startswith("test_"))
    assert [name for name, n in names.items() if n > 1] == []


def test_whatever_needs_a_gpu_is_marked():
    """Else it would run, and be skipped, with all the others."""
    for file in (TESTS / "gpu").glob("test_*.py"):
        marks = [node.value for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
        assert any("pytest.mark.gpu" in ast.unparse(value) for value in marks), file.name


def test_helpers_hold_no_tests():
    assert [str(file) for file in (TESTS / "helpers").rglob("*.py") if "\ndef test_" in file.read_text()] == []


def test_gpus_are_hidden_also_from_processes_that_tests_start(tmp_path):
    assert not th.cuda.is_available()
    code = "import os, torch; print(os.environ['CUDA_VISIBLE_DEVICES'] == '', torch.cuda.is_available())"
    assert run_python("-c", code, folder=tmp_path).split()[-2:] == ["True", "False"]


def test_no_file_names_a_path_of_one_machine():
    """Whoever follows a command has no such folder: a path is relative, or comes from ``tempfile``."""
    listed = subprocess.run(["git", "ls-files"], cwd=PACKAGE.parent, capture_output=True, text=True, check=True).stdout.split()
    found = []
    for name in {*listed} - EXAMPLES_OF_PATHS:
        try:
            text = (PACKAGE.parent / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):  # a picture; a file that is about to be removed
            continue
        found += [f"{name}: {line}" for line in text.splitlines() if MACHINE_PATH.search(line)]
    assert found == []
