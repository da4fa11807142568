"""
What a suite costs before it is trained: cells, env steps, gradient steps and, roughly, hours on one core.

Hours are an estimate, good to a factor of two, for the machine of docs/performance.md, from which the learner's times are;
what an env step takes beside it is rounded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.resolved_arguments import environment_arguments, hyperparameters
from sb3_nbsp.evaluation.table import markdown_table
from sb3_nbsp.tasks.registration import sequence_of_id
from sb3_nbsp.tasks.sequence import TaskSequence
from sb3_nbsp.zoo.algorithms import PARENTS

MACHINE = "one core of an Intel Xeon, one thread"
# A gradient step of SAC: 6.34 ms with two layers of 256, 13.22 ms with two of 400, batches of 256, lie on this line.
UPDATE_MS = 1.1
MS_PER_MILLION = 0.088  # of weights times batch
AUTOGRAD_FACTOR = 2.0  # with a baseline's hooks, which the update without autograd cannot compute
STEP_MS = 1.0  # acting and storing
ACT_MS = 0.3  # acting alone, in evaluations
SIMULATOR_MS = {"metaworld": 0.5, "other": 0.05}  # per simulator step
INPUTS = 43  # observation and action of Meta-World; of little weight
HORIZONS = {"metaworld": 500, "other": 20}
NOT_OF_SEQUENCES = ("n_envs", "switch_on", "render_mode")  # arguments of environments
NO_HOOKS = (
    "SavedCopies",
    "Resets",
    "LowerLearningRate",
    "FirstObservations",
)  # callbacks that leave updates as they are


@dataclass(frozen=True)
class Cost:
    """
    Of one cell.

    :param steps: env steps
    :param updates: gradient steps; 0 where they are not known (PPO)
    :param hours: on one core; 0 where that is not known
    """

    steps: int
    updates: int
    hours: float


def cost_of(cell: Cell) -> Cost:
    """
    :param cell: a training
    :return: what it costs from its beginning
    :raises ImportError: where the tasks need a package that is not installed
    """
    kwargs = environment_arguments(cell.arguments)
    of_sequence = {name: value for name, value in kwargs.items() if name not in NOT_OF_SEQUENCES}
    sequence = sequence_of_id(cell.env, **of_sequence)
    if sequence is None:
        return Cost(0, 0, 0.0)
    settings = hyperparameters(PARENTS.get(cell.algo, cell.algo), cell.env, cell.arguments)
    steps = sequence.total_steps
    if not cell.algo.endswith("sac"):
        return Cost(steps, 0, 0.0)
    frequency = settings.get("train_freq", 1)
    updates = round(steps * settings.get("gradient_steps", 1) / (frequency if isinstance(frequency, int) else 1))
    simulator = _simulator_ms(sequence, kwargs)
    evaluation = _evaluation_steps(cell, sequence, kwargs) * (ACT_MS + simulator)
    milliseconds = steps * (STEP_MS + simulator) + updates * update_ms(settings) + evaluation
    return Cost(steps, updates, milliseconds / 3.6e6)


def update_ms(settings: Mapping[str, Any]) -> float:
    """
    :param settings: hyperparameters
    :return: estimated duration of a gradient step of SAC
    """
    kwargs = settings.get("policy_kwargs") or {}
    sizes = kwargs.get("net_arch", [256, 256]) if isinstance(kwargs, Mapping) else _net_arch(kwargs)
    weights = 3 * sum(a * b for a, b in zip([INPUTS, *sizes], [*sizes, 4], strict=True))  # an actor and two critics
    fast = UPDATE_MS + MS_PER_MILLION * weights * settings.get("batch_size", 256) / 1e6
    named = re.findall(r"baselines\.(\w+)", str(settings.get("callback", "")))
    other = any(name not in NO_HOOKS for name in named) or re.search("activation_fn|optimizer_class", str(kwargs))
    return fast * (AUTOGRAD_FACTOR if other else 1.0)


def _net_arch(text: str) -> list[int]:
    """The sizes in ``dict(net_arch=[128, 128], ...)`` or ``dict(net_arch=[256] * 4)``."""
    found = re.search(r"net_arch=\[([\d, ]*)\](?: \* (\d+))?", text)
    if found is None:
        return [256, 256]
    return [int(size) for size in re.findall(r"\d+", found[1])] * int(found[2] or 1)


def _kind(kwargs: Mapping[str, Any], sequence: TaskSequence) -> str:
    return "metaworld" if "MetaWorldEnv" in str(getattr(sequence.tasks[0].make, "func", "")) else "other"


def _simulator_ms(sequence: TaskSequence, kwargs: Mapping[str, Any]) -> float:
    return SIMULATOR_MS[_kind(kwargs, sequence)] * kwargs.get("action_repeat", 1)


def _evaluation_steps(cell: Cell, sequence: TaskSequence, kwargs: Mapping[str, Any]) -> int:
    given = dict(zip(cell.arguments, cell.arguments[1:], strict=False))
    freq, episodes = int(given.get("--eval-freq", 10_000)), int(given.get("--eval-episodes", 5))
    number = 1 + (sequence.total_steps // freq if freq > 0 else len(sequence.segments))
    horizon = kwargs.get("horizon") or HORIZONS[_kind(kwargs, sequence)] // kwargs.get("action_repeat", 1)
    n_tasks = len(sequence.tasks)
    played = given.get("--eval-tasks", "all")
    return number * (n_tasks if played == "all" else min(int(played), n_tasks)) * episodes * horizon


def cost_statement(cells: Sequence[Cell], n_jobs: int) -> str:
    """
    :param cells: of a suite
    :param n_jobs: how many are trained at a time
    :return: a table by sequence of what is left to train, and a sentence on all of it
    """
    left: dict[str, list[tuple[Cell, Cost]]] = {}
    try:
        for cell in cells:
            if cell.state not in ("done", "failed"):
                left.setdefault(cell.sequence or cell.env, []).append((cell, cost_of(cell)))
    except ImportError as error:
        return f"What is left to train cannot be told: {error}"
    rows, total = [], 0.0
    for name, costs in left.items():
        hours = sum(cost.hours * (1 - cell.progress) for cell, cost in costs)
        total += hours
        updates = sorted({cost.updates for _, cost in costs})
        shown = f"{updates[0]:,}" if len(updates) == 1 else f"{updates[0]:,} to {updates[-1]:,}"
        rows.append([name, str(len(costs)), f"{costs[0][1].steps:,}", shown, f"{hours / len(costs):.2g}", f"{hours:,.1f}"])
    if not rows:
        return "Nothing is left to train."
    header = ["sequence", "cells left", "env steps each", "gradient steps each", "hours each", "core hours"]
    return (
        f"{markdown_table(header, rows)}\nLeft: about {total:,.0f} core hours, {total / n_jobs:,.0f} hours with {n_jobs} at a "
        f"time. Estimated for {MACHINE}, to a factor of two; PPO's and the DQNs' trainings are not."
    )
