"""The figures of one run, beside its results."""

from pathlib import Path

from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.evaluation import plots
from sb3_nbsp.evaluation.results import SequenceResults

SEQUENCE, MATRIX = "sequence.png", "matrix.png"


def draw_run(results: SequenceResults, folder: Path, says_why_not: bool = False) -> None:
    """
    Draw ``sequence.png`` and ``matrix.png``, if matplotlib is installed. One that cannot be written is a warning.

    :param results: of the run
    :param folder: where to
    :param says_why_not: whether to print that matplotlib is missing
    """
    try:
        with may_fail(folder / SEQUENCE):
            plots.plot_sequence([(str(results.settings.get("algorithm", "")), [results])], folder / SEQUENCE)
        with may_fail(folder / MATRIX):
            plots.plot_matrix([results], folder / MATRIX)
    except ImportError as error:
        if says_why_not:
            print(error)


def draw_what_is_missing(folder: Path) -> None:
    """
    :param folder: of a finished run, which was killed while its figures were drawn
    """
    if not all((folder / name).is_file() for name in (SEQUENCE, MATRIX)):
        draw_run(SequenceResults.read(folder), folder)
