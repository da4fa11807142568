"""
Runs in one compressed file, the form in which a benchmark is published.

``runs.jsonl.xz`` is text in UTF-8, compressed with xz, one JSON object per line. The first line tells what the file is::

    {"format": "sb3_nbsp.runs/1", "suites": {".": {...}}, "runs": 460}

``suites`` holds the content of every ``suite.json``, by the folder that it stood in; ``runs`` is the number of lines that
follow. Each of these is a run: its folder, and the content of its JSON files by their paths in it. Numbers keep all digits::

    {"folder": "four-tasks/nbsp/seed0", "files": {"manifest.json": {...}, "results.json": {...}, "done.json": {...}}}

Runs are sorted by their folders, and nothing in the file depends on when or where it was written: the same runs give the same
bytes.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.benchmark.file_names import natural
from sb3_nbsp.benchmark.run_record import Record

FORMAT = "sb3_nbsp.runs/1"

Suites = dict[str, dict[str, Any]]


def write_runs_file(path: Path, suites: Mapping[str, dict[str, Any]], records: Iterable[Record]) -> int:
    """
    :param path: where to, replaced as a whole
    :param suites: content of each ``suite.json``, by its folder
    :param records: the runs
    :return: size of the file in bytes
    :raises ImportError: if this Python was built without xz
    """
    lzma = _lzma()
    runs = sorted(records, key=lambda record: natural(record.folder))
    header = {"format": FORMAT, "suites": dict(sorted(suites.items())), "runs": len(runs)}
    lines = [header, *({"folder": record.folder, "files": dict(record.files)} for record in runs)]
    text = "".join(f"{json.dumps(line, separators=(',', ':'), ensure_ascii=False, allow_nan=False)}\n" for line in lines)
    data: bytes = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return len(data)


def read_runs_file(path: Path) -> tuple[Suites, list[Record]]:
    """
    :param path: what :func:`write_runs_file` wrote
    :return: content of each ``suite.json`` by its folder, and the runs
    :raises ImportError: if this Python was built without xz
    :raises ValueError: if the file is damaged or of another kind
    """
    lzma = _lzma()
    try:
        header, *lines = (json.loads(line) for line in lzma.decompress(path.read_bytes()).decode().split("\n") if line)
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}, not {FORMAT!r}")
        if len(lines) != header["runs"]:
            raise ValueError(f"it holds {len(lines)} of {header['runs']} runs")
        for place in (
            *header["suites"],
            *(line["folder"] for line in lines),
            *(name for line in lines for name in line["files"]),
        ):
            _check_inside(place)
        return header["suites"], [Record(line["folder"], line["files"], f"{path}: {line['folder']}") for line in lines]
    except (lzma.LZMAError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected in {path} what `sb3-nbsp report RUNS --archive FOLDER` writes, got something else ({error!r}). "
            "Take back an earlier version of the file (git checkout), or delete it and write it anew from the runs."
        ) from error


def _check_inside(place: Any) -> None:
    """A folder or file of a run lies below the file of runs: nothing else is read, or deleted, for it."""
    if not isinstance(place, str) or PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts or "\\" in place:
        raise ValueError(f"it names the place {place!r}, which does not lie below it")


def _lzma() -> Any:
    try:
        import lzma
    except ImportError as error:
        raise ImportError(f"Published runs are compressed with xz, which this Python was built without ({error}).") from error
    return lzma
