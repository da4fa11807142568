"""Cells: trainings that are independent of each other, run side by side, each in a process and a folder of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sb3_nbsp.evaluation import SequenceResults


@dataclass(frozen=True)
class Cell:
    """
    One training: a method on a task sequence with a seed.

    :param method: the method's name, as tables show it
    :param algo: key of the algorithm, e.g. ``nbspsac``
    :param env: id of a task sequence
    :param seed: seed of the training
    :param folder: where everything of this cell goes
    :param arguments: further arguments of ``sb3-nbsp train``
    """

    method: str
    algo: str
    env: str
    seed: int
    folder: Path
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The training command."""
        own = ["--algo", self.algo, "--env", self.env, "--seed", str(self.seed), "-f", str(self.folder), *self.arguments]
        return [sys.executable, "-m", "sb3_nbsp.cli", "train", *own]

    def results(self) -> SequenceResults | None:
        """What the newest run in the folder has written so far."""
        found = sorted(self.folder.glob("*/*/results.json"), key=lambda path: path.stat().st_mtime)
        return SequenceResults.read(found[-1]) if found else None

    @property
    def is_done(self) -> bool:
        """Whether the whole sequence was trained."""
        results = self.results()
        return results is not None and results.finished

    @property
    def progress(self) -> float:
        """Share of the sequence that was evaluated so far, in [0, 1]."""
        results = self.results()
        if results is None or not results.evaluations:
            return 0.0
        return min(results.evaluations[-1].step / sum(results.segment_steps), 1.0)


class CellError(RuntimeError):
    """A training failed."""


def run_cells(cells: Sequence[Cell], n_jobs: int, watch: Callable[[list[Cell]], None] | None = None) -> None:
    """
    Run the cells that are not done yet, ``n_jobs`` at a time with one thread each.

    :param cells: the trainings
    :param n_jobs: number of processes
    :param watch: called a few times a second with the running cells, e.g. to draw progress bars
    :raises CellError: if a training failed; the others are finished first
    """
    waiting = [cell for cell in cells if not cell.is_done]
    running: dict[Cell, subprocess.Popen[bytes]] = {}
    failed: list[Cell] = []
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                cell = waiting.pop(0)
                running[cell] = _start(cell)
            for cell, process in list(running.items()):
                if process.poll() is not None:
                    del running[cell]
                    if process.returncode != 0 or not cell.is_done:
                        failed.append(cell)
            if watch is not None:
                watch(list(running))
            time.sleep(0.25)
    finally:
        for process in running.values():  # interrupted
            process.terminate()
    if failed:
        logs = "\n".join(f"--- {_log(cell)}\n{_tail(_log(cell))}" for cell in failed)
        raise CellError(f"{len(failed)} of {len(cells)} trainings failed. The ends of their logs:\n{logs}")


def _start(cell: Cell) -> subprocess.Popen[bytes]:
    cell.folder.mkdir(parents=True, exist_ok=True)
    # Two threads per process on busy cores are many times slower than one.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with open(_log(cell), "wb") as log:
        return subprocess.Popen(cell.command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _log(cell: Cell) -> Path:
    return cell.folder / "log.txt"


def _tail(path: Path, n_lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])
