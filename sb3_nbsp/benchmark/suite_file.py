"""What may stand in a suite's file."""

import difflib
import keyword
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sb3_nbsp.base.yaml_files import load_yaml
from sb3_nbsp.evaluation.eval_tasks import checked_eval_tasks

Settings = Mapping[str, Any]
Kinds = Mapping[str, Any]  # what value an entry has: a type or a union

TOP: Kinds = {
    "seeds": list,
    "common": dict,
    "sequences": dict,
    "methods": dict,
    "baselines": list,
    "references": str,
    "last_evaluations": int,
    "aliases": dict,
}
REQUIRED = ("seeds", "sequences", "methods")
SETTINGS: Kinds = {
    "algo": str,
    "params": dict,
    "env_kwargs": dict,
    "eval_freq": int,
    "eval_episodes": int,
    "eval_tasks": int | str,
    "save_freq": int,
    "callbacks": list,
    "arguments": list,
}
OF_SEQUENCE: Kinds = {**SETTINGS, "env": str}
OF_METHOD: Kinds = {**SETTINGS, "axis": dict, "sequences": list, "copies_of": str}
LOWEST = {"eval_freq": 0, "eval_episodes": 1, "save_freq": 1}
MAX_NAME = 150
MAX_SEED = 2**32 - 1
# What a cell sets itself; given twice, the last one would count.
OF_CELLS = ("--algo", "--env", "--seed", "-f", "--log-folder", "-i", "--trained-agent", "-uuid", "--uuid", "-optimize")
AS_SETTINGS = ("-params", "--hyperparams", "--env-kwargs", "--eval-freq", "--eval-episodes", "--eval-tasks", "--save-freq")
ALGO = re.compile(r"\w+")
ENV = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")  # Gymnasium's ids, without the form that imports a module
DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
# What YAML 1.1 takes for text: a number in scientific notation without a point.
NUMBER_AS_TEXT = re.compile(r"[+-]?\d+[eE][+-]?\d+")


