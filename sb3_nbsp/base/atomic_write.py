"""Files that are replaced as a whole."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
TRIES = 100  # for a name that no file has


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Write a file so that readers see the old one or the new one, never a part, also if the writer is killed or the power fails.

    The temporary file is a new one with a name that cannot be guessed, open to nobody else while it is written. The file keeps
    the mode that it has; a new one gets the usual mode (``umask``). Where ``path`` is a symbolic link, what it leads to is
    replaced and the link stays. Threads and processes that write the same file at once do not disturb each other: the last one
    to end counts.

    :param path: where to; its folder is made if it is missing
    :return: a temporary path to write to, with the same suffix; it takes the file's place when the block ends well
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode(target)
    # In the same folder: os.replace is atomic only within one file system.
    temporary = _new_file(target)
    try:
        yield temporary
        _to_disk(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _folder_to_disk(target.parent)


def _new_file(target: Path) -> Path:
    stem = target.stem.encode()[:100].decode(errors="ignore")  # a file system takes names of 255 bytes
    for _ in range(TRIES):
        temporary = target.with_name(f".{stem}.{secrets.token_hex(8)}.tmp{target.suffix}")
        with suppress(FileExistsError):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), PRIVATE))
            return temporary
    raise FileExistsError(f"Expected a free name for a temporary file beside {target}, got none in {TRIES} tries.")


def _mode(target: Path) -> int:
    """Of the file that is there, or as a new one gets it."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o666 & ~_umask()


def _umask() -> int:
    """Read without setting it where the system tells it: other threads may be making files."""
    with suppress(OSError, ValueError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _to_disk(temporary: Path, mode: int) -> None:
    # The writer may have put another file in the place of the empty one.
    file = os.open(temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(file)
    finally:
        os.close(file)
    os.chmod(temporary, mode)


def _folder_to_disk(folder: Path) -> None:
    """What was renamed is on the disk; where a system cannot say so of a folder, it is at the next opportunity."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
