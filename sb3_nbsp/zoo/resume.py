"""``sb3-nbsp train --resume RUN``: a run goes on in its own folder, with its own arguments."""

import csv
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.folder_lock import lock_folder, unlock_folder
from sb3_nbsp.checkpoints.files import UNFINISHED, put_back
from sb3_nbsp.checkpoints.loading import newest, rows_of_monitors
from sb3_nbsp.checkpoints.manifest import FOLDER, MANIFEST
from sb3_nbsp.evaluation.run_figures import draw_what_is_missing
from sb3_nbsp.zoo.given_arguments import Given, read_arguments
from sb3_nbsp.zoo.opened_runs import is_from_hub, packages_of
from sb3_nbsp.zoo.run_arguments import arguments_of, as_command_line, checked_beside

CHECKPOINT_FREQ = 10_000
OURS = ("resume", "checkpoint_freq")  # what rl-zoo3 does not take
HOW_IT_GOES_ON = (*OURS, "trained_agent")
KEPT = re.compile(r"rl_model_([0-9]+)_steps\.zip")  # what --save-freq writes
FINISHED = "finished.json"  # in a run's folder: its training came to its end; the last file to be written


@dataclass(frozen=True)
class CheckpointOptions:
    """
    What ``train`` takes beside rl-zoo3's arguments.

    :param freq: env steps over all sub-envs between checkpoints; 0: at switches only; negative: none
    :param run: the run's folder that training goes on in
    :param typed: what is typed of rl-zoo3's arguments, see :attr:`~sb3_nbsp.zoo.given_arguments.Given.pairs`
    :param settings: ``config.yml`` of the run whose arguments are taken: its settings count, whatever files say today
    :param conf_file: where these settings came from when that run began
    """

    freq: int = CHECKPOINT_FREQ
    run: Path | None = None
    typed: Mapping[str, list[str]] = field(default_factory=dict)
    settings: Path | None = None
    conf_file: str | None = None

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run came to its first checkpoint."""
        return self.run is not None and _has_checkpoint(self.run)


def _has_checkpoint(run: Path) -> bool:
    return any((run / FOLDER).glob(f"[0-9]*/{MANIFEST}"))


def split(given: Given) -> tuple[CheckpointOptions, list[str]]:
    """
    :param given: to ``train``
    :return: our options, and rl-zoo3's arguments, which for a run that goes on are the run's own
    :raises ValueError: if there is no run to go on with, or if something else stands beside it than its own arguments
    """
    run, agent, freq = given.get("resume"), given.get("trained_agent"), given.get("checkpoint_freq")
    if run is not None and agent:
        raise ValueError(f"--resume takes the run's newest checkpoint; got -i {agent} beside it. Leave one out.")
    if run is None and agent and Path(agent).is_dir():
        run = Path(agent)
    new_run = CheckpointOptions(CHECKPOINT_FREQ if freq is None else freq, typed=given.pairs)
    if run is None:
        return new_run, given.without(*OURS)
    if not run.is_dir():
        raise ValueError(f"--resume: {run} is no folder. Expected a run's, such as logs/nbspsac/sb3_nbsp-PointGoal-v0_1.")
    run = run.parent if run.name == FOLDER else run
    # None of ours: a run of commit 2a43d91 and before, one of a plain SB3 algorithm, or one that is finished.
    model = None if (run / FOLDER).is_dir() else _own_model(run, given.get("env"))
    beside = Given(*({name: of[name] for name in of if name not in HOW_IT_GOES_ON} for of in (given.values, given.groups)))
    if model is not None and given.get("resume") is None and beside.values:
        return new_run, [*beside.without(), "-i", str(model)]
    return _going_on(run, model, freq, beside)


def _going_on(run: Path, model: Path | None, freq: int | None, beside: Given) -> tuple[CheckpointOptions, list[str]]:
    """
    :param run: a run's folder
    :param model: of it, if there is no checkpoint
    :param freq: see :class:`CheckpointOptions`; ``None``: the run's own
    :param beside: what else is given
    :return: see :func:`split`
    """
    told = arguments_of(run)
    allowed = checked_beside(beside, told, run)
    settings: Path | None = run / env_name(told["env"]) / "config.yml"
    _check_modules(told, run / env_name(told["env"]), beside)
    conf_file = told.get("conf_file")
    if settings is not None and settings.is_file():
        told = {**told, "conf_file": None}  # which may be gone, or say something else by now
    else:
        settings = None
    own = as_command_line(told, model is not None or _has_checkpoint(run))
    freq = int(told.get("checkpoint_freq", CHECKPOINT_FREQ)) if freq is None else freq
    options = CheckpointOptions(freq, run, read_arguments(own).pairs, settings, conf_file)
    if model is not None and not is_finished(run, env_name(told["env"])):
        return replace(options, run=None), [*own, *allowed, "-i", str(model)]
    return options, [*own, *allowed]


def _check_modules(told: Mapping[str, Any], saved: Path, beside: Given) -> None:
    """A run from the Hub may name Python files, which somebody else wrote down."""
    named = [str(name) for name in told.get("gym_packages") or []]
    script = str(told.get("conf_file") or "")
    if named and not beside.get("gym_packages") and not packages_of(saved):
        raise ValueError(f"The run in {saved.parent} names modules. If you trust them: --gym-packages {' '.join(named)}")
    if script.endswith(".py") and is_from_hub(saved) and not (saved / "config.yml").is_file():
        raise ValueError(f"The run in {saved.parent} names the script {script}, which is not run. Begin with your own -conf.")


def env_name(env_id: str) -> str:
    """How a run's files call its env."""
    return env_id.replace("/", "-")


