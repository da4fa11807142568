"""``sb3-nbsp benchmark``: a suite of trainings, here or on a cluster."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch as th

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.local_runner import CellError, StoppedError
from sb3_nbsp.benchmark.manifest import check_manifest
from sb3_nbsp.benchmark.same_judging import check_suite_stays
from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.zoo.argument_types import Seeds, above_zero, jobs, whole
from sb3_nbsp.zoo.benchmark_cost import cost_statement
from sb3_nbsp.zoo.benchmark_preview import overview, packs_statement, preview
from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.suite_checks import check_cells

N_JOBS = min(os.cpu_count() or 1, 2)
TEXT = "Train all methods of a suite on all its task sequences with several seeds."
EPILOG = """\
A suite that was stopped, or killed, goes on with the same command. Every cell has a folder of its own, SEQUENCE/METHOD/seedN:
manifest.json (what is trained, with what), log.txt, run/ (as sb3-nbsp train writes it), and at its end results.json and
done.json. `sb3-nbsp report FOLDER` makes tables and figures of these JSON files; with --archive it writes them into one file
that can be committed. Cells in such a file in FOLDER (runs.jsonl.xz) count as done.
How a suite is written: sb3_nbsp/benchmark/suite.py.
"""


def main(arguments: list[str]) -> None:
    """
    Train what is left of a suite.

    :param arguments: command line arguments
    :raises SystemExit: with status 1 if a training failed, 2 if the suite cannot be used, 130 if interrupted
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    folder = args.folder or Path("runs") / args.suite.stem
    try:
        suite = Suite.read(args.suite)
        cells = suite.cells(folder, args.only, args.seeds, args.sequences)
        for cell in cells:
            check_manifest(cell, args.retry)
        check_cells(cells)
        check_suite_stays(folder, suite.content(folder))
    except ValueError as error:  # of the suite, of a cell's folder, or of published runs
        parser.exit(2, f"sb3-nbsp benchmark: {error}\n")
    print(overview(suite, cells, folder))
    if args.dry_run:
        n_jobs = args.n_jobs or n_jobs_for(cells, args.population)
        print(f"\n{preview(cells)}\n\n{cost_statement(cells, n_jobs)}")
        if args.population and (packs := packs_statement(cells, n_jobs)):
            print(packs)
        return
    suite.write(folder)
    try:
        _train(cells, folder, args)
    except StoppedError as error:
        parser.exit(1, f"{error}\nThe same command goes on.\n")
    except CellError as error:
        parser.exit(1, f"{error}\nAfter mending the cause: the same command with --retry.\n")
    except KeyboardInterrupt:
        parser.exit(130, "Interrupted; all trainings are stopped. The same command goes on.\n")


def _train(cells: list[Cell], folder: Path, args: argparse.Namespace) -> None:
    if args.slurm:
        from sb3_nbsp.benchmark import slurm

        limits = {"minutes": args.minutes, "memory_gb": args.memory_gb, "at_a_time": args.n_jobs}
        where = {"cluster": args.cluster, "partition": args.partition}
        jobs = slurm.submit(cells, folder / "slurm", args.retry, args.keep_weights, **where, **limits)
        print(f"{len(jobs)} jobs submitted" + (f": {jobs[0].job_id} to {jobs[-1].job_id}" if jobs else ""))
        print(f"Their logs: {folder / 'slurm'}. How far they are: the same command with --dry-run.")
        return
    from sb3_nbsp.benchmark.progress import train_with_progress

    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _interrupt)  # stop the trainings, as for Ctrl-C
    together = {"population": args.population, "env_workers": args.env_workers}
    train_with_progress(cells, args.n_jobs or n_jobs_for(cells, args.population), args.retry, args.keep_weights, **together)
    print(f"All {len(cells)} trainings are done. Tables and figures: sb3-nbsp report {shlex.quote(str(folder))}")


def n_jobs_for(cells: Sequence[Cell], population: bool) -> int:
    """
    :param cells: trainings
    :param population: whether many are trained in one process
    :return: how many processes train at a time where nobody said so. On a GPU one population: three of ten members wait for
        each other there, and make half the updates of one of 64 (docs/performance.md).
    """
    if population and th.cuda.is_available() and any(_device(cell) != "cpu" for cell in cells):
        return 1
    return N_JOBS


def _device(cell: Cell) -> str:
    arguments = list(cell.arguments)
    return arguments[arguments.index("--device") + 1] if "--device" in arguments else "auto"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = CommandParser("sb3-nbsp benchmark", description=TEXT, epilog=EPILOG, formatter_class=formatter)
    shipped = ", ".join(shipped_suites())
    parser.add_argument("suite", type=Path, metavar="SUITE.yml", help=f"a suite's file, or one of the package's: {shipped}")
    n_jobs = "processes at a time, one thread each (default: 2; with --population on a GPU 1; on a cluster no limit)"
    parser.add_argument("-f", "--folder", type=Path, help="where cells go (default: runs/SUITE)")
    parser.add_argument("--n-jobs", type=jobs, help=n_jobs)
    parser.add_argument("--only", nargs="+", default=[], metavar="METHOD", help="methods by name; * stands for anything")
    sequences = "task sequences by name; * stands for anything"
    parser.add_argument("--sequences", nargs="+", default=[], metavar="SEQUENCE", help=sequences)
    parser.add_argument("--seeds", action=Seeds, nargs="+", default=[], help="instead of the suite's, e.g. 0-4")
    parser.add_argument(
        "--population",
        action="store_true",
        help="train cells of nbspsac together that differ in seed, method and names of tasks only, each process many of them: "
        "the same runs up to rounding, in less time where networks are small or on a GPU",
    )
    parser.add_argument(
        "--env-workers",
        type=whole(0, "processes"),
        help="with --population: processes for the envs of each population, 0: none (default: one for each of its cores but "
        "one, where it has three cores or more and an env step takes 0.2 ms or more)",
    )
    parser.add_argument("--retry", action="store_true", help="also train what has failed before")
    parser.add_argument("--keep-weights", action="store_true", help="keep the models and replay buffers of finished cells")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show which seeds are in which state, and about how long the rest takes; of few cells the commands",
    )
    cluster = parser.add_argument_group("on a cluster", "needs submitit: pip install 'sb3-nbsp[slurm]'")
    cluster.add_argument("--slurm", action="store_true", help="submit the cells as a job array, one CPU each, and return")
    cluster.add_argument("--partition", help="Slurm partition")
    cluster.add_argument("--minutes", type=whole(1, "minutes"), default=24 * 60, help="time limit of a job (default: a day)")
    cluster.add_argument("--memory-gb", type=above_zero, default=4, help="memory of a job in gigabytes (default: 4)")
    cluster.add_argument("--cluster", choices=("slurm", "local"), default="slurm", help="local: processes here, to try it out")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
