"""The house: imports run one way, rooms and functions stay small, nothing in it is said twice."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sb3_nbsp

PACKAGE = Path(sb3_nbsp.__file__).parent
ROOT = PACKAGE.parent
# Each room may import the rooms that are named, and itself. Whatever else it needs comes from libraries.
ALGORITHMS = ("sac", "tqc", "dqn", "qrdqn", "ppo")
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "neurons": {"base"},
    "protection": {"base", "neurons"},
    "rehearsal": {"base"},
    "checkpoints": {"base", "rehearsal"},
    "common": {"base", "neurons", "protection", "rehearsal", "checkpoints"},
    "tasks": {"base"},
    **{name: {"base", "neurons", "protection", "rehearsal", "checkpoints", "common"} for name in ALGORITHMS},
    "population": {"base", "checkpoints", "common", "protection", "sac"},
    "evaluation": {"base", "neurons", "common", "tasks"},
    "baselines": {"base", "neurons", "rehearsal", "common", "evaluation"},
    "task_ids": {"base", "common", "baselines"},
    "probe": {"base", "neurons", "common", "evaluation"},
    "suites": set(),
    "benchmark": {"base", "neurons", "checkpoints", "evaluation", "suites"},
    "zoo": {
        "base",
        "neurons",
        "checkpoints",
        "common",
        *ALGORITHMS,
        "population",
        "tasks",
        "evaluation",
        "baselines",
        "probe",
        "benchmark",
    },
    "cli": {"base", "zoo"},
}
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in MODULES.items() if "hyperparams" not in name}


def imports(module: str) -> Iterator[str]:
    """Modules of ours that a module imports, wherever it does, for type checking too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "sb3_nbsp")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sb3_nbsp":
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in submodules)


def room(module: str) -> str:
    return ([*module.split("."), ""])[1]


@pytest.mark.parametrize("module", [name for name in MODULES if room(name)])
def test_imports_run_one_way(module):
    upwards = {name for name in imports(module) if room(name) not in {"", room(module), *MAY_IMPORT[room(module)]}}
    assert not upwards, f"{module} may import {sorted(MAY_IMPORT[room(module)])}"


def test_the_rooms_form_no_circle():
    for start in MAY_IMPORT:
        seen, waiting = set(), [start]
        while waiting:
            reached = MAY_IMPORT[waiting.pop()] - seen
            seen |= reached
            waiting += reached
        assert start not in seen


def test_modules_form_no_circle():
    """Within a room too. That a module imports the package above it, which imports the module, is no circle of ours."""
    graph = {name: {other for other in imports(name) if not name.startswith(f"{other}.")} for name in MODULES}
    for package in [name for name in graph if MODULES[name].name == "__init__.py"]:
        graph[package] = set()  # it hands on names
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_what_is_imported_is_only_what_the_package_shows_once():
    """``import sb3_nbsp`` leaves the commands, plots and baselines alone."""
    reached, waiting = set(), ["sb3_nbsp"]
    while waiting:
        new = set(imports(waiting.pop())) - reached
        reached |= new
        waiting += new
    assert {room(name) for name in reached} <= {
        "",
        "base",
        "neurons",
        "protection",
        "rehearsal",
        "checkpoints",
        "common",
        "tasks",
        *ALGORITHMS,
    }


@pytest.mark.parametrize("path", [pytest.param(path, id=name) for name, path in MODULES.items()])
def test_files_and_functions_are_small(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            assert node.end_lineno is not None and node.end_lineno - node.lineno < 50, node.name


@pytest.mark.parametrize("name", sb3_nbsp.__all__)
def test_an_algorithm_has_at_most_five_classes_of_ours(name):
    thing = getattr(sb3_nbsp, name)
    if isinstance(thing, type):
        assert sum(cls.__module__.startswith("sb3_nbsp") for cls in thing.__mro__) <= 5


def test_every_room_is_in_the_wheel():
    listed = re.search(r"^packages = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert listed is not None
    rooms = {f"sb3_nbsp.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    assert set(re.findall(r'"(.*?)"', listed[1])) == {"sb3_nbsp", "sb3_nbsp.hyperparams", *rooms}


def test_the_version_is_said_in_one_place():
    version = re.escape(sb3_nbsp.__version__)
    files = [ROOT / name for name in ("pyproject.toml", "setup.cfg", "CITATION.cff", "README.md")]
    saying = [path for path in (*files, *MODULES.values()) if re.search(rf"""version[\W_]+{version}""", path.read_text())]
    assert [path.name for path in saying] == ["__init__.py"]
    assert re.search(rf"^## {version}", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
