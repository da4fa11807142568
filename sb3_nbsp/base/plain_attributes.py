"""
What an object has counted and seen so far: those of its attributes that have a plain form, written down without pickle.

What its constructor was given is not among it: who makes the object anew gives that again, maybe another folder or a higher
limit. What counts may have an argument's name, though: it is among it once it has changed since a beginning that was noted.
"""

import hashlib
import inspect
import os
import re
from collections import deque
from collections.abc import Collection, Mapping, MutableMapping
from functools import cache
from pathlib import PurePath
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common import running_mean_std

from sb3_nbsp.base.plain_values import BIT_GENERATORS, PLAIN_TYPES, NotPlainError, class_name, from_plain, to_plain

try:
    from gymnasium.wrappers.utils import RunningMeanStd
except ImportError:  # before Gymnasium 1.0
    from gymnasium.wrappers.normalize import RunningMeanStd  # type: ignore[no-redef]

KNOWN: dict[str, type] = {class_name(cls): cls for cls in (RunningMeanStd, running_mean_std.RunningMeanStd)}
GENERATOR = ":generator:"  # {GENERATOR: its state}
BYTES_PER_ENTRY = 100  # what an entry of an array is reckoned as, beside one of a list
MOST_COMPARED = 100_000  # entries of what a constructor was given and the object may change
SUFFIX = re.compile(r"\.[A-Za-z]\w*$")  # of a file; ".5" is a number's

Noted = MutableMapping[str, str | None]  # how arguments were at the beginning, by name; None: it cannot be told


def note_arguments(holder: Any) -> Noted:
    """
    :param holder: any object
    :return: for :func:`attributes_of`, how those of its attributes are now that have the name of a constructor's argument
    """
    given = _arguments(holder.__class__)
    return {name: _digest(value) for name, value in vars(holder).items() if _is_argument(name, given)}


def attributes_of(
    holder: Any, besides: Collection[str] = (), max_entries: int | None = None, noted: Noted | None = None
) -> tuple[dict[str, Any], list[str]]:
    """
    :param holder: any object
    :param besides: names of attributes that are left out
    :param max_entries: larger collections count as what has no plain form; an array has one entry per 100 bytes. Default: all
        are copied
    :param noted: of the object's beginning: what has the name of an argument is among it from the first time on that it has
        changed, and is then no longer noted. Default: none is
    :return: attributes by name, as copies in JSON's types, arrays beside them; and the names of those that have no plain form
        and might change. Functions, classes, spaces, paths and texts with a path are neither.
    """
    given = _arguments(holder.__class__)
    values, others = {}, []
    for name, value in vars(holder).items():
        if name in besides or _never_counts(value) or (_is_argument(name, given) and not _has_changed(name, value, noted)):
            continue
        try:
            if max_entries is not None and _entries(value, max_entries) > max_entries:
                raise NotPlainError(f"more than {max_entries} entries")
            values[name] = _plain(value)
        except (NotPlainError, RecursionError):
            others.append(name)
    return values, others


def restore_attributes(holder: Any, values: Mapping[str, Any]) -> None:
    """
    :param holder: an object made like the one that they are of
    :param values: what :func:`attributes_of` gave
    """
    for name, value in values.items():
        if isinstance(value, dict) and GENERATOR in value:
            _put_generator(holder, name, value[GENERATOR])
        else:
            vars(holder)[name] = value.copy() if isinstance(value, np.ndarray) else from_plain(value, KNOWN)


def _put_generator(holder: Any, name: str, state: Mapping[str, Any]) -> None:
    """Into the one that is there, which others may share; where it is made later on, or is of another kind, a new one."""
    kind, there = BIT_GENERATORS[state["bit_generator"]], vars(holder).get(name)
    if not isinstance(there, np.random.Generator) or type(there.bit_generator) is not kind:
        vars(holder)[name] = there = np.random.Generator(kind())
    there.bit_generator.state = state


def _is_argument(name: str, given: Collection[str]) -> bool:
    return name in given or name.lstrip("_") in given


def _has_changed(name: str, value: Any, noted: Noted | None) -> bool:
    if noted is None or name not in noted:
        return noted is not None
    if noted[name] is None or noted[name] == _digest(value):
        return False
    del noted[name]  # it counts, also where it comes back to what it was
    return True


def _digest(value: Any) -> str | None:
    """The same for what is equal; ``None`` for what has no plain form or never counts."""
    if type(value) is np.ndarray and not value.dtype.hasobject:  # may be large
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if _never_counts(value):
        return None
    if _entries(value, MOST_COMPARED) > MOST_COMPARED:
        return f"more than {MOST_COMPARED} entries"
    try:
        return hashlib.sha256(repr(_plain(value)).encode()).hexdigest()
    except (NotPlainError, RecursionError):
        return None


def _entries(value: Any, most: int) -> int:
    """How many there are, within others too; counting ends beyond ``most``."""
    if isinstance(value, np.ndarray | th.Tensor):
        return value.nbytes // BYTES_PER_ENTRY
    if not isinstance(value, list | tuple | deque | dict):
        return 0
    count, parts = len(value), value.values() if isinstance(value, dict) else value
    if count > most or PLAIN_TYPES.issuperset(map(type, parts)):
        return count
    for part in parts:
        count += _entries(part, most - count)
        if count > most:
            break
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        if type(value.bit_generator) not in BIT_GENERATORS.values():
            raise NotPlainError(class_name(type(value.bit_generator)))
        return {GENERATOR: dict(value.bit_generator.state)}
    if type(value) is np.ndarray and not value.dtype.hasobject and value.dtype.names is None:
        return value.copy()
    return to_plain(value, KNOWN)


@cache
def _arguments(cls: type) -> frozenset[str]:
    """What constructors of a class are given, by name."""
    constructors = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    return frozenset(name for made in constructors for name in inspect.signature(made).parameters)


def _never_counts(value: Any) -> bool:
    is_path = isinstance(value, PurePath) or (isinstance(value, str) and _is_path(value))
    return is_path or inspect.isroutine(value) or isinstance(value, type | ModuleType | gym.Space)


def _is_path(text: str) -> bool:
    """An absolute one, or one that names a file or a folder that is there; names of tasks and envs have slashes, too."""
    if os.path.isabs(text):
        return True
    return ("/" in text or os.sep in text) and (SUFFIX.search(text) is not None or os.path.isdir(text))
