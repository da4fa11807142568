"""One cell's training process: how it starts, goes on, ends and is stopped."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.folder_lock import lock_folder, write_holder
from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.file_names import FAILED, LOG, MANIFEST, RUN, TOGETHER
from sb3_nbsp.benchmark.manifest import (
    changed_settings,
    check_manifest,
    read_json,
    write_done,
    write_failed,
    write_json,
    write_manifest,
)
from sb3_nbsp.checkpoints.manifest import FOLDER, checkpoints_of
from sb3_nbsp.evaluation.skill_file import SKILL_NEURONS

WEIGHTS_ARE_GONE = """
The benchmark has deleted the agent's files and checkpoints, which --keep-weights would have left: what is said above of them,
and of commands that play the agent, no longer holds. Results, figures and settings are there.
"""
LOG_LINES = 15  # of a failed training that are shown
TOLD_TO_STOP = [128 + number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))]
STOP_SECONDS = 10  # until a training that was told to stop is killed
# Two threads per process on busy cores are many times slower than one.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Training:
    """
    The training of one cell, from its start to its mark.

    A lock on the cell's folder is held by the training process itself. So a training that outlived the command that
    started it (``kill -9``) is found by the next command, which waits for its end instead of starting a second one.

    :param cell: the cell
    :param retry: train it again if it has failed before
    :param keep_weights: leave models and replay buffers where they are
    :param starts: whether it starts by itself; else :func:`start_together` does it
    :raises ForeignCellError: if the cell's folder holds another training
    """

    def __init__(self, cell: Cell, retry: bool = False, keep_weights: bool = True, starts: bool = True):
        self.cell = cell
        self.retry = retry
        self.keep_weights = keep_weights
        self.process: subprocess.Popen[bytes] | None = None
        self._is_shared = False  # with other trainings
        check_manifest(cell, retry)
        cell.folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(cell.folder)
        if self._lock is not None and starts:
            self._start()

    @property
    def is_elsewhere(self) -> bool:
        """Whether another process trains the cell."""
        return self._lock is None

    def ended(self) -> bool:
        """Look whether the training has ended; if so, the cell is marked."""
        if self._lock is None:
            self._lock = lock_folder(self.cell.folder)
            if self._lock is None:
                return False
            self._start()
        status = None if self.process is None else self.process.poll()
        if self.process is not None and status is None:
            return False
        self._mark(status)
        self._lock.close()
        return True

    def stop(self) -> None:
        """Stop the training; the cell is left interrupted."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._lock is not None:
            self._lock.close()

    @property
    def is_due(self) -> bool:
        """Whether there is anything to train, and nobody else trains it."""
        cell = self.cell
        return self._lock is not None and not (cell.is_done or (not self.retry if cell.state == "failed" else cell.is_trained))

    def _start(self) -> None:
        """Start the process, unless there is nothing left to do."""
        if self.is_due:
            checkpoint = _start_from(self.cell)
            self._launch([self], self.cell.command(checkpoint), [checkpoint])

    @staticmethod
    def _launch(trainings: "Sequence[Training]", command: Sequence[str], checkpoints: Sequence[Path | None]) -> None:
        """Start one process for trainings. What it prints goes into the first one's log."""
        for training, checkpoint in zip(trainings, checkpoints, strict=True):
            cell = training.cell
            if checkpoint is None:
                shutil.rmtree(cell.folder / RUN, ignore_errors=True)
            write_manifest(cell, checkpoint)
            (cell.folder / FAILED).unlink(missing_ok=True)
        first, *others = [training.cell.folder / LOG for training in trainings]
        for path in others:
            path.write_text(f"Trained in one process with others, whose log is {first}\n")
        locks = [training._lock for training in trainings if training._lock is not None]
        with first.open("ab" if checkpoints[0] else "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ONE_THREAD},
                # Ctrl-C reaches the command only, which then stops its trainings.
                start_new_session=True,
                pass_fds=[] if os.name == "nt" else [lock.fileno() for lock in locks],
            )
        for training, lock in zip(trainings, locks, strict=True):
            training.process, training._is_shared = process, len(trainings) > 1
            write_holder(lock, process.pid)

    def _mark(self, status: int | None) -> None:
        """Mark what has come to an end: ``status`` is the process's exit status, ``None`` where there was no process."""
        cell = self.cell
        if cell.state == "failed" and status is None:
            return
        if not cell.is_done:
            is_over = cell.is_trained and self._is_shared  # whatever became of the others in its process
            if status in TOLD_TO_STOP and not is_over:
                return  # it goes on another time
            if not is_over and (status not in (None, 0) or not cell.is_trained):
                write_failed(cell, _reason(status), log_end(cell))
                return
            _conclude(cell)
        if not self.keep_weights:
            cell.delete_weights()
            with may_fail(cell.folder / LOG), (cell.folder / LOG).open("a") as log:
                log.write(WEIGHTS_ARE_GONE)


