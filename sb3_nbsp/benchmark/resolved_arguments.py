"""The value of every NBSP argument that a training has: from its command, else from the settings' file, else the default."""

import ast
import inspect
import re
from collections.abc import Container, Sequence
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import sb3_nbsp
from sb3_nbsp.benchmark.earlier_values import BEFORE, DEFAULTS, OF_ENVS
from sb3_nbsp.benchmark.suite_file import read_yaml
from sb3_nbsp.evaluation.json_csv import json_safe

PARAMS = ("-params", "--hyperparams")
ENV_KWARGS = ("--env-kwargs",)
SETTINGS_FILE = ("-conf", "--conf-file")
CHANGES_NOTHING = ("verbose", "device", "num_threads", "progress")  # arguments of which nothing depends that is trained
CHECKPOINTS = ("--save-freq", "--checkpoint-freq", "--save-replay-buffer")
NOT_DECIDING = (*CHECKPOINTS, "-P", *(f"--{name.replace('_', '-')}" for name in CHANGES_NOTHING))
NUMBER = re.compile(r"-\.?\d")  # a word that begins so is no option


def resolved_arguments(algo: str, env: str, arguments: Sequence[str]) -> dict[str, Any]:
    """
    :param algo: key of an algorithm, e.g. ``nbspsac``
    :param env: id of a task sequence
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: values of the constructor's arguments that SB3's algorithm does not have; none for SB3's own algorithms
    """
    return _resolve(nbsp_defaults(algo), env, _of_env(algo, env), arguments)


def recorded_arguments(manifest: dict[str, Any]) -> dict[str, Any]:
    """
    :param manifest: of a cell
    :return: the same as recorded when the cell was trained; older cells get what held at commit 2a43d91. What an argument
        stands for that was added later is there, too.
    """
    algo, env, arguments = manifest.get("algo", ""), manifest.get("env", ""), manifest.get("arguments", ())
    before = BEFORE.get(algo, {})
    if "resolved" in manifest:
        return {**before, **manifest["resolved"]}
    return {**before, **_resolve(DEFAULTS.get(algo, {}), env, OF_ENVS.get(algo, {}).get(env, {}), arguments)}


def hyperparameters(algo: str, env: str, arguments: Sequence[str]) -> dict[str, Any]:
    """
    :param algo: key of one of our algorithms
    :param env: id of a task sequence
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: all hyperparameters that the settings' file or the command names
    """
    return {**_in_file(_of_env(algo, env), env, arguments), **_given(arguments)}


def environment_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: what they say to the environment
    """
    return _pairs_of(ENV_KWARGS, arguments)


def env_settings(algo: str, env: str, arguments: Sequence[str]) -> dict[str, Any]:
    """
    :param algo: key of one of our algorithms
    :param env: id of a task sequence
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: what the environment is made with: what the command says to it, else what the hyperparameters do, as for rl-zoo3
    """
    return environment_arguments(arguments) or hyperparameters(algo, env, arguments).get("env_kwargs") or {}


@cache
def nbsp_defaults(algo: str) -> dict[str, Any]:
    """
    :param algo: key of an algorithm
    :return: the defaults of the constructor's arguments that SB3's algorithm does not have
    """
    ours: Any = next((getattr(sb3_nbsp, name) for name in sb3_nbsp.__all__ if name.lower() == algo), None)
    if not hasattr(ours, "sb3_class"):
        return {}
    parent = inspect.signature(ours.sb3_class).parameters
    return {name: argument.default for name, argument in inspect.signature(ours).parameters.items() if name not in parent}


def dropped_arguments(algo: str) -> list[str]:
    """
    :param algo: key of an algorithm
    :return: for SB3's own, the names of what NBSP adds: ``sb3-nbsp train`` leaves them out
    """
    return list(nbsp_defaults(f"nbsp{algo}"))


def _of_env(algo: str, env: str) -> dict[str, Any]:
    if not nbsp_defaults(algo):
        return {}
    with as_file(files("sb3_nbsp.hyperparams") / f"{algo}.yml") as file:
        return _settings_for(env, str(file))


@cache
def _settings_for(env: str, file: str) -> dict[str, Any]:
    """As rl-zoo3 looks them up, but for ordinary Atari games, whose entry names no argument of NBSP."""
    content = read_yaml(file)
    settings: dict[str, Any] = content.get(env, content.get("default", {}))
    return settings


def _resolve(defaults: dict[str, Any], env: str, of_env: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    of_env, given = _in_file(of_env, env, arguments), _given(arguments)
    values = {name: given.get(name, of_env.get(name, default)) for name, default in defaults.items()}
    resolved: dict[str, Any] = json_safe(values)
    return resolved


def _in_file(ours: dict[str, Any], env: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What the settings' file says of an env: a YAML file that the command names, in place of ours."""
    named = [name for name in _values_of(SETTINGS_FILE, arguments) if Path(name).suffix in (".yml", ".yaml")]
    return _settings_for(env, named[-1]) if named and Path(named[-1]).is_file() else ours


def _given(arguments: Sequence[str]) -> dict[str, Any]:
    return _pairs_of(PARAMS, arguments)


def _pairs_of(options: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    return {name: _value(text) for name, _, text in (pair.partition(":") for pair in _values_of(options, arguments))}


def without(names: Container[str], arguments: Sequence[str]) -> list[str]:
    """
    :param names: hyperparameters
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: the arguments that say something else
    """
    kept: list[str] = []
    option = ""
    for word in arguments:
        option = word if word.startswith("-") else option
        if word in PARAMS or (option in PARAMS and word.partition(":")[0] in names):
            continue
        if option in PARAMS and word != option:
            kept.append(option)  # before each of its pairs
        kept.append(word)
    return kept


def deciding(arguments: Sequence[str]) -> list[str]:
    """
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: the same, an option's words behind it, without what no method depends on: checkpoints, the device and its threads,
        how much is shown
    """
    return [word for group in _groups(arguments) if group[0] not in NOT_DECIDING for word in group]


def in_order(arguments: Sequence[str]) -> list[list[str]]:
    """
    :param arguments: further arguments of ``sb3-nbsp train``
    :return: each option with its words, sorted; what is given twice stays in its order, of which the last counts
    """
    groups = [pair for group in _groups(arguments) for pair in _one_by_one(group)]
    return sorted(groups, key=lambda group: (group[0], group[1].partition(":")[0] if _has_pairs(group) else ""))


def _groups(arguments: Sequence[str]) -> list[list[str]]:
    """Options, each with its words, also what stands behind its ``=``."""
    groups: list[list[str]] = []
    for word in arguments:
        if word.startswith("-") and not NUMBER.match(word):
            option, is_joined, value = word.partition("=")
            groups.append([option, value] if is_joined else [word])
        elif groups:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _has_pairs(group: Sequence[str]) -> bool:
    return len(group) > 1 and group[0] in (*PARAMS, *ENV_KWARGS, "--eval-env-kwargs")


def _one_by_one(group: list[str]) -> list[list[str]]:
    return [[group[0], pair] for pair in group[1:]] if _has_pairs(group) else [group]


def _values_of(options: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """What follows an option, wherever it stands."""
    values: list[str] = []
    reading = False
    for word in arguments:
        if word in options:
            reading = True
        elif word.startswith("-"):
            reading = False
        elif reading:
            values.append(word)
    return values


def _value(text: str) -> Any:
    """rl-zoo3 evaluates the text; here a constant is, and anything else stands for itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
