"""Files that are on the disk before anyone is told of them, and what a killed process leaves."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UNFINISHED = ".writing-"  # how names of what is being written begin
BEFORE = f"{UNFINISHED}before-"  # and of what is being replaced
CHUNK = 2**20


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders, on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """
    Write a folder so that it is there as a whole or not at all, also if the process is killed or the machine stops.

    :param target: the folder; one that is there is replaced
    :return: where to write to until the block ends
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{UNFINISHED}{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.iterdir():
            sync(path)
        sync(temporary)
        if target.exists():
            _replace(target, temporary)
        else:
            os.rename(temporary, target)
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(target: Path, new: Path) -> None:
    before = target.with_name(f"{BEFORE}{target.name}")
    shutil.rmtree(before, ignore_errors=True)
    os.rename(target, before)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(before, target)
        raise
    shutil.rmtree(before, ignore_errors=True)  # what stays is swept


def sweep(folder: Path) -> None:
    """Delete what was being written in a folder when a process was killed; what it was replacing is back."""
    put_back(folder)
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def put_back(folder: Path) -> None:
    """Put back what was being replaced when a process was killed between the two renames."""
    for before in folder.glob(f"{BEFORE}*"):
        target = before.with_name(before.name.removeprefix(BEFORE))
        if not target.exists():
            with suppress(OSError):  # a folder that can only be read
                os.rename(before, target)


def fingerprint(path: Path) -> dict[str, Any]:
    """
    :param path: a file
    :return: its size and checksum, as manifests hold them
    """
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            checksum.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": checksum.hexdigest()}
