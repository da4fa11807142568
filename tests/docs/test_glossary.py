"""One name for one thing: the glossary has every method and metric, every page leads to it, and earlier names are gone."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.evaluation import Metrics
from sb3_nbsp.evaluation.method_styles import STYLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GLOSSARY = DOCS / "guide" / "glossary.md"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] != "results"]
PAGES += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
EXAMPLES = [path for path in sorted((ROOT / "examples").iterdir()) if path.suffix in (".py", ".ipynb")]
SOURCES = [path for path in sorted((ROOT / "sb3_nbsp").rglob("*")) if path.suffix in (".py", ".yml")]

# The demonstration's names say which algorithm.
METHODS = {name for name in STYLES if not re.match("(NBSP)?(SAC|TQC|DQN|QRDQN|PPO)", name)}
EARLIER = {old for suite in shipped_suites() for old in Suite.read(suite).aliases}
EARLIER |= {"reset at the switch", ", as it is in SB3"}  # of demonstration and notebooks
# Files that name what is not there: a placeholder, and ids of environments.
NO_PATHS = re.compile(r"NAME|sb3_nbsp/[\w-]+-v\d+$")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", GLOSSARY.read_text(), flags=re.MULTILINE | re.DOTALL)[1]


def first_cells(text: str) -> list[str]:
    rows = re.findall(r"^\| (.*?) \|", text, flags=re.MULTILINE)
    return [cell for cell in rows if cell not in ("method", "name") and not cell.startswith("---")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_leads_to_the_glossary(page):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    assert page == GLOSSARY or GLOSSARY in [(page.parent / link).resolve() for link in links]


def test_it_has_every_method_once():
    named = first_cells(section("Methods"))
    assert sorted(named) == sorted(METHODS)
    assert {method.name for suite in shipped_suites() for method in Suite.read(suite).methods} <= set(named)


def test_it_has_every_metric():
    assert all(f"`{field.name}`" in section("Metrics") for field in dataclasses.fields(Metrics))


def test_it_explains_earlier_names():
    explained = " ".join(first_cells(section("Also called"))).replace(" (", ", ").replace(")", "")
    assert [old for old in EARLIER if old.replace(" (", ", ").replace(")", "") not in explained] == []


@pytest.mark.parametrize("page", (*PAGES, *EXAMPLES), ids=name_of)
def test_no_method_has_an_earlier_name(page):
    text = page.read_text()
    if page == GLOSSARY:
        text = text.replace(section("Also called"), "")
    text = " ".join(text.split())  # a name may go on in the next line
    assert [old for old in sorted(EARLIER) if re.search(rf"(?<!\w){re.escape(old)}(?!\w)", text)] == []


@pytest.mark.parametrize("page", (*PAGES, *sorted(DOCS.glob("results/*/README.md"))), ids=name_of)
def test_paths_in_texts_exist(page):
    paths = re.findall(r"`((?:sb3_nbsp|tests|docs|speed|examples|hyperparams)/[\w./-]*)", page.read_text())
    assert [path for path in paths if not NO_PATHS.search(path) and not (ROOT / path).exists()] == []


def test_paths_in_docstrings_and_comments_exist():
    pattern = re.compile(r"(?<![\w./])((?:sb3_nbsp|tests|docs|speed|hyperparams)/[\w./-]*\.(?:py|md|yml))\b")
    missing = {(name_of(source), path) for source in SOURCES for path in pattern.findall(source.read_text())}
    assert [(source, path) for source, path in sorted(missing) if not (ROOT / path).exists()] == []


def resolves(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_references_lead_to_what_there_is():
    """Sphinx does not say when they do not."""
    pattern = re.compile(r"(?:\{py:\w+\}|:(?:class|func|meth|mod|data|attr):)`[~!]?(sb3_nbsp\.[\w.]+)`")
    references = {(name_of(path), name) for path in (*PAGES, *SOURCES) for name in pattern.findall(path.read_text())}
    assert len(references) > 50
    assert [(path, name) for path, name in sorted(references) if not resolves(name)] == []
