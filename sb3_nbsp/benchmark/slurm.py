"""Cells as a job array on a Slurm cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

try:
    import submitit
except ImportError as error:
    raise ImportError(f'--slurm needs submitit ({error}): pip install "sb3-nbsp[slurm]"') from error

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.local_runner import run_cells


class CellJob(submitit.helpers.Checkpointable):
    """
    What a job of the array does: train one cell. A job that meets its time limit, or is preempted, is put into the queue
    again and goes on from the cell's last checkpoint.

    :param retry: train the cell again if it has failed before
    :param keep_weights: leave models and replay buffers
    """

    def __init__(self, retry: bool, keep_weights: bool):
        self.retry = retry
        self.keep_weights = keep_weights

    def __call__(self, cell: Cell) -> None:
        """
        :param cell: the training
        :raises CellError: if it failed
        """
        run_cells([cell], n_jobs=1, retry=self.retry, keep_weights=self.keep_weights)


def submit(
    cells: Sequence[Cell],
    folder: Path,
    retry: bool = False,
    keep_weights: bool = True,
    cluster: Literal["slurm", "local"] = "slurm",
    partition: str | None = None,
    minutes: int = 24 * 60,
    memory_gb: float = 4,
    at_a_time: int | None = None,
) -> list[Any]:
    """
    Submit the cells that are not done yet as one job array. Returns at once.

    A cell that is submitted twice is trained once: the second job waits for the first and finds the cell done.

    :param cells: the trainings
    :param folder: where the jobs' own files go
    :param retry: also submit what has failed before
    :param keep_weights: leave models and replay buffers of finished cells
    :param cluster: ``slurm``, or ``local`` for processes on this machine
    :param partition: Slurm partition
    :param minutes: time limit of a job
    :param memory_gb: memory of a job in gigabytes
    :param at_a_time: how many jobs may run at a time; default: no limit
    :return: submitit's jobs
    """
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    limits = {"slurm_array_parallelism": at_a_time, "slurm_partition": partition}
    executor.update_parameters(
        name="sb3-nbsp",
        timeout_min=minutes,
        cpus_per_task=1,
        mem_gb=memory_gb,
        **{name: value for name, value in limits.items() if value is not None},
    )
    left = [cell for cell in cells if not cell.is_done and (retry or cell.state != "failed")]
    return executor.map_array(CellJob(retry, keep_weights), left)
