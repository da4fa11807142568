"""Files that are damaged, or another model's: named, with what to do."""

import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from sb3_nbsp.base.arguments import Is, Whole, check_values, naming
from sb3_nbsp.common.settings_file import opened

# What reading a file that was cut short, or changed, ends in: zip archives, pickles, JSON, torch's own archives in them.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, pickle.UnpicklingError, json.JSONDecodeError, UnicodeDecodeError, struct.error,
)  # fmt: skip
OF_TORCH = "PytorchStreamReader"  # torch says so in a RuntimeError
NO_BUFFER = (AssertionError, AttributeError, KeyError, IndexError)  # what a pickle of something else may end in


def _is_record(value: Any) -> bool:
    known = isinstance(value, Mapping) and value.keys() >= {"visits", "steps", "task", "pending", "fresh"}
    return known and isinstance(value["visits"], list) and all(isinstance(visit, list) for visit in value["visits"])


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_records(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(record, Mapping) for record in value.values())


# What training relies on of a model's attributes, beside its arguments
STATE: dict[str, Any] = {
    "num_timesteps": Annotated[int, Whole(0, "env steps")],
    "learned_tasks": Annotated[Any, Is("a list of names", _are_names)],
    "skill_neuron_records": Annotated[Any, Is("scores by task", _are_records)],
    "position_record": Annotated[Any, Is("a place in a sequence", _is_record)],
}


def check_state(path: Any, data: Mapping[str, Any]) -> None:
    """
    :param path: a model's file
    :param data: the attributes in it
    :raises ValueError: if one of them is nothing that a model has
    """
    with naming(f"{path} is damaged"):
        check_values(STATE, data)


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
    Inside the block parameters are put into networks; where these are others, that is said in few words.

    :param source: a file, or parameters by name
    :raises RuntimeError: as SB3 does, for parameters of other networks
    """
    try:
        yield
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error) or "pi_features_extractor" in str(error):
            raise  # SB3 reads its files of before 1.7 then
        first = str(error).splitlines()[1].strip()
        name = "the parameters" if isinstance(source, Mapping) else str(source)
        raise RuntimeError(
            f"{name}: the networks have other layers or shapes ({first}). Make the model with the net_arch, observations and "
            "actions of the one that was saved; load() does so by itself."
        ) from error


def check_sb3_file(path: Any, sb3_class: Any) -> None:
    """
    :param path: a model's file, of which SB3 finds out whether it is one
    :param sb3_class: SB3's class that shall load it
    :raises ValueError: if another class saved it, as its policy tells
    """
    with opened(path) as archive:
        data = json.loads(archive.read("data")) if archive is not None and "data" in archive.namelist() else {}
    module = str((data.get("policy_class") or {}).get("__module__", ""))
    own = {base.__module__ for policy in sb3_class.policy_aliases.values() for base in policy.__mro__}
    if module.split(".")[0] in ("sb3_nbsp", "stable_baselines3", "sb3_contrib") and module not in own:
        raise ValueError(
            f"{path} was not saved by {sb3_class.__name__}: its policy is of {module}. Load it with the class that saved it."
        )


def class_of_policy(data: Mapping[str, Any]) -> str | None:
    """
    :param data: the settings in a model's file
    :return: the NBSP algorithm whose policy the model has, e.g. "NBSPSAC"; ``None`` for a policy of one's own
    """
    policy = data.get("policy_class")
    module = policy.get("__module__", "") if isinstance(policy, Mapping) else ""
    rooms = str(module).split(".")
    return f"NBSP{rooms[1].upper()}" if len(rooms) == 3 and rooms[0] == "sb3_nbsp" and rooms[2] == "policies" else None
