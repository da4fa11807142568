"""The methods of a suite: one for each entry of its file, or for each value of an entry's axis; and what trains them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sb3_nbsp.benchmark.suite_file import Settings, SuiteError, listed, merge


@dataclass(frozen=True)
class Method:
    """
    One row of a table.

    :param name: as tables show it
    :param settings: what it is trained with
    :param family: the name it has in the suite's file
    :param axis: the argument that tells it from its family, and its value
    :param sequences: what it is trained on
    :param copies_of: the method whose runs it is read from, each task as it was at the task's end (then it has no
        settings and no sequences); ``None``: it is trained
    """

    name: str
    settings: Settings
    family: str
    axis: tuple[str, Any] | None
    sequences: tuple[str, ...]
    copies_of: str | None = None


def read_methods(given: Mapping[str, Settings | None], sequences: Sequence[str]) -> list[Method]:
    """
    :param given: entries of the suite's file, by name
    :param sequences: names of its task sequences
    :return: the methods, in the file's order
    :raises SuiteError: if one names an unknown sequence, or copies of what is not trained, or copies and settings
    """
    methods = [method for name, settings in given.items() for method in _of_entry(name, settings, sequences)]
    trained = [method.name for method in methods if method.copies_of is None]
    if unknown := [method.copies_of for method in methods if method.copies_of not in (None, *trained)]:
        raise SuiteError(f"Expected copies_of one of the trained methods {listed(trained)}, got {unknown[0]!r}.")
    return methods


def _of_entry(family: str, given: Settings | None, sequences: Sequence[str]) -> list[Method]:
    settings = dict(given or {})
    if copies_of := settings.pop("copies_of", None):
        if settings:
            raise SuiteError(f"{family!r} is read from the runs of {copies_of!r}; got settings besides: {listed(settings)}.")
        return [Method(family, {}, family, None, (), copies_of)]
    on = tuple(settings.pop("sequences", sequences))
    if unknown := [name for name in on if name not in sequences]:
        raise SuiteError(f"Expected sequences among {listed(sequences)} for method {family!r}, got {unknown}.")
    axis: dict[str, Any] = settings.pop("axis", {})
    if not axis:
        return [Method(family, settings, family, None, on)]
    ((argument, values),) = axis.items()
    named = values if isinstance(values, dict) else dict.fromkeys(values)
    methods = []
    for value, name in named.items():
        own = merge(settings, {"params": {argument: value}})
        methods.append(Method(name or _along(family, argument, value), own, family, (argument, value), on))
    return methods


def _along(family: str, argument: str, value: Any) -> str:
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{family}, {argument.replace('_', ' ')} {shown}"


def train_arguments(settings: Settings) -> tuple[str, ...]:
    """
    :param settings: merged settings of a cell
    :return: arguments of ``sb3-nbsp train``
    """
    params = dict(settings.get("params", {}))
    if "callbacks" in settings:
        params["callback"] = settings["callbacks"]
    arguments: list[str] = []
    if settings.get("env_kwargs"):
        arguments += ["--env-kwargs", *_pairs(settings["env_kwargs"])]
    for name in ("eval_freq", "eval_episodes", "eval_tasks"):
        if name in settings:
            arguments += [f"--{name.replace('_', '-')}", str(settings[name])]
    if "save_freq" in settings:
        ours = str(settings.get("algo", "")).startswith("nbsp")
        # A plain SB3 algorithm that goes on without its replay buffer would warm up again.
        arguments += ["--checkpoint-freq" if ours else "--save-freq", str(settings["save_freq"])]
        arguments += [] if ours else ["--save-replay-buffer"]
    if params:
        arguments += ["-params", *_pairs(params)]
    return (*arguments, *map(str, settings.get("arguments", ())))


def _pairs(values: Mapping[str, Any]) -> list[str]:
    # rl-zoo3 evaluates the right-hand side. Double quotes are easier to read in a shell's command line.
    return [f"{name}:{json.dumps(value) if isinstance(value, str) else repr(value)}" for name, value in values.items()]
