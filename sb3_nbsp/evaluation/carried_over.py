"""Results at a run's two ends: what it takes over from an earlier part of itself, and whether it is finished."""

import os
import warnings
from pathlib import Path

from sb3_nbsp.evaluation.results import RESULTS, SequenceResults


def own_earlier_results(log_path: str | os.PathLike[str] | None, now: SequenceResults) -> Path | None:
    """
    :param log_path: where a run that goes on in the middle of its sequence will write
    :param now: its results, still without evaluations
    :return: the ``results.json`` there, if it is an earlier part of the same run: of its sequence, algorithm and seed. Of
        another run's a warning says that it will be replaced.
    :raises ValueError: if the file is broken or of another kind
    """
    path = None if log_path is None else Path(log_path, RESULTS)
    if path is None or not path.is_file():
        return None
    earlier = SequenceResults.read(path)
    if _identity(earlier) == _identity(now):
        return path
    if earlier.evaluations:
        text = f"The evaluations in {path} are of another run and will be replaced. Give each run a log_path of its own."
        warnings.warn(text, stacklevel=2)
    return None


def _identity(results: SequenceResults) -> tuple[object, ...]:
    return results.sequence, results.settings.get("algorithm"), results.seed


def is_finished(results: SequenceResults) -> bool:
    """
    :param results: a run whose training ends
    :return: whether its sequence came to its end, and the performance matrix has a row for each segment. Where only the rows
        are missing, a warning says which.
    """
    missing = _segments_without_row(results)
    if missing and len(results.segments) not in missing:
        warnings.warn(
            f"The sequence came to its end, but there are no evaluations at the end of its segments {missing}: its results do "
            "not count as finished. Give a training that goes on its earlier evaluations (resume_from).",
            stacklevel=2,
        )
    return not missing


def is_still_finished(results: SequenceResults) -> bool:
    """
    :param results: a run that goes on, with the rows that it keeps
    :return: whether it was finished and still is: it goes on beyond its end, and was not taken back to an earlier model
    """
    return results.finished and not _segments_without_row(results)


def _segments_without_row(results: SequenceResults) -> list[int]:
    """Counted from 1."""
    measured = {evaluation.segment for evaluation in results.evaluations if evaluation.kind == "switch"}
    return [segment + 1 for segment in range(len(results.segments)) if segment not in measured]
