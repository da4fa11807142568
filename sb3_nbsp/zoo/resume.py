"""``sb3-nbsp train --resume RUN``: a run goes on in its own folder, with its own arguments."""

import csv
import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.checkpoints.files import UNFINISHED, put_back
from sb3_nbsp.checkpoints.loading import newest, rows_of_monitors
from sb3_nbsp.checkpoints.manifest import FOLDER, MANIFEST
from sb3_nbsp.zoo.argument_types import whole
from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.run_settings import NotRead, read_run_yaml

CHECKPOINT_FREQ = 10_000
FLAGS = ("optimize_hyperparameters", "no_optim_plots", "uuid", "save_replay_buffer", "progress", "track")
NOT_TAKEN_OVER = ("trained_agent", "checkpoint_freq", "saved_hyperparams", "command")


@dataclass(frozen=True)
class CheckpointOptions:
    """
    What ``train`` takes beside rl-zoo3's arguments.

    :param freq: env steps over all sub-envs between checkpoints; 0: at switches only; negative: none
    :param run: the run's folder that training goes on in
    """

    freq: int = CHECKPOINT_FREQ
    run: Path | None = None

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run came to its first checkpoint."""
        return self.run is not None and any((self.run / FOLDER).glob(f"[0-9]*/{MANIFEST}"))


def split(arguments: Sequence[str]) -> tuple[CheckpointOptions, list[str]]:
    """
    :param arguments: of ``train``
    :return: our options, and rl-zoo3's arguments, which for a run that goes on are the run's own
    :raises ValueError: if there is no run to go on with
    """
    parser = CommandParser("sb3-nbsp train", add_help=False, allow_abbrev=False)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--checkpoint-freq", type=whole(-1, "env steps (-1: no checkpoints)"))
    parser.add_argument("-i", "--trained-agent", default="")
    known, rest = parser.parse_known_args(list(arguments))
    run = known.resume
    if run is None and known.trained_agent and Path(known.trained_agent).is_dir():
        run = Path(known.trained_agent)
    if run is None:
        given = ["-i", known.trained_agent] if known.trained_agent else []
        freq = CHECKPOINT_FREQ if known.checkpoint_freq is None else known.checkpoint_freq
        return CheckpointOptions(freq), [*rest, *given]
    if not run.is_dir():
        raise ValueError(f"--resume: {run} is no folder. Expected a run's, such as logs/nbspsac/sb3_nbsp-PointGoal-v0_1.")
    run = run.parent if run.name == FOLDER else run
    # None of ours: a run of commit 2a43d91 and before, one of a plain SB3 algorithm, or one that is finished.
    model = None if (run / FOLDER).is_dir() else _newest_model(run)
    if model is not None and known.resume is None and rest:
        return CheckpointOptions(), [*rest, "-i", str(model)]
    told = arguments_of(run)
    freq = told.get("checkpoint_freq", CHECKPOINT_FREQ) if known.checkpoint_freq is None else known.checkpoint_freq
    own = as_command_line(told) + ([] if known.resume is None else _given_beside(rest))
    if model is not None and not is_finished(run, env_name(told["env"])):
        return CheckpointOptions(int(freq)), [*own, "-i", str(model)]
    return CheckpointOptions(int(freq), run), own


def _given_beside(rest: Sequence[str]) -> list[str]:
    """
    :param rest: what stands beside ``--resume``
    :return: the same, if it changes nothing of what is trained
    :raises ValueError: if it would: the run's own arguments count
    """
    parser = CommandParser("sb3-nbsp train", add_help=False, allow_abbrev=False)
    parser.add_argument("--verbose", "--device", "--num-threads")
    parser.add_argument("-P", "--progress", action="store_true")
    ignored = parser.parse_known_args(list(rest))[1]
    if ignored:
        raise ValueError(
            f"--resume goes on with the run's own arguments; got {' '.join(ignored)} beside it. Leave that out, or begin "
            "a new run from its model: -i RUN/ENV.zip."
        )
    return list(rest)


def env_name(env_id: str) -> str:
    """How a run's files call its env."""
    return env_id.replace("/", "-")


def _newest_model(run: Path) -> Path | None:
    """The newest model in a run's folder; the last one is called by its env."""
    last = [path for path in run.glob("*.zip") if path.name != "best_model.zip" and not path.name.startswith("rl_model_")]
    found = {int(path.stem.split("_")[-2]): path for path in run.glob("rl_model_*_steps.zip") if zipfile.is_zipfile(path)}
    whole = [path for path in last if zipfile.is_zipfile(path)] or [found[step] for step in sorted(found)[-1:]]
    return whole[0] if whole else None


# The run's own arguments


def arguments_of(run: Path) -> dict[str, Any]:
    """
    :param run: a run's folder
    :return: the arguments that it was started with
    :raises ValueError: if it holds none
    """
    files = sorted(run.glob("*/args.yml"))
    if not files:
        raise ValueError(
            f"--resume: {run} holds no arguments of a run (ENV/args.yml). Expected the folder of a run of `sb3-nbsp train`."
        )
    try:
        told = read_run_yaml(files[0].read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--resume: {files[0]} cannot be read: {error}") from error
    if not isinstance(told, dict) or not {"algo", "env"} <= set(told):
        raise ValueError(f"--resume: {files[0]} holds no arguments of a run.")
    return told


def as_command_line(told: dict[str, Any]) -> list[str]:
    """
    :param told: rl-zoo3's arguments by name
    :return: the same as they are typed
    """
    typed = []
    for name, value in told.items():
        option = f"--{name.replace('_', '-')}"
        if name in NOT_TAKEN_OVER or value is None or value == "" or value == [] or isinstance(value, NotRead):
            continue
        if name in FLAGS:
            typed += [option] if value else []
        elif isinstance(value, dict):
            pairs = {key: entry for key, entry in value.items() if not _holds_not_read(entry)}
            typed += [option, *(f"{key}:{entry!r}" for key, entry in pairs.items())] if pairs else []
        elif isinstance(value, list):
            typed += [option, *map(str, value)]
        else:
            typed.append(f"{option}={value}")
    return typed


def _holds_not_read(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_not_read, value.values()))
    return any(map(_holds_not_read, value)) if isinstance(value, list | tuple) else isinstance(value, NotRead)


# The run's files


def is_finished(run: Path, env: str) -> bool:
    """
    :param run: its folder
    :param env: see :func:`env_name`
    :return: whether it came to its end: its last model is the last file to be written, after its results, if it has any
    """
    results = run / "results.json"
    if not (run / f"{env}.zip").is_file():
        return False
    return bool(json.loads(results.read_text()).get("finished")) if results.is_file() else not (run / FOLDER).is_dir()


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
