"""The end of ``sb3-nbsp train``: what the agent can do, where its files are, and what to do with it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sb3_nbsp.base.plain_text import from_markdown
from sb3_nbsp.evaluation import SequenceResults, results_table, results_text
from sb3_nbsp.zoo.find_agents import LOGS

AGENT = "the agent"
FILES = {
    "best_model.zip": "the best agent on the way",
    "results.json": "all evaluations and metrics (evaluations.csv and matrix.csv: the same as tables)",
    "sequence.png": "each task over env steps (matrix.png: after each visit)",
    "skill_neurons.json": "scores of all neurons, and which were chosen",
}


@dataclass(frozen=True)
class TrainedRun:
    """
    A run that has come to its end.

    :param algo: key of the algorithm
    :param env: id of the env
    :param folder: of the run
    :param results: its evaluations; none without a task sequence, or without evaluation
    :param steps_left: env steps of the sequence that were not trained, where the run can go on with them
    """

    algo: str
    env: str
    folder: Path
    results: SequenceResults | None = None
    steps_left: int = 0

    @property
    def logs(self) -> Path:
        """What ``-f`` of the training was."""
        return self.folder.parent.parent

    @property
    def model(self) -> str:
        """Name of the agent's file."""
        return f"{self.env.replace('/', '-')}.zip"


def ending(runs: Sequence[TrainedRun]) -> str:
    """
    :param runs: of one algorithm and env; several where they learned together
    :return: lines for a terminal
    """
    told = [(run, run.results) for run in runs if run.results is not None and run.results.evaluations]
    parts = [] if not told else [results_text(told[0][1])] if len(runs) == 1 else [_of_many(told)]
    return "\n" + "\n\n".join([*parts, *_files(runs), _next(runs)])


def _of_many(told: Sequence[tuple[TrainedRun, SequenceResults]]) -> str:
    """A table for each sequence, with a row for each method: what was trained with the same settings."""
    tables: dict[Any, dict[str, list[tuple[TrainedRun, SequenceResults]]]] = {}
    for run, results in told:
        rows = tables.setdefault(results.sequence, {})
        rows.setdefault(repr(results.settings), []).append((run, results))
    shown = []
    for rows in tables.values():
        names = [f"{row[0][0].algo}{f' ({row[0][0].folder})' if len(rows) > 1 else ''}" for row in rows.values()]
        labelled = [(name, [results for _, results in row]) for name, row in zip(names, rows.values(), strict=True)]
        shown.append(from_markdown(results_table(labelled)).rstrip())
    return "\n\n".join(shown)


def _files(runs: Sequence[TrainedRun]) -> list[str]:
    if len(runs) > 1:
        return ["\n".join(["Agents and results:", *(f"  {run.folder / run.model}" for run in runs)])]
    run = runs[0]
    there = {name: text for name, text in {run.model: AGENT, **FILES}.items() if (run.folder / name).is_file()}
    width = max(map(len, there), default=0)
    return ["\n".join([f"Files in {run.folder}:", *(f"  {name:<{width}}  {text}" for name, text in there.items())])]


def _next(runs: Sequence[TrainedRun]) -> str:
    run = runs[0]
    where = "" if run.logs == Path(LOGS) else f" -f {shlex.quote(str(run.logs))}"
    which = f"--algo {run.algo} --env {shlex.quote(run.env)}{where}"
    lines = {
        f"sb3-nbsp enjoy {which} --no-render": "play it (without --no-render: and look at it)",
        f"sb3-nbsp record-video {which}": "film it",
    }
    if len(runs) == 1 and run.steps_left > 0:
        text = f"train the {run.steps_left:,} steps that are left, from its newest checkpoint on"
        lines[f"sb3-nbsp train --resume {shlex.quote(str(run.folder))}"] = text
    if run.results is not None:
        lines[f"sb3-nbsp report {shlex.quote(str(run.logs))}"] = f"tables and figures of all finished runs in {run.logs}"
    return "\n".join(["Next:", *(f"  {line}\n      {text}" for line, text in lines.items())])
