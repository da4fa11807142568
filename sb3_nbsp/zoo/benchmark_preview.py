"""What ``sb3-nbsp benchmark`` says of a suite before it trains, and with ``--dry-run`` instead."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.packs import packs_of
from sb3_nbsp.benchmark.seed_ranges import seed_ranges
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.evaluation.table import markdown_table

STATES = {
    "waiting": "to be trained",
    "interrupted": "started and not finished: will go on",
    "failed": "failed: trained again with --retry only",
    "done": "done: will not be repeated",
}
MOST_COMMANDS = 10  # cells of which the commands are shown


def overview(suite: Suite, cells: Sequence[Cell], folder: Path) -> str:
    """
    :param suite: the suite
    :param cells: those that were asked for
    :param folder: where they go
    :return: how many cells there are, and how many in which state
    """
    counts = Counter[str](cell.state for cell in cells)
    size = [len({getattr(cell, name) for cell in cells}) for name in ("method", "sequence", "seed")]
    lines = [f"Suite {suite.name} in {folder}: {len(cells)} cells ({size[0]} methods, {size[1]} sequences, {size[2]} seeds)"]
    return "\n".join([*lines, *(f"{counts[state]:>6} {text}" for state, text in STATES.items() if counts[state])])


def preview(cells: Sequence[Cell]) -> str:
    """
    :param cells: those that were asked for
    :return: the commands of a few; of many the seeds in each state, by method
    """
    if len(cells) <= MOST_COMMANDS:
        commands = [["sb3-nbsp", "train", *cell.train_arguments(cell.checkpoint())] for cell in cells]
        return "\n".join(f"{cell.state:<12} {shlex.join(command)}" for cell, command in zip(cells, commands, strict=True))
    seeds: dict[tuple[str, str], dict[str, list[int]]] = {}
    for cell in cells:
        seeds.setdefault((cell.sequence or cell.env, cell.method), {}).setdefault(cell.state, []).append(cell.seed)
    states = [state for state in STATES if any(state in found for found in seeds.values())]
    rows = [[*names, *(seed_ranges(found.get(state, [])) for state in states)] for names, found in seeds.items()]
    table = markdown_table(["sequence", "method", *(f"{state}: seeds" for state in states)], rows)
    return f"{table}\nCommands are shown for {MOST_COMMANDS} cells or fewer: name them with --only, --sequences, --seeds."


def packs_statement(cells: Sequence[Cell], n_jobs: int) -> str:
    """
    :param cells: those that were asked for
    :param n_jobs: how many processes train at a time
    :return: what ``--population`` makes of those that are left to train; nothing, where none is
    """
    sizes = [len(pack) for pack in packs_of([cell for cell in cells if cell.state not in ("done", "failed")], n_jobs)]
    if not sizes:
        return ""
    together, alone = [size for size in sizes if size > 1], sizes.count(1)
    if not together:
        return "With --population: none of these can learn together, each is trained by itself."
    size = f"{min(together)} to {max(together)}" if min(together) < max(together) else str(together[0])
    return (
        f"With --population: {sum(together)} cells learn together, in {len(together)} processes of {size} agents each; "
        f"{alone} are trained by themselves. On a GPU, and with layers of 128 neurons or fewer, agents together take fewer "
        "hours than the table says (docs/performance.md)."
    )