def _own_model(run: Path, env: str | None) -> Path | None:
    """
    What a run saved last: its model, else the newest that ``--save-freq`` kept. Of other files nobody knows.

    :param run: its folder
    :param env: id of the env that is given, which names the model of a folder without a run's arguments
    """
    kept = {int(match[1]): path for path in run.iterdir() if (match := KEPT.fullmatch(path.name))}
    env = arguments_of(run)["env"] if any(run.glob("*/args.yml")) else env
    last = [run / f"{env_name(env)}.zip"] if env else []
    return next(filter(zipfile.is_zipfile, [*last, *(kept[step] for step in sorted(kept, reverse=True))]), None)


# The run's files


def is_finished(run: Path, env: str) -> bool:
    """
    :param run: its folder
    :param env: see :func:`env_name`
    :return: whether it came to its end, and there is nothing to go on with
    """
    if (run / FINISHED).is_file():
        return not keeps_checkpoints(run)
    # A process that was killed before that mark was written goes on: what it wrote last is written once more. Where there
    # is no checkpoint, or was no mark yet, the last model was the last file.
    if _has_checkpoint(run) or not (run / f"{env}.zip").is_file():
        return False
    told = told_finished(run)
    if told is not None:
        return told
    return "typed" not in arguments_of(run) and not (run / FOLDER).is_dir()


def told_finished(run: Path) -> bool | None:
    """
    :param run: its folder
    :return: whether its evaluations say that its sequence is finished; ``None`` without evaluations
    """
    results = run / "results.json"
    return bool(json.loads(results.read_text()).get("finished")) if results.is_file() else None


def keeps_checkpoints(run: Path) -> bool:
    """
    :param run: its folder
    :return: whether it came to its end before its sequence did: its checkpoints go on to the sequence's end
    """
    mark = run / FINISHED
    return mark.is_file() and (run / FOLDER).is_dir() and bool(json.loads(mark.read_text())["keeps_checkpoints"])


def mark_finished(run: Path, steps: int, goal: int, keeps_checkpoints: bool) -> None:
    """
    The last file of a run that came to its end.

    :param run: its folder
    :param steps: env steps that its model has taken
    :param goal: env steps that it was to take
    :param keeps_checkpoints: whether they are of use: there is more of its sequence to be learned
    """
    with replacing(run / FINISHED) as temporary:
        temporary.write_text(json.dumps({"steps": steps, "goal": goal, "keeps_checkpoints": keeps_checkpoints}) + "\n")


def close(run: Path) -> None:
    """
    What a finished run still lacks whose process was killed at its very end; nothing while the process is still there, or
    where the folder may only be read.

    :param run: its folder
    """
    lock = lock_folder(run) if os.access(run, os.W_OK) else None
    if lock is None:
        return
    try:
        end(run)
        if (run / "results.json").is_file():
            draw_what_is_missing(run)
    finally:
        unlock_folder(lock)


def end(run: Path) -> None:
    """
    Delete what only a run that is to go on needs: its checkpoints, and what a killed process was writing.

    :param run: its folder
    """
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    tidy(run)


def tidy(run: Path) -> None:
    """
    Delete what a killed process was writing; a checkpoint that it was replacing is back.

    :param run: its folder
    """
    put_back(run / FOLDER)
    for pattern in (".saving-*", ".*.tmp*", f"{UNFINISHED}*"):
        for path in run.rglob(pattern):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def prepare(run: Path) -> Path:
    """
    Bring the monitor files of a run to where its newest checkpoint is: rows beyond it go.

    :param run: its folder
    :return: the checkpoint's folder
    :raises ValueError: if no checkpoint is whole
    """
    checkpoint = newest(run)
    for i, n_rows in enumerate(rows_of_monitors(checkpoint)):
        _cut_monitor(run / f"{i}.monitor.csv", n_rows)
    return checkpoint.path


def _cut_monitor(path: Path, n_rows: int) -> None:
    """Keep the header, the columns' names and so many rows."""
    if not path.is_file():
        return
    lines = path.read_text().splitlines(keepends=True)[: n_rows + 2]
    if len(lines) < n_rows + 2 or any(len(row) < 3 for row in csv.reader(lines[2:])):
        print(f"{path} lacks rows from before the checkpoint.")
    with replacing(path) as temporary:
        temporary.write_text("".join(lines))
