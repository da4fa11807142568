"""
What a suite costs before it is trained: cells, env steps, gradient steps and, roughly, hours on one core.

Hours are an estimate, good to a factor of two, for the machine of docs/performance.md, from which the learners' times are
(`update_cost.py`); what an env step takes beside it is rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.resolved_arguments import env_settings, hyperparameters
from sb3_nbsp.evaluation.table import markdown_table
from sb3_nbsp.tasks import TaskSequence
from sb3_nbsp.zoo.algorithms import NAMESPACE, PARENTS, told_sequence
from sb3_nbsp.zoo.update_cost import known_settings, n_updates, update_ms

MACHINE = "one core of an Intel Xeon, one thread"
STEP_MS = 1.0  # acting and storing, of all sub-envs together
ACT_MS = 0.3  # acting alone, in evaluations


@dataclass(frozen=True)
class Simulator:
    """
    :param step_ms: of one simulator step
    :param horizon: simulator steps of an episode that is judged
    """

    step_ms: float
    horizon: int


# By the name of what makes a task's env. Atari: 0.33 to 0.45 ms for four frames (docs/results/atari); a whole game of Boxing
# has 1,785 such steps. DeepMind Control: 0.12 ms for a control step of cartpole, Shimmy included.
SIMULATORS = {
    "MetaWorldEnv": Simulator(0.5, 500),
    "make_atari_game": Simulator(0.4, 1800),
    "DMControlEnv": Simulator(0.12, 1000),
}
OTHER = Simulator(0.05, 20)


@dataclass(frozen=True)
class Cost:
    """
    Of one cell.

    :param steps: env steps
    :param updates: gradient steps; 0 where they are not known
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
    algo = PARENTS.get(cell.algo, cell.algo)
    own = hyperparameters(algo, cell.env, cell.arguments)
    sequence = told_sequence(cell.env, env_settings(algo, cell.env, cell.arguments))
    if sequence is None:
        return Cost(0, 0, 0.0)
    steps, settings = sequence.total_steps, known_settings(cell.algo, own)
    if settings is None:
        return Cost(steps, 0, 0.0)
    updates = n_updates(settings, steps)
    step_ms, horizon = _simulated(sequence)
    evaluation = _evaluation_steps(cell, sequence, horizon) * (ACT_MS + step_ms)
    acting = STEP_MS / settings.get("n_envs", 1)
    milliseconds = steps * (acting + step_ms) + updates * update_ms(cell.algo, settings) + evaluation
    return Cost(steps, updates, milliseconds / 3.6e6)


def _simulated(sequence: TaskSequence) -> tuple[float, int]:
    """Milliseconds that an env step takes in the simulator, and env steps of an episode that is judged."""
    make = sequence.tasks[0].make
    simulator = SIMULATORS.get(getattr(getattr(make, "func", None), "__name__", ""), OTHER)
    kwargs = getattr(make, "keywords", {})
    repeat = kwargs.get("action_repeat", 1)
    return simulator.step_ms * repeat, kwargs.get("horizon") or simulator.horizon // repeat


def _evaluation_steps(cell: Cell, sequence: TaskSequence, horizon: int) -> int:
    given = dict(zip(cell.arguments, cell.arguments[1:], strict=False))
    freq, episodes = int(given.get("--eval-freq", 10_000)), int(given.get("--eval-episodes", 5))
    number = 1 + (sequence.total_steps // freq if freq > 0 else len(sequence.segments))
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
    if not left:
        return "Nothing is left to train."
    header = ["sequence", "cells left", "env steps each", "gradient steps each", "hours each", "core hours"]
    total = sum(_hours_left(costs) for costs in left.values())
    left_hours = f"{_shown(total)} core hours, {_shown(total / n_jobs)} hours with {n_jobs} at a time"
    estimate = f"Estimated for {MACHINE}, to a factor of two{_caveats([both for costs in left.values() for both in costs])}"
    return f"{markdown_table(header, [_row(*item) for item in left.items()])}\nLeft: about {left_hours}. {estimate}"


def _hours_left(costs: Sequence[tuple[Cell, Cost]]) -> float:
    return sum(cost.hours * (1 - cell.progress) for cell, cost in costs)


def _row(sequence: str, costs: Sequence[tuple[Cell, Cost]]) -> list[str]:
    steps, updates = costs[0][1].steps, sorted({cost.updates for _, cost in costs})
    shown = "?" if not updates[0] else " to ".join(f"{number:,}" for number in dict.fromkeys((updates[0], updates[-1])))
    hours = _hours_left(costs)
    known = [f"{hours / len(costs):.2g}", f"{hours:,.1f}"] if all(cost.hours for _, cost in costs) else ["?", "?"]
    return [sequence, str(len(costs)), f"{steps:,}" if steps else "?", shown, *known]


def _caveats(costs: Sequence[tuple[Cell, Cost]]) -> str:
    """The end of the sentence on what is left."""
    unknown = sorted({f"{cell.algo} on {cell.env}" for cell, cost in costs if cost.hours == 0})
    others = sorted({cell.env for cell, cost in costs if cost.hours and not cell.env.startswith(NAMESPACE)})
    text = f"; not for {', '.join(unknown)}, whose times are not known." if unknown else "."
    return f"{text} A step of {', '.join(others)} counts as {OTHER.step_ms} ms, which may be wrong." if others else text


def _shown(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2g}"
