"""Which cells can learn together, as members of one population."""

import math
from collections.abc import Sequence
from typing import Any

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.resolved_arguments import hyperparameters

ALGO = "nbspsac"
# Hyperparameters in which members may differ; the population itself looks at the models once more.
OF_EACH = (
    "clone_coef", "ent_coef", "gamma", "goal_metric", "learning_rate", "mask_coef", "mask_networks", "mask_output_biases",
    "mask_sides", "mask_target", "memory_retention", "memory_size", "old_task_fraction", "rehearsal", "replay_interval",
    "replay_mode", "reset_ent_coef", "reset_optimizer", "schedules_per_task", "score", "scoring_steps", "select_among",
    "skill_fraction", "target_entropy", "task_gates", "tau",
)  # fmt: skip
MOST = 40  # cells of a pack: a process that fails takes them all along


def packs_of(cells: Sequence[Cell], n_jobs: int) -> list[list[Cell]]:
    """
    :param cells: trainings
    :param n_jobs: processes at a time: there are packs for all of them, if there are cells
    :return: the same in packs, each of which one process trains; a pack of one is an ordinary training
    """
    groups: dict[Any, list[Cell]] = {}
    for number, cell in enumerate(cells):
        groups.setdefault(_shape_of(cell) or number, []).append(cell)
    packs = []
    for group in groups.values():
        n_packs = max(math.ceil(len(group) / MOST), min(n_jobs, len(group) // 2), 1)
        size = math.ceil(len(group) / n_packs)
        packs += [group[start : start + size] for start in range(0, len(group), size)]
    return sorted(packs, key=len, reverse=True)  # the longest first, so that processes end together


def _shape_of(cell: Cell) -> Any:
    """What members of a population share; ``None`` for what is trained by itself: other algorithms, baselines' callbacks."""
    if cell.algo != ALGO:
        return None
    found = hyperparameters(cell.algo, cell.env, cell.arguments)
    if "callback" in found or found.get("fast_update", "auto") is False:
        return None
    shared = {name: value for name, value in found.items() if name not in OF_EACH}
    learns = str(found.get("ent_coef", "auto")).startswith("auto")
    return cell.env, learns, repr(sorted(shared.items())), _without_params(cell.arguments)


def _without_params(arguments: Sequence[str]) -> tuple[str, ...]:
    """
    A cell's arguments without its hyperparameters, which follow ``-params`` up to the next option, and without the names of
    its tasks: members may learn different ones. (Where these differ in number or spaces, ``train --together`` sees it.)
    """
    kept: list[str] = []
    option = ""
    for argument in arguments:
        option = argument if argument.startswith("-") else option
        is_param = option in ("-params", "--hyperparams")
        is_tasks = option == "--env-kwargs" and argument.startswith("tasks:")
        kept += [] if is_param or is_tasks else [argument]
    return tuple(kept)
