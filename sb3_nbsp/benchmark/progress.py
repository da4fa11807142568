"""Trainings under progress bars."""

import time
from collections.abc import Sequence
from datetime import timedelta

try:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
except ImportError as error:
    raise ImportError(f'Progress bars need rich ({error}): pip install "sb3-nbsp[zoo]"') from error

from sb3_nbsp.base.folder_lock import lock_holder
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.local_runner import run_cells
from sb3_nbsp.benchmark.training import Training

UPDATE_SECONDS = 1.0  # results are read that often
ALL_SAMPLES = 1e9  # seconds that rich looks back over for its estimate: cells last from seconds to hours


class ProgressDisplay:
    """
    A bar for all trainings with the time left, one for each that is running, and a line for each that has ended.

    The lines are all that shows where the output is no terminal.

    :param cells: all trainings
    :param console: where to draw
    """

    def __init__(self, cells: Sequence[Cell], console: Console | None = None):
        columns = ("{task.description}", "{task.percentage:>3.0f}%")
        self.progress = Progress(
            TextColumn(columns[0]),
            BarColumn(),
            TextColumn(columns[1]),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=ALL_SAMPLES,
        )
        self._n_cells = len(cells)
        self._n_ended = sum(cell.is_done for cell in cells)
        self._overall = self.progress.add_task(f"all {len(cells)} trainings", total=len(cells), completed=self._n_ended)
        self._bars: dict[Training, tuple[TaskID, float]] = {}
        self._updated = 0.0

    def __call__(self, running: list[Training]) -> None:
        """
        Draw what has changed.

        :param running: the trainings that are running
        """
        for training in running:
            if training not in self._bars:
                self._begin(training)
        for training in [training for training in self._bars if training not in running]:
            self._end(training)
        if time.monotonic() - self._updated >= UPDATE_SECONDS:
            self._updated = time.monotonic()
            self._update(running)

    def _begin(self, training: Training) -> None:
        self._bars[training] = self.progress.add_task(training.cell.name, total=1.0), time.monotonic()
        if training.is_elsewhere:
            holder = lock_holder(training.cell.folder)
            self.progress.console.print(f"{training.cell.name}: process {holder} trains it already, waiting", highlight=False)

    def _end(self, training: Training) -> None:
        bar, started = self._bars.pop(training)
        self.progress.remove_task(bar)
        self._n_ended += 1
        self._update(list(self._bars))
        left = self.progress.tasks[0].time_remaining
        estimate = "" if not left else f"; about {timedelta(seconds=round(left))} left"
        seconds = time.monotonic() - started
        text = f"[{self._n_ended}/{self._n_cells}] {training.cell.name}: {training.cell.state} after {seconds:.0f} s{estimate}"
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _update(self, running: list[Training]) -> None:
        parts = [training.cell.progress for training in running]
        for training, part in zip(running, parts, strict=True):
            self.progress.update(self._bars[training][0], completed=part)
        self.progress.update(self._overall, completed=self._n_ended + sum(parts))


def train_with_progress(
    cells: Sequence[Cell],
    n_jobs: int,
    retry: bool = False,
    keep_weights: bool = True,
    console: Console | None = None,
    population: bool = False,
    env_workers: int | None = None,
) -> None:
    """
    :func:`~sb3_nbsp.benchmark.local_runner.run_cells` under progress bars.

    :param cells: the trainings
    :param n_jobs: trainings at a time
    :param retry: also train what failed earlier
    :param keep_weights: leave models and replay buffers
    :param console: where to draw
    :param population: train what can learn together in one process
    :param env_workers: processes for the envs of each population, see there
    :raises CellError: if a training failed
    """
    display = ProgressDisplay(cells, console)
    with display.progress:
        run_cells(cells, n_jobs, display, retry, keep_weights, population, env_workers)
