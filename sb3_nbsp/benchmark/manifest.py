"""What a cell's folder says about its training."""

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sb3_nbsp
from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.file_names import DONE, FAILED, MANIFEST
from sb3_nbsp.benchmark.resolved_arguments import resolved_arguments
from sb3_nbsp.benchmark.same_settings import in_words, settings_differ
from sb3_nbsp.evaluation.json_csv import json_safe
from sb3_nbsp.evaluation.versions import library_versions

FORMAT = "sb3_nbsp.cell/1"


class ForeignCellError(ValueError):
    """A folder holds another training than the one that is to go there."""


def write_manifest(cell: Cell, checkpoint: Path | None) -> None:
    """
    Say what is about to be trained. From now on the cell counts as started.

    :param cell: the training
    :param checkpoint: what it goes on from
    """
    earlier = read_json(cell.folder / MANIFEST) if checkpoint else None
    # As typed in the cell's folder: results are published, and say nothing of the machine's other folders.
    inside, start = replace(cell, folder=Path()), checkpoint and checkpoint.relative_to(cell.folder)
    content = {
        "format": FORMAT,
        "method": cell.method,
        "sequence": cell.sequence or cell.env,
        "family": cell.family or cell.method,
        "axis": None if cell.axis is None else dict([cell.axis]),
        **_manifest(cell),
        "command": shlex.join(["sb3-nbsp", "train", *inside.train_arguments(start)]),
        "continued_from": None if start is None else str(start),
        "starts": [*((earlier or {}).get("starts", [])), now()],
        "versions": library_versions(),
        "commit": source_commit(),
        "machine": machine(),
    }
    write_json(cell.folder / MANIFEST, content)


def check_manifest(cell: Cell, retry: bool = False) -> None:
    """
    :param cell: a training whose folder may have been used before
    :param retry: whether what has failed will be trained anew, with whatever settings
    :raises ForeignCellError: if it was used for a training with other settings, or before a default changed; or if other seeds
        of the method were trained with other settings
    """
    changes = changed_settings(cell)
    if changes and not (retry and cell.state == "failed"):
        in_file = None if (cell.folder / MANIFEST).is_file() else cell.published
        where, again = (cell.folder, ", or delete this one to train it again") if in_file is None else (in_file.origin, "")
        again = ", or give --retry: its training failed" if cell.state == "failed" else again
        raise ForeignCellError(
            f"Expected the same training as before in {where}, got other settings ({changes}). "
            f"Use another folder (-f){again}. Where a default has changed since, the recorded value among the suite's params "
            "makes it the same training."
        )
    now = _manifest(cell)
    for place, manifest in _other_seeds(cell):
        if differ := settings_differ(manifest, now):
            raise ForeignCellError(
                f"Expected {cell.name} to have the settings of seed {manifest.get('seed')} in {place}, got other ones "
                f"({in_words(differ, 'now')}). A report takes the mean over a method's seeds: use another folder (-f), or "
                "another name for the method."
            )


def _other_seeds(cell: Cell) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and manifest of the method's other cells on the sequence. Those that failed stand in no table."""
    folders = [path.parent for path in cell.folder.parent.glob(f"*/{MANIFEST}") if path.parent != cell.folder]
    there = [(str(folder), read_json(folder / MANIFEST) or {}) for folder in folders if not (folder / FAILED).is_file()]
    for place, manifest in [*there, *cell.beside]:
        if (manifest.get("sequence"), manifest.get("method")) == (cell.sequence or cell.env, cell.method):
            yield place, manifest


def changed_settings(cell: Cell) -> str:
    """
    :param cell: a training whose folder may have been used before
    :return: in words, how its seed and its settings differ (:func:`~sb3_nbsp.benchmark.same_settings.settings_differ`) from
        those of the training before; empty where they do not
    """
    earlier = read_json(cell.folder / MANIFEST) or ({} if cell.published is None else cell.published.manifest)
    if not earlier:
        return ""
    seeds = {} if earlier.get("seed") == cell.seed else {"seed": (earlier.get("seed"), cell.seed)}
    return in_words(seeds | settings_differ(earlier, _manifest(cell)), "now")


def write_done(cell: Cell, wall_time_s: float) -> None:
    """
    Mark a cell as done.

    :param cell: the training
    :param wall_time_s: duration of the training in seconds, over all its starts
    """
    write_json(cell.folder / DONE, {"ended": now(), "wall_time_s": round(wall_time_s, 1)})


def write_failed(cell: Cell, reason: str, log: str) -> None:
    """
    Mark a cell as failed.

    :param cell: the training
    :param reason: in words
    :param log: the end of its log
    """
    write_json(cell.folder / FAILED, {"ended": now(), "reason": reason, "log": log.splitlines()})


def read_json(path: Path) -> dict[str, Any] | None:
    """
    :param path: a file written here
    :return: what stands there, ``None`` if there is no such file
    :raises ValueError: if the file holds something else
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"Expected JSON in {path}, got {error}. Delete its folder to start afresh.") from error
    if not isinstance(content, dict):
        raise ValueError(f"Expected a JSON object in {path}, got {content!r}. Delete its folder to start afresh.")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """
    :param path: where to, replaced as a whole
    :param content: plain values; others become their ``repr``
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(json_safe(content), indent=1, allow_nan=False) + "\n")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def machine() -> dict[str, Any]:
    """What a training's duration depends on."""
    return {"system": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()}


def source_commit() -> str | None:
    """The commit of this package's sources, with ``-dirty`` where they were changed; ``None`` outside a git checkout."""
    folder = Path(sb3_nbsp.__file__).parent
    tracked = _git(folder, "rev-list", "-1", "HEAD", "--", ".")  # empty in an environment inside a foreign repository
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") if tracked else None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux
        return platform.processor() or platform.machine()


def _manifest(cell: Cell) -> dict[str, Any]:
    """What decides over a training's numbers."""
    own = {"algo": cell.algo, "env": cell.env, "seed": cell.seed, "arguments": list(cell.arguments)}
    return {**own, "resolved": resolved_arguments(cell.algo, cell.env, cell.arguments)}
