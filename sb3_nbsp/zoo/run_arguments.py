"""The arguments and settings that a run was started with, and those that stand beside ``--resume``."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sb3_nbsp.benchmark.resolved_arguments import CHANGES_NOTHING
from sb3_nbsp.zoo.given_arguments import PAIRS, Given
from sb3_nbsp.zoo.plain_python import is_plain_setting, is_read
from sb3_nbsp.zoo.run_settings import NotRead, read_run_yaml

FLAGS = ("optimize_hyperparameters", "no_optim_plots", "uuid", "save_replay_buffer", "progress", "track")
# How much is shown is asked for anew.
NOT_TAKEN_OVER = ("trained_agent", "checkpoint_freq", "saved_hyperparams", "command", "typed", "verbose")
PATHS = ("conf_file", "tensorboard_log")  # args.yml has them absolute
OF_THE_MODEL = ("policy", "policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs")  # its file has them, too


def arguments_of(run: Path) -> dict[str, Any]:
    """
    :param run: a run's folder
    :return: the arguments that it was started with
    :raises ValueError: if it holds none
    """
    files = sorted(run.glob("*/args.yml"))
    if not files:
        raise ValueError(
            f"{run} holds no arguments of a run (ENV/args.yml). Expected the folder of a run of `sb3-nbsp train`, or with -i "
            "the zip file of a model."
        )
    try:
        told = read_run_yaml(files[0].read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--resume: {files[0]} cannot be read: {error}") from error
    if not isinstance(told, dict) or not {"algo", "env"} <= set(told):
        raise ValueError(f"--resume: {files[0]} holds no arguments of a run.")
    return told


def as_command_line(told: Mapping[str, Any], has_model: bool = False) -> list[str]:
    """
    :param told: rl-zoo3's arguments by name, and ``typed``, see :attr:`~sb3_nbsp.zoo.given_arguments.Given.pairs`
    :param has_model: whether training goes on with a model, which brings some settings with it
    :return: the same as they are typed
    :raises ValueError: for one that the run's file does not hold in plain values
    """
    typed = told.get("typed")
    words = []
    for name, value in told.items():
        option = f"--{name.replace('_', '-')}"
        if name in NOT_TAKEN_OVER or value is None or value == "" or value == []:
            continue
        if name in FLAGS:
            words += [option] if value else []
        elif isinstance(value, dict):
            pairs = _pairs(name, value, typed.get(name) if isinstance(typed, dict) else None, has_model)
            words += [option, *pairs] if pairs else []
        elif isinstance(value, NotRead):
            _refuse(option, value)
        elif isinstance(value, list):
            words += [option, *map(str, value)]
        else:
            words.append(f"{option}={value}")
    return words


def _pairs(name: str, value: dict[str, Any], typed: Any, has_model: bool) -> list[str]:
    """As they were typed, where that is known: SB3 writes into what became of them, and objects are not read."""
    texts = {pair.partition(":")[0]: pair for pair in typed if isinstance(pair, str)} if isinstance(typed, list) else {}
    pairs = []
    for key, entry in value.items():
        text = texts.get(key, ":").partition(":")[2]
        if is_plain_setting(key, text):
            pairs.append(f"{key}:{text}")
        elif is_read(key, entry):
            pairs.append(f"{key}:{entry!r}")
        elif not (has_model and name == "hyperparams" and key in OF_THE_MODEL):
            _refuse(f"{key} in --{name.replace('_', '-')}", text or entry)
    return pairs


def read_settings(file: Path, given: Mapping[str, Any], has_model: bool) -> dict[str, Any]:
    """
    :param file: a run's ``config.yml``
    :param given: what ``-params`` of the run say, which count
    :param has_model: see :func:`as_command_line`
    :return: the run's settings
    :raises ValueError: for one that the file does not hold in plain values
    """
    read = read_run_yaml(file.read_text())
    if not isinstance(read, dict):
        raise ValueError(f"Expected settings in {file}, got {read!r}")
    for name in [name for name, value in read.items() if name not in given and not is_read(name, value)]:
        if not (has_model and name in OF_THE_MODEL and name != "policy"):
            _refuse(f"{name} in {file}", read[name])
        del read[name]
    return {**read, **given}


def _refuse(what: str, value: Any) -> NoReturn:
    raise ValueError(
        f"--resume: {what} is a Python object ({value}), which is not read from a run's files. Give it anew: begin a new run, "
        "or go on from the run's model with -i RUN/ENV.zip."
    )


def checked_beside(given: Given, told: Mapping[str, Any], run: Path) -> list[str]:
    """
    :param given: beside the run that goes on
    :param told: the run's own arguments
    :param run: its folder
    :return: what was typed of that which changes nothing of what is trained
    :raises ValueError: for what says something else than the run's own arguments
    """
    allowed, others = [], []
    typed, pairs = told.get("typed") or {}, given.pairs
    for name, value in given.values.items():
        if name in CHANGES_NOTHING:
            allowed += given.words(name)
        elif name == "log_folder":
            others += [] if Path(value).resolve() == run.resolve().parent.parent else given.words(name)
        elif not (name in PAIRS and pairs[name] == typed.get(name)):
            same = _is_same(_as_path(name, value), _as_path(name, told.get(name)))
            others += [] if same else given.words(name)
    if others:
        raise ValueError(
            f"A run goes on with the run's own arguments; got {' '.join(others)} beside it. Leave that out, or begin a new "
            "run from its model: -i RUN/ENV.zip."
        )
    return allowed


def _as_path(name: str, value: Any) -> Any:
    return os.path.abspath(value) if name in PATHS and isinstance(value, str) and value else value


def _is_same(given: Any, told: Any, inside: bool = False) -> bool:
    """Whether a value is what a run's file tells. SB3 adds to a dict inside another; what was not read may be anything."""
    if isinstance(told, NotRead):
        return True
    if isinstance(given, dict) and isinstance(told, dict):
        keys = set(given) <= set(told) if inside else set(given) == set(told)
        return keys and all(_is_same(value, told[key], inside=True) for key, value in given.items())
    if isinstance(given, list | tuple) and isinstance(told, list | tuple):
        return len(given) == len(told) and all(map(_is_same, given, told))
    return bool(given == told)
