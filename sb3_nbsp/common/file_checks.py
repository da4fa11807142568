"""Files that are damaged, or another model's: named, with what to do."""

import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# What reading a file that was cut short, or changed, ends in: zip archives, pickles, JSON, torch's own archives in them.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, pickle.UnpicklingError, json.JSONDecodeError, UnicodeDecodeError, struct.error,
)  # fmt: skip
OF_TORCH = "PytorchStreamReader"  # torch says so in a RuntimeError
NO_BUFFER = (AssertionError, AttributeError, KeyError, IndexError)  # what a pickle of something else may end in


@contextmanager
def naming_damage(path: Any, what: str, *more: type[Exception]) -> Iterator[None]:
    """
    Inside the block a file is read; an error that tells of damage names it.

    :param path: the file
    :param what: what it should be, e.g. "a model's file"
    :param more: further errors that tell of damage there
    :raises ValueError: if the file is damaged
    """
    told: tuple[type[Exception], ...] = (*DAMAGE, *more, RuntimeError)
    try:
        yield
    except told as error:
        if isinstance(error, RuntimeError) and OF_TORCH not in str(error):
            raise
        raise ValueError(
            f"{path} is damaged, cut short, or not {what} ({type(error).__name__}: {error}). Take an earlier checkpoint."
        ) from error


@contextmanager
def naming_other_networks(source: Any) -> Iterator[None]:
    """
    Inside the block parameters are put into networks; where their shapes differ, that is said in few words.

    :param source: a file, or parameters by name
    :raises TypeError: for parameters of other networks (SB3's load() takes a ValueError for an old file)
    """
    try:
        yield
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        first = next(line.strip() for line in str(error).splitlines() if "size mismatch" in line)
        name = "the parameters" if isinstance(source, Mapping) else str(source)
        raise TypeError(
            f"{name}: the networks have another shape ({first}). Make the model with the net_arch, observations and actions "
            "of the one that was saved; load() does so by itself."
        ) from error


def class_of_policy(data: Mapping[str, Any]) -> str | None:
    """
    :param data: the settings in a model's file
    :return: the NBSP algorithm whose policy the model has, e.g. "NBSPSAC"; ``None`` for a policy of one's own
    """
    policy = data.get("policy_class")
    module = policy.get("__module__", "") if isinstance(policy, Mapping) else ""
    rooms = str(module).split(".")
    return f"NBSP{rooms[1].upper()}" if len(rooms) == 3 and rooms[0] == "sb3_nbsp" and rooms[2] == "policies" else None
