"""A disk that gets full, without one: what is written below a folder is counted, and fails beyond a number."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

TEXT = ("encoding", "errors", "newline")


class Disk:
    """
    :param folder: what lies below it is on the disk
    :param room: how many writes, new files, new folders and flushes find room
    """

    def __init__(self, folder: Path, room: float):
        self.folder = os.path.realpath(folder)
        self.room = room
        self.n_written = 0

    def holds(self, path: Any) -> bool:
        """Whether a path lies on it."""
        return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(self.folder)

    def write(self) -> None:
        """
        Take some room.

        :raises OSError: if there is none
        """
        self.n_written += 1
        if self.n_written > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Raw(io.FileIO):
    """A file on the disk. What is written to it fails where Python's buffer is written out, as it does in earnest."""

    def __init__(self, path: Any, mode: str, disk: Disk):
        self._disk = disk
        super().__init__(path, mode)

    def write(self, content: Any) -> Any:
        """See Python."""
        self._disk.write()
        return super().write(content)


def buffered(path: Any, mode: str, disk: Disk, **text: Any) -> Any:
    """What ``open()`` gives for a file that is written."""
    raw = Raw(path, mode.replace("b", "").replace("t", ""), disk)
    file = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    return file if "b" in mode else io.TextIOWrapper(file, **text)


@contextmanager
def full_disk(folder: Path, room: float) -> Iterator[Disk]:
    """
    Inside the block a folder is on a disk that gets full, for this process.

    :param folder: see :class:`Disk`
    :param room: see there
    """
    disk, opened = Disk(folder, room), open

    def opening(path: Any, mode: str = "r", buffering: int = -1, *text: Any, **named: Any) -> Any:
        if not (disk.holds(path) and set(mode) & set("wax+")):
            return opened(path, mode, buffering, *text, **named)
        disk.write()
        names = dict(zip(TEXT, text, strict=False))
        return buffered(path, mode, disk, **{name: value for name, value in {**names, **named}.items() if name in TEXT})

    def taking(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
        def taken(*args: Any, **kwargs: Any) -> Any:
            if when(*args):
                disk.write()
            return function(*args, **kwargs)

        return taken

    def creates(path: Any, flags: int = 0, *_: Any) -> bool:
        return bool(flags & os.O_CREAT) and disk.holds(path)

    with ExitStack() as patches:
        for module, name, function in (
            (builtins, "open", opening),
            (io, "open", opening),
            (os, "open", taking(os.open, creates)),
            (os, "mkdir", taking(os.mkdir, lambda path, *_: disk.holds(path))),
            (os, "fsync", taking(os.fsync, lambda file: disk.holds(f"/proc/self/fd/{file}"))),
        ):
            patches.enter_context(patch.object(module, name, function))
        yield disk
