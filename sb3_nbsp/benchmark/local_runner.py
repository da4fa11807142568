"""Many cells, a few at a time."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Annotated

from sb3_nbsp.base.arguments import Whole, check_values
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.file_names import FAILED, LOG
from sb3_nbsp.benchmark.manifest import check_manifest, read_json
from sb3_nbsp.benchmark.packs import packs_of
from sb3_nbsp.benchmark.training import Training, start_together

POLL_SECONDS = 0.25
ARGUMENTS = {"n_jobs": Annotated[int, Whole(1, "processes")]}


class CellError(RuntimeError):
    """A training failed."""


class StoppedError(CellError):
    """A training was stopped from outside, and goes on another time."""


def run_cells(
    cells: Sequence[Cell],
    n_jobs: int,
    watch: Callable[[list[Training]], None] | None = None,
    retry: bool = False,
    keep_weights: bool = True,
    population: bool = False,
    env_workers: int | None = None,
) -> None:
    """
    Train the cells that are not done yet, ``n_jobs`` at a time with one thread each.

    An interrupted cell goes on from its last checkpoint, or starts anew where it has none. When this function is left,
    by whatever exception, none of its trainings is running.

    :param cells: the trainings
    :param n_jobs: number of processes
    :param watch: called a few times a second with what is running, e.g. to draw progress bars
    :param retry: also train what failed in an earlier call
    :param keep_weights: leave the models and replay buffers of finished cells
    :param population: train cells that can learn together in one process, as one population
    :param env_workers: processes for the envs of each population; ``None``: by the rule of ``sb3-nbsp train --seeds``
    :raises ValueError: for less than one process
    :raises CellError: if a training failed now or earlier, or was stopped from outside; the others are finished first
    :raises ForeignCellError: if a cell's folder holds another training; none has been started then
    """
    check_values(ARGUMENTS, {"n_jobs": n_jobs})
    for cell in cells:
        check_manifest(cell, retry)
    waiting = [cell for cell in cells if not cell.is_done and (retry or cell.state != "failed")]
    packs = packs_of(waiting, n_jobs) if population else [[cell] for cell in waiting]
    running: list[list[Training]] = []  # by process
    try:
        while packs or running:
            while packs and len(running) < n_jobs:
                running.append(_started(packs.pop(0), retry, keep_weights, env_workers, n_jobs))
            if watch is not None:  # before looking who has ended: the shortest training is seen once
                watch([training for pack in running for training in pack])
            left = [[training for training in pack if not training.ended()] for pack in running]
            running = [pack for pack in left if pack]
            if running:
                time.sleep(POLL_SECONDS)
        if watch is not None:
            watch([])
    finally:
        for pack in running:
            for training in pack:
                training.stop()
    raise_unless_done(cells)


def _started(pack: Sequence[Cell], retry: bool, keep_weights: bool, env_workers: int | None, n_jobs: int) -> list[Training]:
    if len(pack) == 1:
        return [Training(pack[0], retry, keep_weights)]
    cores = max((os.cpu_count() or 1) // n_jobs, 1)
    return start_together(pack, retry, keep_weights, env_workers, cores)


def raise_unless_done(cells: Sequence[Cell]) -> None:
    """
    :param cells: trainings that have ended
    :raises CellError: with the end of each failed training's log
    :raises StoppedError: if none failed, but some were stopped
    """
    failed = [cell for cell in cells if cell.state == "failed"]
    if failed:
        logs = "\n".join(describe_failure(cell) for cell in failed)
        raise CellError(f"{len(failed)} of {len(cells)} trainings failed. The ends of their logs:\n{logs}")
    if stopped := [cell for cell in cells if not cell.is_done]:
        names = "\n".join(f"--- {cell.name} ({cell.folder / LOG})" for cell in stopped)
        raise StoppedError(f"{len(stopped)} of {len(cells)} trainings were stopped from outside:\n{names}")


def describe_failure(cell: Cell) -> str:
    """
    :param cell: a cell that failed
    :return: its name, the reason and the end of its log
    """
    published = {} if cell.published is None else cell.published.failure
    record = read_json(cell.folder / FAILED) or published
    return "\n".join([f"--- {cell.name}: {record.get('reason')} ({cell.folder / LOG})", *record.get("log", [])])
