"""The demonstration: forgetting and its cure on the embedded task sequence, in minutes on two cores."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markdown import Markdown

from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.progress import train_with_progress
from sb3_nbsp.evaluation import SequenceResults, plot_sequence, results_table
from sb3_nbsp.evaluation.table import LabelledRuns
from sb3_nbsp.zoo.argument_types import Seeds, jobs, whole
from sb3_nbsp.zoo.command_parser import CommandParser

TEXT = "See forgetting and its cure on the embedded task sequence, in minutes on two cores."
ENVS = {
    "sac": "sb3_nbsp/PointGoal-v0",
    "tqc": "sb3_nbsp/PointGoal-v0",
    "dqn": "sb3_nbsp/PointGoalDiscrete-v0",
    "qrdqn": "sb3_nbsp/PointGoalDiscrete-v0",
    "ppo": "sb3_nbsp/PointGoalDiscrete-v0",
}
STEPS_PER_TASK = {"ppo": 20_000}  # on-policy learning takes more steps, and less time for each
# What the plain algorithm can do is shown twice: SB3 keeps every transition in one buffer, which is replay of everything;
# where that data is gone, as with tasks longer than the buffer, it forgets.
NOTE = (
    "{0}, buffer emptied: at each task switch the replay buffer is emptied, exploration begins anew and the warm-up is "
    "repeated, as in NBSP{0}, but no neuron is held and nothing rehearsed. {0}, buffer kept: as it is in SB3, one buffer, "
    "nothing set back.\n"
)


def methods(algo: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """
    :param algo: key of a plain algorithm, e.g. ``sac``
    :return: key of the algorithm and further arguments of the training command, by the method's name
    """
    name = algo.upper()
    if algo == "ppo":  # it keeps no data that could be emptied
        masks = ("-params", "memory_size:0")
        return {"PPO": ("ppo", ()), "NBSPPPO, masks only": ("nbspppo", masks), "NBSPPPO": ("nbspppo", ())}
    return {
        f"{name}, buffer emptied": (f"nbsp{algo}", ("-params", "skill_fraction:0", "memory_size:0")),
        f"{name}, buffer kept": (algo, ()),
        f"NBSP{name}": (f"nbsp{algo}", ()),
    }


def main(arguments: list[str]) -> None:
    """
    Run the demonstration.

    :param arguments: command line arguments
    """
    parser = CommandParser(prog="sb3-nbsp demo", description=TEXT)
    parser.add_argument("-f", "--folder", type=Path, default=Path("demo"), help="where results go (default: demo)")
    parser.add_argument("--algo", choices=list(ENVS), default="sac", help="algorithm (default: sac)")
    parser.add_argument("--seeds", action=Seeds, nargs="+", default=[0, 1, 2], help="a training per method each, e.g. 0-4")
    parser.add_argument("--n-jobs", type=jobs, default=min(os.cpu_count() or 1, 2), help="trainings at a time")
    parser.add_argument(
        "--steps-per-task",
        type=whole(1, "env steps"),
        help="env steps of each visit to a task (default: 2,000, with PPO 20,000)",
    )
    parser.add_argument("--again", action="store_true", help="train again what is done already")
    args = parser.parse_args(arguments)
    steps = args.steps_per_task or STEPS_PER_TASK.get(args.algo, 2_000)
    cells = make_cells(args.folder, args.algo, args.seeds, steps)
    if args.again:
        for cell in cells:  # no more than is trained again: the folder may hold anything else of the user's
            shutil.rmtree(cell.folder, ignore_errors=True)
    n_done = sum(cell.is_done for cell in cells)
    if n_done:
        print(f"{n_done} of {len(cells)} trainings are taken from an earlier run in {args.folder}; --again repeats them.")
    started = time.perf_counter()
    train_with_progress(cells, args.n_jobs, retry=True)
    runs = [(method, [_results(cell) for cell in cells if cell.method == method]) for method in methods(args.algo)]
    picture = args.folder / "demo.png"
    with may_fail(picture, "The table does not need it."):
        plot_sequence(runs, picture)
    note = "" if args.algo == "ppo" else NOTE.format(args.algo.upper())
    table = "\n".join((results_table(runs), note, in_words(runs)))
    (args.folder / "demo.md").write_text(table)
    console = Console()
    console.print(Markdown(table))
    seconds = time.perf_counter() - started
    where = f"Picture: {picture}, table: {args.folder / 'demo.md'}"
    console.print(f"{len(cells)} trainings in {seconds:.0f} s. {where}", soft_wrap=True)


def make_cells(folder: Path, algo: str, seeds: list[int], steps_per_task: int) -> list[Cell]:
    """
    :param folder: parent of all cells' folders
    :param algo: key of a plain algorithm
    :param seeds: seeds of each method
    :param steps_per_task: env steps of each visit to a task
    """
    common = ("--env-kwargs", f"steps_per_task:{steps_per_task}", "--eval-freq", str(max(steps_per_task // 4, 1)))
    parent = folder / f"{steps_per_task}"
    return [
        Cell(method, key, ENVS[algo], seed, parent / f"{index}-{key}" / f"seed{seed}", common + extra)
        for seed in seeds
        for index, (method, (key, extra)) in enumerate(methods(algo).items())
    ]


def in_words(runs: LabelledRuns) -> str:
    """
    :param runs: (method, runs with different seeds), all over the same sequence
    :return: what each method has learned in the first visits, and what it kept, as a list in Markdown
    """
    first = runs[0][1][0]
    n_tasks = len(first.task_names)
    lines = [f"In words, success on {' and '.join(first.task_names)} (mean over seeds):\n"]
    for method, results in runs:
        matrix = np.mean([run.matrix() for run in results], axis=0)  # [n_segments, n_tasks]
        learned = [matrix[first.segment_indices.index(task), task] for task in range(n_tasks)]
        after, end = (" and ".join(f"{value:.2f}" for value in row) for row in (matrix[n_tasks - 1], matrix[-1]))
        new = " and ".join(f"{value:.2f}" for value in learned)
        lines.append(f"- {method}: learned {new} in the first visits; stood at {after} after both, at {end} at the end.")
    return "\n".join(lines) + "\n"


def _results(cell: Cell) -> SequenceResults:
    results = cell.results()
    assert results is not None  # run_cells() raises otherwise
    return results
