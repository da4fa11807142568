"""README is short; its numbers and those of the evidence's tables are those of the published reports."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
README = (ROOT / "README.md").read_text()
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text()
NUMBER = r"-?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\]"
# The reports that a column is taken from, and the section there.
FOUR_TASKS, META_WORLD = (("quick", "cloning-in-class"), "four tasks"), (("metaworld",), "coffee-button, window-close")
README_COLUMNS = {"four short tasks, 10 seeds": FOUR_TASKS, "Meta-World, 5 seeds": META_WORLD}
EVIDENCE_COLUMNS = {"four tasks": FOUR_TASKS, "Meta-World": META_WORLD}
NOT_THERE = ("being trained", "not in the suite")


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


def check(text: str, column: str, of: dict[str, str]) -> int:
    """Every row of the table of methods says what the report says; returns the number of rows."""
    head, *rows = table(text, "method")
    for row in rows:
        method, value = re.sub(r"( \(|: ).*", "", row[0]), row[head.index(column)]
        assert value == of[method] if method in of else value in NOT_THERE, method
    return len(rows)


@pytest.mark.parametrize("column", README_COLUMNS)
def test_its_result_table_is_the_reports(column):
    assert 1 <= check(README, column, reported(*README_COLUMNS[column])) <= 6


@pytest.mark.parametrize("column", EVIDENCE_COLUMNS)
def test_the_evidences_table_is_the_reports(column):
    assert check(EVIDENCE, column, reported(*EVIDENCE_COLUMNS[column])) > 20


def test_bold_differences_are_those_whose_interval_is_wholly_on_one_side():
    paired = EVIDENCE[EVIDENCE.index("## Paired differences") : EVIDENCE.index("## What holds")]
    differences = re.findall(rf"(\*\*)?({NUMBER})", "".join(re.findall(r"^\|.*\n", paired, flags=re.MULTILINE)))
    assert len(differences) > 30
    for bold, difference in differences:
        low, high = (float(bound) for bound in re.search(r"\[(.*), (.*)\]", difference).groups())
        if low * high != 0:  # a rounded 0.00 does not tell
            assert bool(bold) == (low * high > 0), difference


def test_every_number_with_an_interval_is_reported():
    known = {number for path in RESULTS.rglob("report.md") for number in re.findall(NUMBER, path.read_text())}
    assert set(re.findall(NUMBER, " ".join(README.split()))) <= known
