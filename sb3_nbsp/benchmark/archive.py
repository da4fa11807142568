"""A benchmark's published form: of every run just what a report needs, in one file that is small enough to be committed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.file_names import FAILED, LOG, MANIFEST, RESULTS, RUN, RUNS, SUITE
from sb3_nbsp.benchmark.run_record import OF_A_RUN, Record
from sb3_nbsp.benchmark.runs_file import write_runs_file
from sb3_nbsp.benchmark.stored_runs import read_stored


def write_archive(runs: Path, archive: Path) -> int:
    """
    Write what a report needs into a file: ``report ARCHIVE`` gives the tables and figures of ``report RUNS``, and ``benchmark
    SUITE -f ARCHIVE`` takes finished cells as done. An earlier archive is brought up to date: what it holds of the same
    trainings is replaced, but no finished one by an unfinished one; all else stays, as does a report in it. JSON files of an
    archive in the earlier form, a folder for each cell, go into the file.

    :param runs: folder of a benchmark, or of any runs of ``sb3-nbsp train``
    :param archive: folder of the file; made if missing
    :return: size of the file in bytes
    :raises FileNotFoundError: if there are no runs
    :raises ValueError: if one folder lies in the other, or the archive's holds trainings
    """
    source, target = runs.resolve(), archive.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ValueError(f"Expected an archive beside the runs, got {archive} for {runs}: a report would find runs twice.")
    if next(archive.rglob(LOG), None) is not None:
        raise ValueError(f"Expected a new folder or an earlier archive, got {archive} with trainings in it.")
    suites, records = read_stored(runs)
    earlier_suites, earlier = read_stored(archive) if _holds_runs(archive) else ({}, [])
    finished = {record.identity for record in earlier if record.is_finished}
    records = [record for record in records if record.is_finished or record.identity not in finished]
    replaced = {record.identity for record in records} | {(record.folder,) for record in records}
    kept = [record for record in earlier if not {record.identity, (record.folder,)} & replaced]
    size = write_runs_file(archive / RUNS, {**earlier_suites, **suites}, map(_published, (*kept, *records)))
    for record in earlier:
        _delete_files(archive / record.folder, archive)
    for path in [archive / folder / name for folder in earlier_suites for name in (SUITE, RUNS)]:
        if path != archive / RUNS:
            path.unlink(missing_ok=True)
    return size


def _holds_runs(archive: Path) -> bool:
    return archive.is_dir() and any(next(archive.rglob(name), None) for name in (RUNS, MANIFEST, RESULTS))


def _published(record: Record) -> Record:
    """A log is left out, it tells of one machine."""
    files: dict[str, Any] = dict(record.files)
    if FAILED in files:
        files[FAILED] = {name: value for name, value in files[FAILED].items() if name != "log"}
    return replace(record, files=files)


def _delete_files(folder: Path, archive: Path) -> None:
    """Delete what stands in the file now, and the folders that it leaves empty."""
    for path in [folder / name for name in OF_A_RUN] + list((folder / RUN).rglob(RESULTS)):
        path.unlink(missing_ok=True)
        for parent in [parent for parent in path.parents if parent.is_relative_to(archive) and parent != archive]:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
