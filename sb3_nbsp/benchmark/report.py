"""Reports: tables with intervals, and figures, of a benchmark or of any other runs."""

from collections.abc import Sequence
from pathlib import Path

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.markdown import escaped
from sb3_nbsp.base.names import did_you_mean
from sb3_nbsp.benchmark.comparison import Comparison, group
from sb3_nbsp.benchmark.find_runs import Found, collect
from sb3_nbsp.benchmark.forward_transfer import performance_alone, transfer_section, with_references
from sb3_nbsp.benchmark.provenance import provenance_section
from sb3_nbsp.benchmark.report_figures import KINDS, check_figures, draw
from sb3_nbsp.benchmark.report_tables import pooled_section, sequence_section, write_csvs
from sb3_nbsp.benchmark.suite import slug

READING = """\
Mean over seeds [95 % percentile bootstrap interval, too narrow with few seeds]. Interquartile mean: mean of the middle half of
the runs. P(better than X): probability that a run of the method beats a run of X, where a tie counts one half. Where sequences
are taken together, intervals are stratified by sequence. FM: the lower the better.
"""


def write_report(
    runs: Path,
    out: Path,
    baselines: Sequence[str] | None = None,
    last: int | None = None,
    figures: Sequence[str] | None = None,
) -> Path:
    """
    Write ``report.md``, ``runs.csv``, ``summary.csv``, ``improvement.csv``, ``continual_world.csv`` and ``figures/`` with a
    folder for each sequence.

    :param runs: folder of a benchmark or of its archive, or with runs of ``sb3-nbsp train`` below it, or an archive's file
    :param out: where to; may be ``runs`` itself
    :param baselines: methods that others are compared with; default: what the suites say
    :param last: number of evaluations that are averaged; default: what the suite of each sequence says, or 1
    :param figures: patterns of the figures to draw, e.g. ``four-tasks/intervals`` or ``*/scores-*``; default: all
    :return: path of ``report.md``
    :raises FileNotFoundError: if there are no runs
    :raises ValueError: if a baseline or a figure is unknown, or a file damaged
    """
    found = collect(runs)
    comparisons = group(found.runs, last)
    chosen = _baselines(baselines, found)
    check_figures(comparisons, chosen, figures or ())
    for comparison in comparisons:
        draw(comparison, chosen, out / _folder(comparison), comparison.judged_by, figures)
    write_csvs(with_references(comparisons, _references(found)), chosen, out)
    with replacing(out / "report.md") as temporary:
        temporary.write_text(_text(found, comparisons, chosen, out))
    return out / "report.md"


def _baselines(asked: Sequence[str] | None, found: Found) -> list[str]:
    methods = dict.fromkeys(run.method for run in found.runs)
    if asked is None:
        named = dict.fromkeys(name for suite in found.suites for name in suite["baselines"])
        return [name for name in named if name in methods]
    aliases = {old: name for suite in found.suites for old, name in suite["aliases"].items()}
    asked = [aliases.get(name, name) for name in asked]
    if unknown := [name for name in asked if name not in methods]:
        known = ", ".join(repr(name) for name in methods)
        hint = did_you_mean(unknown[0], methods)
        raise ValueError(f"Expected baselines among the methods with finished runs ({known}), got {unknown}. {hint}".rstrip())
    return asked


def _references(found: Found) -> list[str]:
    return list(dict.fromkeys(filter(None, (suite.get("references") for suite in found.suites))))


def _folder(comparison: Comparison) -> str:
    return f"figures/{slug(comparison.sequence)}"  # beside them may stand the folders of cells


def _text(found: Found, comparisons: Sequence[Comparison], baselines: Sequence[str], out: Path) -> str:
    methods = {run.method for run in found.runs}
    parts = [
        "# Report",
        f"Finished runs: {len(found.trained)}. Methods: {len(methods)}. Sequences: {len(comparisons)}."
        + (" Some runs are missing: see *Not counted* at the end." if found.not_counted else ""),
        READING + _judged(comparisons) + _copied(found),
    ]
    for comparison in comparisons:
        parts += sequence_section(comparison, baselines, _pictures(out, _folder(comparison)))
        for references in _references(found):
            parts += transfer_section(comparison, references, performance_alone(comparison, comparisons, references))
    if len(comparisons) > 1:
        parts += pooled_section(comparisons, baselines)
    parts += provenance_section(found)
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _judged(comparisons: Sequence[Comparison]) -> str:
    """One line for all sequences, or one for each where they differ."""
    if len({comparison.judged_by for comparison in comparisons}) == 1:
        return f"{comparisons[0].judged_by.capitalize()}.\n" if comparisons[0].judged_by else ""
    return "".join(f"On {escaped(c.sequence)} {c.judged_by}.\n" for c in comparisons if c.judged_by)


def _copied(found: Found) -> str:
    copies = {run.method: run.copies_of for run in found.runs if run.copies_of is not None}
    return "".join(
        f"*{escaped(name)}* is read from the runs of *{escaped(base)}*: each task as it was at its last visit's end, "
        "judged there like every other method, and the same from then on. Nothing was trained for it.\n"
        for name, base in copies.items()
    )


def _pictures(out: Path, folder: str) -> dict[str, list[str]]:
    """Paths of the figures, relative to the report, by their kind."""
    return {kind: [f"{folder}/{path.name}" for path in sorted((out / folder).glob(f"{kind}*.png"))] for kind in KINDS}
