"""A benchmark's published form: of every run just what a report needs, small enough to be committed."""

import json
from pathlib import Path

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.benchmark.cells import DONE, FAILED, LOG, MANIFEST, RESULTS, RUN
from sb3_nbsp.benchmark.find_runs import newest_results
from sb3_nbsp.benchmark.suite import SUITE
from sb3_nbsp.evaluation.skill_file import SKILL_NEURONS

OF_A_RUN = (MANIFEST, RESULTS, DONE, FAILED, SKILL_NEURONS)


def write_archive(runs: Path, archive: Path) -> int:
    """
    Copy what a report needs into a folder of the same layout: ``report ARCHIVE`` gives the tables and figures of
    ``report RUNS``, and ``benchmark SUITE -f ARCHIVE`` takes finished cells as done. What the archive held of the same runs
    before is replaced; a report in it stays.

    :param runs: folder of a benchmark, or of any runs of ``sb3-nbsp train``
    :param archive: where to; made if missing
    :return: number of bytes in the archive's JSON files
    :raises FileNotFoundError: if there are no runs
    :raises ValueError: if one folder lies in the other, or the archive's holds trainings
    """
    source, target = runs.resolve(), archive.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ValueError(f"Expected an archive beside the runs, got {archive} for {runs}: a report would find runs twice.")
    if next(archive.rglob(LOG), None) is not None:
        raise ValueError(f"Expected a new folder or an earlier archive, got {archive} with trainings in it.")
    cells = [path.parent for path in runs.rglob(MANIFEST)]
    plain = [path.parent for path in runs.rglob(RESULTS) if not set(cells).intersection(path.parents)]
    if not cells and not plain:
        raise FileNotFoundError(f"Expected runs in {runs}, found no {MANIFEST} and no {RESULTS}.")
    for folder in (*cells, *plain):
        _forget(archive / folder.relative_to(runs))
    paths = [folder / name for folder in (*cells, *plain) for name in OF_A_RUN]
    paths += [path for cell in cells if not (cell / DONE).is_file() and (path := newest_results(cell)) is not None]
    return sum(_copy(path, archive / path.relative_to(runs)) for path in [*paths, *runs.rglob(SUITE)] if path.is_file())


def _forget(folder: Path) -> None:
    """Delete what stands in an archive of a run: it may have failed then, or not been finished."""
    for name in OF_A_RUN:
        (folder / name).unlink(missing_ok=True)
    for path in (folder / RUN).rglob(RESULTS):
        path.unlink()


def _copy(path: Path, target: Path) -> int:
    """Write a JSON file again without spaces: numbers keep all digits. A log is left out, it tells of this machine."""
    content = json.loads(path.read_text())
    if path.name == FAILED:
        content.pop("log", None)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n"
    with replacing(target) as temporary:
        temporary.write_text(text)
    return len(text.encode())
