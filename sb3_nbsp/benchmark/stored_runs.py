"""All runs below a folder, from their own folders and from published files."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from sb3_nbsp.benchmark.earlier_names import record_with_names_of_now, suite_with_names_of_now
from sb3_nbsp.benchmark.file_names import DONE, MANIFEST, RESULTS, RUN, RUNS, SUITE, natural
from sb3_nbsp.benchmark.manifest import read_json
from sb3_nbsp.benchmark.merged_records import merge
from sb3_nbsp.benchmark.run_record import OF_A_RUN, Record
from sb3_nbsp.benchmark.runs_file import Suites, read_runs_file


def read_stored(root: Path) -> tuple[Suites, list[Record]]:
    """
    :param root: a folder, or a file of published runs
    :return: what each benchmark left of its suite, and all runs, sorted by their folders relative to ``root``, under the names
        that their methods have now. What stands in folders counts over what stands in a file: it was trained later.
    :raises FileNotFoundError: if there is nothing
    :raises ValueError: if a file is damaged, or holds in a run's place a finished run with other settings
    """
    files = [root] if root.is_file() else sorted(root.rglob(RUNS))
    base = root.parent if root.is_file() else root
    suites: Suites = {}
    published: list[Record] = []
    for file in files:
        in_file, records = read_runs_file(file)
        inside = PurePosixPath(file.parent.relative_to(base).as_posix())
        suites |= {str(inside / folder): suite for folder, suite in in_file.items()}
        published += [replace(record, folder=str(inside / record.folder)) for record in records]
    latest = [] if root.is_file() else _records(root)
    suites |= {} if root.is_file() else _suites(root)
    suites = {folder: suite_with_names_of_now(suite) for folder, suite in _sorted(suites)}
    published, latest = ([record_with_names_of_now(record, suites) for record in part] for part in (published, latest))
    by_folder = {record.folder: record for record in merge(published, latest).records}
    if not by_folder:
        raise FileNotFoundError(f"Expected runs in {root}, found no {MANIFEST}, no {RESULTS} and no {RUNS}.")
    return suites, [record for _, record in _sorted(by_folder)]


def _sorted(by_folder: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(by_folder.items(), key=lambda item: natural(item[0]))


def _suites(root: Path) -> Suites:
    return {_relative(path.parent, root): content for path in root.rglob(SUITE) if (content := read_json(path))}


def _records(root: Path) -> list[Record]:
    """Runs in folders of their own: cells, and what lies outside of cells."""
    cells = [path.parent for path in root.rglob(MANIFEST)]
    inside = set(cells)
    plain = [path.parent for path in root.rglob(RESULTS) if not inside.intersection(path.parents)]
    return [_record(folder, root) for folder in (*cells, *plain)]


def _record(folder: Path, root: Path) -> Record:
    paths = [folder / name for name in OF_A_RUN]
    if not (folder / DONE).is_file():  # its newest training has something to tell
        paths += sorted((folder / RUN).glob(f"*/*/{RESULTS}"), key=natural)[-1:]
    files = {_relative(path, folder): content for path in paths if (content := read_json(path)) is not None}
    return Record(_relative(folder, root), files, str(folder))


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
