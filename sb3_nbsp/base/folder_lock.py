"""A lock on a folder: two processes that train in one would overwrite each other's files."""

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, nothing keeps two commands out of one folder
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


def lock_folder(folder: Path) -> IO[str] | None:
    """
    Lock a folder until the file is closed here and in the processes that inherit it. The system gives the lock back where a
    process ends, however it ends: a file that was left behind locks nothing.

    :param folder: which exists
    :return: the open file that holds the lock; ``None`` if another one holds it
    """
    file = (folder / NAME).open("a+")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:  # a file system without locks, as clusters have
            pass
        if not _is_there(file):  # given back, and deleted, since it was opened
            file.close()
            return lock_folder(folder)
    return file


def _is_there(file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except FileNotFoundError:
        return False


def unlock_folder(lock: IO[str]) -> None:
    """
    Give a lock back, and leave nothing of it behind.

    :param lock: what :func:`lock_folder` gave
    """
    with suppress(OSError):  # on Windows a file that is open stays
        os.unlink(lock.name)
    lock.close()


def write_holder(lock: IO[str], pid: int) -> None:
    """
    :param lock: what :func:`lock_folder` gave
    :param pid: id of the process that holds it
    """
    lock.truncate(0)
    lock.write(f"{pid}\n")
    lock.flush()


def lock_holder(folder: Path) -> int | None:
    """
    :param folder: that is or was locked
    :return: id of the process that holds the lock or held it last, ``None`` if there was none
    """
    path = folder / NAME
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdecimal() else None