def start_together(
    cells: Sequence[Cell],
    retry: bool = False,
    keep_weights: bool = True,
    env_workers: int | None = None,
    cores: int | None = None,
) -> list[Training]:
    """
    Start the trainings of several cells in one process. Those that were stopped together go on from the newest step of which
    all have a checkpoint.

    :param cells: trainings that can be one population
    :param retry: see :class:`Training`
    :param keep_weights: see there
    :param env_workers: processes for their envs; ``None`` leaves it to ``sb3-nbsp train``
    :param cores: that they may use; ``None``: all
    :return: one training for each cell, of which some may have been over, or be trained elsewhere
    """
    trainings = [Training(cell, retry, keep_weights, starts=False) for cell in cells]
    due = [training for training in trainings if training.is_due]
    if len(due) == 1:
        due[0]._start()
    elif due:
        checkpoints = _common_checkpoints([_start_from(training.cell) for training in due])
        runs = [training.cell.train_arguments(path) for training, path in zip(due, checkpoints, strict=True)]
        file = due[0].cell.folder / TOGETHER
        write_json(file, {"runs": runs, "env_workers": env_workers, "cores": cores})
        command = [sys.executable, "-m", "sb3_nbsp.cli", "train", "--together", str(file)]
        Training._launch(due, command, checkpoints)
    return trainings


def _common_checkpoints(runs: Sequence[Path | None]) -> list[Path | None]:
    """
    Have runs that were stopped together stand at the newest step of which all have a checkpoint. Newer checkpoints of some
    are deleted. Runs at other steps, of another population in their process or begun another time, go on from their own.

    :param runs: their folders, ``None`` for one that begins
    :return: the same, and ``None`` for one without a checkpoint
    """
    left = {index: checkpoints_of(run / FOLDER) for index, run in enumerate(runs) if run is not None}
    left = {index: steps for index, steps in left.items() if steps}
    starts: list[Path | None] = [None] * len(runs)
    while left:
        step = min(max(steps) for steps in left.values())
        for index in [index for index, steps in left.items() if step in steps]:
            starts[index] = runs[index]
            for newer, path in left.pop(index).items():
                if newer > step:
                    shutil.rmtree(path)
    return starts


def _conclude(cell: Cell) -> None:
    newest, results = cell.newest_results(), cell.results()
    assert newest is not None and results is not None  # is_trained
    for path in (newest, newest.with_name(SKILL_NEURONS)):
        if path.is_file():  # plain SB3 algorithms have no skill neurons
            with replacing(cell.folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
    write_done(cell, results.wall_time_s)


def _start_from(cell: Cell) -> Path | None:
    """The checkpoint to go on from; none of other settings, and none where going on has failed before."""
    checkpoint = cell.checkpoint()
    before = (read_json(cell.folder / MANIFEST) or {}).get("continued_from")
    if changed_settings(cell) or (cell.state == "failed" and before and cell.folder / before == checkpoint):
        return None
    return checkpoint


def log_end(cell: Cell) -> str:
    """
    :param cell: a cell that was started
    :return: the last lines of its log
    """
    path = cell.folder / LOG
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "\n".join(lines[-LOG_LINES:])


def _reason(status: int | None) -> str:
    if not status:
        return "it ended before the sequence was finished"
    if status < 0:
        return f"killed by signal {-status} ({signal.Signals(-status).name}); the system kills where memory runs out"
    return f"exit status {status}"
