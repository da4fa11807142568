"""Whether runs stay judged as their own suite says, where another suite may take its suite's place."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.earlier_names import suite_around
from sb3_nbsp.benchmark.file_names import RUNS, SUITE
from sb3_nbsp.benchmark.manifest import read_json
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.runs_file import Suites, read_runs_file
from sb3_nbsp.benchmark.same_settings import Differences, in_words

MANY = 3  # runs, of which an error names the first ones


def judging_lost(before: Mapping[str, Any], after: Mapping[str, Any]) -> Differences:
    """
    What a suite that only grew has kept: more baselines or copies, or references where there were none, lose nothing.

    :param before: content of a ``suite.json``; empty for runs without a suite
    :param after: what takes its place; its aliases hold for the other's names too
    :return: what the former says of how runs are judged and the latter does not, by name: there, and here
    """
    now = after.get("aliases", {})
    there, here = (_judging(suite, now) for suite in (before, after))
    kept = {
        "last_evaluations": there["last_evaluations"] == here["last_evaluations"],
        "baselines": set(there["baselines"]) <= set(here["baselines"]),
        "references": there["references"] in (None, here["references"]),
        "copies": there["copies"].items() <= here["copies"].items(),
    }
    return {name: (there[name], here[name]) for name, is_kept in kept.items() if not is_kept}


def check_suite_stays(folder: Path, content: Mapping[str, Any]) -> None:
    """
    The suite of one name may be edited. One of another name takes its place only where runs stay judged as they are.

    :param folder: parent of all cells' folders, with a ``suite.json`` or a file of published runs from before
    :param content: what ``suite.json`` is going to say
    :raises ValueError: if another suite's runs there would be judged otherwise
    """
    published = read_runs_file(folder / RUNS)[0] if (folder / RUNS).is_file() else {}
    there = read_json(folder / SUITE) or published.get(".", {})
    if there and there.get("name") != content["name"] and (lost := judging_lost(there, content)):
        raise ValueError(
            f"Expected a folder of its own for {_named(content)}, got {folder}, with runs of {_named(there)} that a report "
            f"would judge otherwise ({in_words(lost)}). Name another folder with -f: `sb3-nbsp report PARENT`, with both "
            f"below it, judges each run as its own suite says. If it is this suite, renamed, delete {folder / SUITE}."
        )


def _judging(suite: Mapping[str, Any], now: Mapping[str, str]) -> dict[str, Any]:
    """What a report reads of a suite beside names and their order, with the methods' names of now."""
    references = suite.get("references")
    return {
        "last_evaluations": suite.get("last_evaluations", 1),
        "baselines": [now.get(name, name) for name in suite.get("baselines", ())],
        "references": references and now.get(references, references),
        "copies": {now.get(name, name): now.get(base, base) for name, base in suite.get("copies", {}).items()},
    }


def check_still_judged(records: Iterable[Record], own: Suites, merged: Suites) -> None:
    """
    :param records: runs that are put together with others; a benchmark's cell that has no suite is judged by any
    :param own: the suites that they had
    :param merged: the suites that they have then
    :raises ValueError: if a report would judge finished ones of them otherwise
    """
    changed: dict[str, list[str]] = {}  # by what changes: the runs' folders
    for record in records:
        before, after = (suite_around(record.folder, suites) for suites in (own, merged))
        is_judged = record.is_finished and bool(before or not record.manifest)
        if is_judged and (lost := judging_lost(before, after)):
            what = f"as {_named(before)} says, got {_named(after)} ({in_words(lost)})"
            changed.setdefault(what, []).append(record.folder)
    for what, folders in changed.items():
        shown = ", ".join(folders[:MANY]) + (f" and {len(folders) - MANY} more" if len(folders) > MANY else "")
        raise ValueError(
            f"Expected that a report still judges {shown} {what}. Nothing was written. Use another --archive folder: "
            "`sb3-nbsp report PARENT`, with both below it, judges each run as its own suite says. If it is one suite that was "
            "edited, archive all its runs at once, out of one folder."
        )


def _named(suite: Mapping[str, Any]) -> str:
    return f"suite {suite.get('name')!r}" if suite else "no suite"
