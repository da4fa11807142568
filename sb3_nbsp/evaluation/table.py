"""Results of several methods side by side, as Markdown that also reads well as plain text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sb3_nbsp.base.markdown import escaped
from sb3_nbsp.evaluation.results import SequenceResults
from sb3_nbsp.evaluation.statistics import estimate

NOTES = {
    "success": "",
    "normalised return": ". All in human-normalised returns: 0 is a random player, 1 a human",
    "return": ". All in returns, which AR, FM and FWT average over tasks whatever their scales",
}
LabelledRuns = Sequence[tuple[str, Sequence[SequenceResults]]]


def results_table(results: LabelledRuns) -> str:
    """
    Two tables: ASR (for returns: AR), FM and FWT by method, and the performance on every task after each segment.

    Cells are means over seeds with :func:`~sb3_nbsp.evaluation.statistics.bootstrap_interval` in brackets; a dash where
    undefined. They are success rates where the tasks tell success, else human-normalised returns where all have reference
    scores, else returns.

    :param results: (label, runs with different seeds) for each method, all over the same sequence
    :return: Markdown
    :raises ValueError: if there is nothing to show or the runs are not over the same sequence, or one of a seed is there twice
    :raises TypeError: for anything but pairs of a label and runs
    """
    first = check_comparable(results)
    summary, matrices = [], []
    for label, runs in results:
        metrics = [asdict(run.metrics()) for run in runs]
        cells = [str(estimate([[values[name] for values in metrics]])) for name in ("asr", "fm", "fwt")]
        summary.append([escaped(label), str(len(runs)), *cells])
        matrix = np.array([run.matrix() for run in runs])  # [n_seeds, n_segments, n_tasks]
        for k, name in enumerate(first.segments):
            cells = [str(estimate([values])) for values in matrix[:, k].T]
            matrices.append([escaped(label), f"{k + 1}. {escaped(name)}", *cells])
    measure = first.measure
    single = all(len(runs) == 1 for _, runs in results)
    shown = "One run each" if single else "Mean over seeds [95% percentile bootstrap interval]"
    columns = ["method", "after training", *(f"{measure.name} on {escaped(name)}" for name in first.task_names)]
    return "\n".join(
        [
            markdown_table(["method", "seeds", measure.average, "FM", "FWT"], summary),
            markdown_table(columns, matrices),
            f"{shown}{NOTES[measure.name]}.\n",
        ]
    )


def check_comparable(results: LabelledRuns) -> SequenceResults:
    """
    :param results: what shall stand in one figure or table
    :return: the first run with evaluations, else the first: its sequence and measure are those of all
    :raises ValueError: if there is no run, or a method without one or with one of a seed twice, or sequences, what they are
        normalised with or what performance is read as differ
    :raises TypeError: for anything but pairs of a label and runs
    """
    _check_labelled(results)
    if not results or not all(runs for _, runs in results):
        raise ValueError(f"Expected at least one run for every method, got {[(label, len(runs)) for label, runs in results]}.")
    first = results[0][1][0]
    for label, runs in results:
        _check_different(label, runs)
        for run in runs:
            if run.sequence != first.sequence:
                raise ValueError(
                    f"Expected runs over the same sequence, got {first.sequence} and, from {label!r}, {run.sequence}. "
                    "Compare them in separate figures and tables."
                )
            if run.reference_scores != first.reference_scores:
                raise ValueError(
                    f"Expected runs with the same reference scores, got {first.reference_scores} and, from {label!r}, "
                    f"{run.reference_scores}. Set `reference_scores` of the results to the same, or compare them separately."
                )
    return check_one_measure(results)


def check_list(runs: Any, what: str = "runs") -> None:
    """
    :param runs: what was given
    :param what: it is, in words
    :raises TypeError: for anything but a list of results
    """
    if not isinstance(runs, Sequence) or not all(isinstance(run, SequenceResults) for run in runs):
        hint = " Put it into a list: [run]." if isinstance(runs, SequenceResults) else ""
        raise TypeError(f"Expected {what} as a list of SequenceResults, got {_kind(runs)}.{hint}")


def _check_labelled(results: Any) -> None:
    wanted = 'a list of pairs of a label and its runs, e.g. [("NBSP", [run])]'
    if not isinstance(results, Sequence) or isinstance(results, str):
        hint = " list(results.items()) makes one of a dict of lists." if isinstance(results, Mapping) else ""
        raise TypeError(f"Expected {wanted}, got {_kind(results)}.{hint}")
    for entry in results:
        if not isinstance(entry, Sequence) or len(entry) != 2 or not isinstance(entry[0], str):
            raise TypeError(f"Expected {wanted}, got one with {_kind(entry)} in it.")
        check_list(entry[1], f"the runs of {entry[0]!r}")


def _check_different(label: str, runs: Sequence[SequenceResults]) -> None:
    """What is counted twice makes an interval of nothing. Runs without a seed are told apart as objects only."""
    seeds = [run.seed for run in runs if run.seed is not None]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice or len(set(map(id, runs))) < len(runs):
        told = f"seed {', '.join(map(str, twice))}" if twice else "the same run"
        raise ValueError(f"Expected runs with different seeds, got {told} twice or more among those of {label!r}.")


def _kind(value: Any) -> str:
    """The type of what was given; of a list, those of its entries."""
    name = type(value).__name__
    if not isinstance(value, list | tuple):
        return name
    return f"a {name} of {', '.join(dict.fromkeys(type(entry).__name__ for entry in value)) or 'nothing'}"


def check_one_measure(results: LabelledRuns) -> SequenceResults:
    """
    Success rates and returns have no common mean.

    :param results: runs that shall be averaged or compared, at least one; those without evaluations tell no measure
    :return: the first run that has evaluations, else the first
    :raises ValueError: if performance is success in one run and a return in another
    """
    first = first_evaluated(results)
    for label, run in ((label, run) for label, runs in results for run in runs if run.evaluations):
        if run.measure != first.measure:
            first_label = next(label for label, runs in results for run in runs if run is first)
            raise ValueError(
                f"Expected runs in one measure, got {_measured_in(first_label, first)} and {_measured_in(label, run)}. A task "
                "that tells success in no evaluation of a run puts all of it into returns: let the task's env tell success at "
                "every episode's end, failures too, or compare these runs separately."
            )
    return first


def first_evaluated(results: LabelledRuns) -> SequenceResults:
    """
    :param results: runs, at least one
    :return: the first run that has evaluations, which tell its measure, else the first
    """
    runs = [run for _, runs in results for run in runs]
    return next((run for run in runs if run.evaluations), runs[0])


def _measured_in(label: str, run: SequenceResults) -> str:
    seed = "" if run.seed is None else f", seed {run.seed}"
    return f"{run.measure.title} ({label!r}{seed})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    :param header: titles of the columns
    :param rows: cells, as many as titles in each row
    :return: a table whose columns are aligned in the text too
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    padded = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"| {line} |\n" for line in padded)
