"""What a checkpoint says of itself, and which of a run's checkpoints are whole."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sb3_nbsp.checkpoints.files import fingerprint, sweep
from sb3_nbsp.checkpoints.store import Store

FORMAT = "sb3_nbsp.checkpoint/1"
MANIFEST = "checkpoint.json"  # not a benchmark's manifest.json, which tells what is trained
FOLDER = "checkpoints"  # in a run's folder
KEPT = 2  # whole checkpoints; the older one is for when the newer one is damaged


@dataclass(frozen=True)
class Checkpoint:
    """
    A checkpoint that is there.

    :param path: its folder
    :param manifest: what it says of itself
    """

    path: Path
    manifest: dict[str, Any]

    @property
    def step(self) -> int:
        """The model's env steps."""
        return self.manifest["step"]

    @property
    def store(self) -> Store:
        """Where its blobs lie."""
        return Store(self.path.parent)


def write_manifest(folder: Path, store: Store, blobs: Iterable[str], told: dict[str, Any]) -> None:
    """
    :param folder: of a checkpoint, complete but for this
    :param store: where its blobs lie
    :param blobs: names of these
    :param told: what else it says
    """
    content = {
        "format": FORMAT,
        **told,
        "files": {path.name: fingerprint(path) for path in sorted(folder.iterdir())},
        "blobs": {name: {"bytes": store.path(name).stat().st_size, "sha256": name} for name in sorted(set(blobs))},
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n")


def folder_of(run: Path) -> Path:
    """
    :param run: a run's folder, or its folder of checkpoints
    :return: the folder of checkpoints
    """
    return run / FOLDER if (run / FOLDER).is_dir() else run


def newest_whole(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """
    :param folder: of checkpoints
    :return: the newest one that is there as it was written, and in words those that are not
    """
    damages: list[str] = []
    for path in _newest_first(folder):
        damage = damage_of(path)
        if damage is None:
            return Checkpoint(path, read_manifest(path)), damages
        damages.append(f"{path.name} is damaged: {damage}")
    return None, damages


def checkpoints_of(folder: Path) -> dict[int, Path]:
    """
    :param folder: of checkpoints
    :return: those that are there as they were written (sizes are looked at, not checksums), by env step
    """
    return {int(path.name): path for path in _newest_first(folder) if damage_of(path, only_sizes=True) is None}


def damage_of(path: Path, only_sizes: bool = False) -> str | None:
    """
    :param path: a checkpoint's folder
    :param only_sizes: leave checksums alone, which take a second per gigabyte
    :return: in words, what is missing or is not as it was written; ``None`` if nothing
    """
    try:
        manifest = read_manifest(path)
        files = {path / name: told for name, told in manifest["files"].items()}
        files |= {Store(path.parent).path(name): told for name, told in manifest["blobs"].items()}
        for file, told in files.items():
            size = file.stat().st_size
            if size != told["bytes"]:
                return f"{file.name} has {size} bytes instead of {told['bytes']}"
            if not only_sizes and fingerprint(file)["sha256"] != told["sha256"]:
                return f"{file.name} has another content than when it was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def clean(folder: Path, newest: int) -> None:
    """
    Keep the last whole checkpoints and their blobs. What killed processes left unfinished goes.

    :param folder: of checkpoints
    :param newest: step of the newest; what is beyond was written before the run went back to an older one
    """
    sweep(folder)
    kept: list[Path] = []
    for path in _newest_first(folder):
        if len(kept) < KEPT and int(path.name) <= newest and damage_of(path, only_sizes=True) is None:
            kept.append(path)
        else:
            shutil.rmtree(path)
    Store(folder).keep_only({name for path in kept for name in read_manifest(path)["blobs"]})


def _newest_first(folder: Path) -> Iterator[Path]:
    found = [path for path in folder.glob("*") if path.is_dir() and path.name.isdigit()]
    return iter(sorted(found, key=lambda path: int(path.name), reverse=True))


def read_manifest(path: Path) -> dict[str, Any]:
    """
    :param path: a checkpoint's folder
    :return: what it says of itself
    :raises ValueError: if it is in another format
    """
    manifest = json.loads((path / MANIFEST).read_text())
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']}, expected {FORMAT}")
    return manifest