class SuiteError(ValueError):
    """A suite's file cannot be used."""


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """
    :param path: a YAML file
    :raises ImportError: without PyYAML
    :raises SuiteError: if it is no YAML, or if a name stands twice where it may stand once
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError(f'Suites need PyYAML ({error}): pip install "sb3-nbsp[zoo]"') from error
    try:
        with open(path) as file:
            return load_yaml(file)
    except yaml.YAMLError as error:
        raise SuiteError(f"Expected YAML in {path}, got {error}") from error


@contextmanager
def naming_suite(path: str | os.PathLike[str]) -> Iterator[None]:
    """Inside the block an error in a suite names its file."""
    try:
        yield
    except SuiteError as error:
        raise SuiteError(f"{path}: {error}") from error


def check_suite(content: Any) -> None:
    """
    :param content: what stands in the file
    :raises SuiteError: for unknown or missing entries, or values of another type than expected
    """
    _check_entries("a suite", content, TOP)
    if missing := [name for name in REQUIRED if not content.get(name)]:
        raise SuiteError(f"Expected {', '.join(REQUIRED)} in a suite, got none for {', '.join(missing)}.")
    _check_entries("common", content.get("common", {}), SETTINGS)
    for where, known in (("sequences", OF_SEQUENCE), ("methods", OF_METHOD)):
        for name, settings in content[where].items():
            if not isinstance(name, str):
                raise SuiteError(f"Expected names of {where}, got {name!r}. Put it in quotation marks.")
            if not 0 < len(name) <= MAX_NAME:
                raise SuiteError(f"Expected names of {where} of 1 to {MAX_NAME} characters: they name folders; got {name!r}.")
            _check_entries(f"{where}: {name}", settings or {}, known)
            _check_axis(name, (settings or {}).get("axis"))
    wrong = [seed for seed in content["seeds"] if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0]
    if wrong or len(set(content["seeds"])) < len(content["seeds"]):
        raise SuiteError(f"Expected seeds: distinct whole numbers, 0 or more; got {content['seeds']}.")
    for old, name in content.get("aliases", {}).items():
        if not isinstance(old, str) or not isinstance(name, str):
            raise SuiteError(f"Expected aliases as OLD NAME: NAME, got {old!r}: {name!r}. Put them in quotation marks.")
    if any(seed > MAX_SEED for seed in content["seeds"]):
        raise SuiteError(f"Expected seeds up to {MAX_SEED}, NumPy's largest; got {content['seeds']}.")
    if content.get("last_evaluations", 1) < 1:
        raise SuiteError(f"Expected last_evaluations of 1 or more, got {content['last_evaluations']}.")


def listed(names: Iterable[str]) -> str:
    """
    :param names: anything's names
    :return: the same as an error shows them
    """
    return ", ".join(repr(name) for name in names)


def merge(*parts: Settings) -> dict[str, Any]:
    """
    :param parts: settings, the later ones count more; ``params`` and ``env_kwargs`` are merged entry by entry, lists added
    """
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            earlier = merged.get(name)
            if isinstance(value, dict) and isinstance(earlier, dict):
                value = {**earlier, **value}
            elif name in ("callbacks", "arguments"):
                value = [*(earlier or []), *value]
            merged[name] = value
    return merged


def _check_entries(where: str, given: Any, known: Kinds) -> None:
    if not isinstance(given, dict):
        raise SuiteError(f"Expected entries for {where}, got {given!r}.")
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise SuiteError(f"Expected for {where} some of {', '.join(known)}; got {name!r}.{hint}")
        if not isinstance(value, known[name]) or isinstance(value, bool):
            kind = getattr(known[name], "__name__", known[name])
            raise SuiteError(f"Expected a {kind} for {name!r} of {where}, got {value!r}.")
    for name, low in LOWEST.items():
        if given.get(name, low) < low:
            raise SuiteError(f"Expected {name!r} of {where} to be {low} or more, got {given[name]!r}.")
    if "eval_tasks" in given:
        try:
            checked_eval_tasks(given["eval_tasks"])
        except ValueError as error:
            raise SuiteError(f"{where}: {error}") from error
    for name in ("params", "env_kwargs"):
        _check_names(f"{name} of {where}", given.get(name, {}))
        _check_numbers(f"{name} of {where}", given.get(name, {}).items())
    _check_ids(where, given)
    for argument in given.get("arguments", ()):
        if not isinstance(argument, str | int | float):
            raise SuiteError(f"Expected arguments of {where} as a list of texts and numbers, got {argument!r}.")
        if _means(argument, OF_CELLS):
            raise SuiteError(f"Expected arguments of {where} that a cell does not set itself, got {argument!r}. Leave it out.")
        if _means(argument, AS_SETTINGS):
            raise SuiteError(
                f"Expected {argument!r} of {where} as a setting, got it in arguments. Settings: {', '.join(known)}."
            )


def _check_names(where: str, given: Mapping[Any, Any]) -> None:
    """rl-zoo3 evaluates what stands before and behind the colon of an argument: names are names, values plain ones."""
    for name, value in given.items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise SuiteError(f"Expected names of arguments for {where}: letters, digits and _; got {name!r}.")
        if not _is_plain(value):
            raise SuiteError(f"Expected for {name!r} in {where} numbers, texts, lists and mappings, got {value!r}.")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(part) for item in value.items() for part in item)
    return value is None or isinstance(value, str | int | float)


def _check_ids(where: str, given: Settings) -> None:
    """Of algorithms, envs and callbacks: what leads neither to another folder nor to another argument."""
    for name, form, expected in (("algo", ALGO, "as nbspsac"), ("env", ENV, "as sb3_nbsp/PointGoal-v0")):
        if name in given and not form.fullmatch(given[name]):
            raise SuiteError(f"Expected for {name!r} of {where} an id {expected}, got {given[name]!r}.")
    for callback in given.get("callbacks", ()):
        names = list(callback) if isinstance(callback, dict) else [callback]
        if len(names) != 1 or not isinstance(names[0], str) or not DOTTED.fullmatch(names[0]):
            raise SuiteError(f"Expected callbacks of {where} as package.Class, or that with its arguments; got {callback!r}.")


def _means(argument: Any, options: Iterable[str]) -> bool:
    """Whether the command reads an argument as one of some options: with its value, or shortened, too."""
    given = str(argument).partition("=")[0]
    return given in options or (len(given) > 2 and given.startswith("--") and any(o.startswith(given) for o in options))


def _check_numbers(where: str, entries: Iterable[tuple[str, Any]]) -> None:
    for name, value in entries:
        if isinstance(value, float) and not math.isfinite(value):
            raise SuiteError(f"Expected a finite number for {name!r} in {where}, got {value}.")
        if isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value):
            raise SuiteError(f"Expected a number for {name!r} in {where}, got {value}: text to YAML. Write 1.0e-3.")


def _check_axis(method: str, axis: Any) -> None:
    if axis is None:
        return
    _check_names(f"axis of method {method!r}", dict.fromkeys(axis))
    values = next(iter(axis.values()), None)
    plain = isinstance(values, list | dict) and values and all(isinstance(value, str | int | float) for value in values)
    if len(axis) != 1 or not plain:
        raise SuiteError(
            f"Expected as axis of method {method!r} one argument with a list of numbers or texts, or with names by value; "
            f"got {axis!r}."
        )
