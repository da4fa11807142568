"""README is short, and its numbers are those of the published reports."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
README = (ROOT / "README.md").read_text()
NUMBER = r"-?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\]"
# README's column -> the reports that it is taken from, and the section there.
COLUMNS = {
    "four short tasks, 10 seeds": (("quick", "cloning-in-class"), "four tasks"),
    "Meta-World, 5 seeds": (("metaworld",), "coffee-button, window-close"),
}


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the first table that has this column first, its head included."""
    rows = re.search(rf"(^\| {first} .*\n(?:\|.*\n)+)", text, flags=re.MULTILINE)[1]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows.splitlines() if not re.match(r"\|[ -]*-", line)]


def reported(folders: tuple[str, ...], section: str) -> dict[str, str]:
    """ASR by method."""
    found = {}
    for folder in folders:
        report = (RESULTS / folder / "report" / "report.md").read_text()
        head, *rows = table(report[report.index(f"## {section}") :], "method")
        found |= {row[0]: row[head.index("ASR")] for row in rows}
    return found


def test_it_is_short():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    words = [word for line in prose.splitlines() if not line.startswith("|") for word in line.split()]
    assert len(words) <= 900 and len(README) <= 12_000


@pytest.mark.parametrize("column", COLUMNS)
def test_its_result_table_is_the_reports(column):
    head, *rows = table(README, "method")
    assert 1 <= len(rows) <= 6
    of = reported(*COLUMNS[column])
    for row in rows:
        method, value = re.sub(r" \(.*", "", row[0]), row[head.index(column)]
        assert value == of.get(method, "being trained"), method


def test_every_number_with_an_interval_is_reported():
    known = {number for path in RESULTS.rglob("report.md") for number in re.findall(NUMBER, path.read_text())}
    assert set(re.findall(NUMBER, " ".join(README.split()))) <= known
