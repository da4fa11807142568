"""A benchmark's published form: of every run just what a report needs, in one file that is small enough to be committed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sb3_nbsp.benchmark.file_names import FAILED, LOG, MANIFEST, RESULTS, RUNS
from sb3_nbsp.benchmark.merged_records import merge
from sb3_nbsp.benchmark.run_record import Record
from sb3_nbsp.benchmark.runs_file import write_runs_file
from sb3_nbsp.benchmark.same_judging import check_still_judged
from sb3_nbsp.benchmark.stored_runs import read_stored


@dataclass(frozen=True)
class Archived:
    """
    What was written.

    :param size: of the file in bytes
    :param added: runs that were not in the archive
    :param replaced: runs that took an earlier record's place
    :param kept: runs that were in the archive and stay as they were
    """

    size: int
    added: int
    replaced: int
    kept: int

    def __str__(self) -> str:
        return f"{self.size / 1e6:.2f} MB; runs: {self.added} added, {self.replaced} replaced, {self.kept} kept"


def write_archive(runs: Path, archive: Path) -> Archived:
    """
    Write what a report needs into a file: ``report ARCHIVE`` gives the tables and figures of ``report RUNS``, and ``benchmark
    SUITE -f ARCHIVE`` takes finished cells as done. An earlier archive is brought up to date: what it holds of the same
    trainings is replaced, but no finished one by an unfinished one; all else stays, as does a report in it.

    :param runs: folder of a benchmark, or of any runs of ``sb3-nbsp train``
    :param archive: folder of the file; made if missing
    :return: the file's size, and how many runs are new in it
    :raises FileNotFoundError: if there are no runs
    :raises ValueError: if one folder lies in the other, the archive's holds trainings, a finished run in it would give way
        to one with another seed, sequence or other settings, or a report would judge a run otherwise than its own suite says
    """
    source, target = runs.resolve(), archive.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ValueError(f"Expected an archive beside the runs, got {archive} for {runs}: a report would find runs twice.")
    if any(next(archive.rglob(name), None) for name in (LOG, MANIFEST, RESULTS)):
        raise ValueError(f"Expected a new folder or an earlier archive, got {archive} with trainings in it.")
    suites, records = read_stored(runs)
    earlier_suites, earlier = read_stored(archive / RUNS) if (archive / RUNS).is_file() else ({}, [])
    finished = {record.identity for record in earlier if record.is_finished}
    merged = merge(earlier, [record for record in records if record.is_finished or record.identity not in finished])
    all_suites = {**earlier_suites, **suites}
    check_still_judged(merged.records[: merged.kept], earlier_suites, all_suites)
    check_still_judged(merged.records[merged.kept :], suites, all_suites)
    size = write_runs_file(archive / RUNS, all_suites, map(_published, merged.records))
    return Archived(size, merged.added, merged.replaced, merged.kept)


def _published(record: Record) -> Record:
    """A log is left out, it tells of one machine."""
    files: dict[str, Any] = dict(record.files)
    if FAILED in files:
        files[FAILED] = {name: value for name, value in files[FAILED].items() if name != "log"}
    return replace(record, files=files)
