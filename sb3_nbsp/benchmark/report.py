"""``sb3-nbsp report``: tables with intervals, and figures, of a benchmark or of any other runs."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.collect import Found, Run, collect
from sb3_nbsp.benchmark.comparison import Comparison, group
from sb3_nbsp.benchmark.report_figures import draw
from sb3_nbsp.benchmark.report_tables import pooled_section, sequence_section, write_csvs
from sb3_nbsp.benchmark.suite import slug
from sb3_nbsp.common.files import replacing
from sb3_nbsp.evaluation.table import markdown_table

READING = """\
Mean over seeds [95 % percentile bootstrap interval, too narrow with few seeds]. Interquartile mean: mean of the middle half of
the runs. P(better than X): probability that a run of the method beats a run of X, where a tie counts one half. Where sequences
are taken together, intervals are stratified by sequence. FM: the lower the better.
"""


def main(arguments: list[str]) -> None:
    """
    Write a report.

    :param arguments: command line arguments
    :raises SystemExit: with status 2 if there is nothing to report on
    """
    parser = argparse.ArgumentParser("sb3-nbsp report", description="Tables with intervals, and figures, of finished runs.")
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of a benchmark, or of any runs of sb3-nbsp train")
    parser.add_argument("-o", "--out", type=Path, help="where the report goes (default: RUNS/report)")
    parser.add_argument("--baselines", nargs="+", metavar="NAME", help="what others are compared with (default: the suite's)")
    last_help = "judge by the mean of the last K evaluations of each segment (default: the suite's, or 1)"
    parser.add_argument("--last", type=int, metavar="K", help=last_help)
    args = parser.parse_args(arguments)
    try:
        report = write_report(args.runs, args.out or args.runs / "report", args.baselines, args.last)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"sb3-nbsp report: {error}\n")
    print(report.read_text())
    print(f"Written: {report}")


def write_report(runs: Path, out: Path, baselines: Sequence[str] | None = None, last: int | None = None) -> Path:
    """
    Write ``report.md``, ``runs.csv``, ``summary.csv``, ``improvement.csv`` and a folder of figures for each sequence.

    :param runs: folder of a benchmark, or with runs of ``sb3-nbsp train`` below it
    :param out: where to
    :param baselines: methods that others are compared with; default: what the suites say
    :param last: number of evaluations that are averaged; default: what the suites say, or 1
    :return: path of ``report.md``
    :raises FileNotFoundError: if there are no runs
    :raises ValueError: if a baseline is unknown
    """
    found = collect(runs)
    last = last or max((suite["last_evaluations"] for suite in found.suites), default=1)
    comparisons = group(found.runs, last)
    chosen = _baselines(baselines, found)
    for comparison in comparisons:
        draw(comparison, chosen, out / _folder(comparison), _averaged(last))
    write_csvs(comparisons, chosen, out)
    with replacing(out / "report.md") as temporary:
        temporary.write_text(_text(found, comparisons, chosen, out, last))
    return out / "report.md"


def _baselines(asked: Sequence[str] | None, found: Found) -> list[str]:
    methods = dict.fromkeys(run.method for run in found.runs)
    if asked is None:
        named = dict.fromkeys(name for suite in found.suites for name in suite["baselines"])
        return [name for name in named if name in methods]
    if unknown := [name for name in asked if name not in methods]:
        known = ", ".join(repr(name) for name in methods)
        raise ValueError(f"Expected baselines among the methods with finished runs ({known}), got {unknown}.")
    return list(asked)


def _folder(comparison: Comparison) -> str:
    return slug(comparison.sequence)


def _averaged(last: int) -> str:
    return f"each segment is judged by the mean of its last {last} evaluations" if last > 1 else ""


def _text(found: Found, comparisons: Sequence[Comparison], baselines: Sequence[str], out: Path, last: int) -> str:
    methods = {run.method for run in found.runs}
    parts = [
        "# Report",
        f"Finished runs: {len(found.runs)}. Methods: {len(methods)}. Sequences: {len(comparisons)}."
        + (" Some runs are missing: see *Not counted* at the end." if found.not_counted else ""),
        READING + (f"{_averaged(last).capitalize()}.\n" if last > 1 else ""),
    ]
    for comparison in comparisons:
        parts += sequence_section(comparison, baselines, _pictures(out, _folder(comparison)))
    if len(comparisons) > 1:
        parts += pooled_section(comparisons, baselines)
    parts += _provenance(found)
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _pictures(out: Path, folder: str) -> dict[str, list[str]]:
    """Paths of the figures, relative to the report, by their kind."""
    kinds = ("intervals", "axis", "performance", "matrices")
    return {kind: [f"{folder}/{path.name}" for path in sorted((out / folder).glob(f"{kind}*.png"))] for kind in kinds}


def _provenance(found: Found) -> list[str]:
    """What was trained, with what, and what is missing."""
    parts = ["## What was trained", *_arguments([run for run in found.runs if run.manifest])]
    hours = sum(run.results.wall_time_s for run in found.runs) / 3600
    parts.append(f"{hours:.1f} hours of training in all (wall time of single trainings, evaluations included).")
    facts = {
        "commit": _distinct(run.manifest.get("commit") for run in found.runs),
        "machine": _distinct(_machine(run.manifest) for run in found.runs),
        "versions": _distinct(", ".join(f"{k} {v}" for k, v in run.results.versions.items()) for run in found.runs),
    }
    parts.append("\n".join(f"- {name}: {value}" for name, values in facts.items() for value in values))
    if found.not_counted:
        left_out = [
            [entry.method, entry.sequence, ", ".join(map(str, entry.seeds)), entry.reason, entry.path]
            for entry in found.not_counted
        ]
        parts += ["## Not counted", markdown_table(["method", "sequence", "seeds", "reason", "folder"], left_out)]
    return parts


def _arguments(cells: Sequence[Run]) -> list[str]:
    """The arguments of the training command: those of all cells, and what each sequence and method adds."""
    if not cells:
        return []
    common = _shared(cells)
    of_sequence = {name: _shared(runs) for name, runs in _by("sequence", cells).items()}
    of_method = {name: (_shared(runs), set(_by("sequence", runs))) for name, runs in _by("method", cells).items()}
    by_sequence = [[name, _code(shared, common)] for name, shared in of_sequence.items()]
    by_method = [
        [name, _code(shared, [argument for argument in shared if all(argument in of_sequence[where] for where in on)])]
        for name, (shared, on) in of_method.items()
    ]
    tables = [(kind, rows) for kind, rows in (("sequence", by_sequence), ("method", by_method)) if len(rows) > 1]
    return [f"All cells: {_code(common)}", *(markdown_table([kind, "adds"], rows) for kind, rows in tables)]


def _by(kind: str, cells: Sequence[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in cells:
        groups.setdefault(getattr(run, kind), []).append(run)
    return groups


def _shared(cells: Sequence[Run]) -> list[str]:
    """The arguments that all of some cells have, in the order of the first one."""
    commands = [
        [f"--algo {run.manifest['algo']}", f"--env {run.manifest['env']}", *run.manifest["arguments"]] for run in cells
    ]
    return [argument for argument in commands[0] if all(argument in command for command in commands)]


def _code(arguments: Sequence[str], but: Sequence[str] = ()) -> str:
    shown = " ".join(argument for argument in arguments if argument not in but)
    return f"`{shown}`".replace("|", "\\|") if shown else ""


def _machine(manifest: dict[str, Any]) -> str | None:
    machine = manifest.get("machine")
    return machine and f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}"


def _distinct(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


if __name__ == "__main__":
    main(sys.argv[1:])
