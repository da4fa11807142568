"""Files of models: written as a whole, checked before they are read, with states that may be missing."""

import inspect
import io
import json
import pathlib
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.common.file_checks import check_state, class_of_policy, naming_damage
from sb3_nbsp.common.older_files import values_before, without_its_steps
from sb3_nbsp.common.settings_file import SETTINGS, opened

# In every model's file
OTHER_FILES = {"data", SETTINGS, "_stable_baselines3_version", "system_info.txt", "pytorch_variables.pth"}
CHUNK = 2**20  # bytes that are deflated at a time
File = str | pathlib.Path | io.BufferedIOBase


@contextmanager
def whole_file(path: File, suffix: str) -> Iterator[Any]:
    """
    Where SB3 shall write, so that a process that is killed while it saves leaves the old file.

    :param path: a path, or an open file, which is handed through
    :param suffix: what SB3 appends where the path has none
    """
    if isinstance(path, io.BufferedIOBase):
        yield path
        return
    path = pathlib.Path(path)
    with replacing(path if path.suffix else path.with_suffix(suffix)) as temporary:
        yield temporary


@contextmanager
def deflated(target: File) -> Iterator[pathlib.Path]:
    """
    Where SB3 shall write a model, which it does without compression: a memory of images takes a few percent deflated.

    :param target: where the deflated archive goes when the block ends well: a path, or an open file
    :return: a temporary path with the suffix ``.zip``, beside a target that is a path
    """
    folder = target.parent if isinstance(target, pathlib.Path) else None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
        stored = pathlib.Path(name, "model.zip")
        yield stored
        # Level 1: images and zeros are all that gets smaller, and they do at every level.
        with zipfile.ZipFile(stored) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
            for entry in old.infolist():
                with old.open(entry) as source, new.open(entry.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(source, copy, CHUNK)


def check_origin(cls: Any, path: File) -> Mapping[str, Any]:
    """
    :param cls: the NBSP algorithm that shall be loaded
    :param path: a model's file
    :return: the attributes that it holds, as they stand in its JSON
    :raises ValueError: if another class saved it
    """
    if not isinstance(path, str | pathlib.Path | io.BufferedIOBase):
        raise TypeError(f"Expected a model's file; got {path!r}.")
    with naming_damage(path, "a model's file"), opened(path) as archive:
        if archive is None:
            return {}  # SB3 has words for that
        names = set(archive.namelist())
        data = json.loads(archive.read("data")) if "data" in names else {}
    if "data" not in names:
        raise ValueError(
            f"{path} is damaged, cut short, or not a model's file: it has no settings. Take an earlier checkpoint."
        )
    own, saved_by = {policy.__module__ for policy in cls.policy_aliases.values()}, class_of_policy(data)
    if saved_by is not None and data["policy_class"]["__module__"] not in own:
        raise ValueError(
            f"{path} was saved by {saved_by}, not by {cls.__name__}. Load it with {saved_by}.load({str(path)!r})."
        )
    if _tells_of_neurons(data.get("skill_neuron_records")) and "neuron_masks.pth" not in names:
        raise ValueError(f"{path} is damaged: the masks of what it learned are missing. Take an earlier checkpoint or a copy.")
    check_state(path, data)
    if "policy.pth" not in names:
        raise ValueError(f"{path} is damaged: its networks are missing. Take an earlier checkpoint or a copy.")
    if "skill_fraction" in data and {f"{name}.pth" for name in cls.optimizer_names} <= names:
        return data
    raise ValueError(
        f"{path} was not saved by {cls.__name__}: it holds {', '.join(sorted(names - OTHER_FILES))}. "
        f"If a {cls.sb3_class.__name__} model is in it, take it over with {cls.__name__}.from_sb3({str(path)!r})."
    )


def attributes_for(cls: Any, path: File, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    :param cls: the NBSP algorithm that shall be loaded
    :param path: a model's file
    :param given: further arguments of ``load()``
    :return: the same, with what the arguments stand for that an older file lacks
    :raises ValueError: if another class saved it, or for an argument that a model does not have
    """
    in_file = check_origin(cls, path)
    known = {name for base in cls.__mro__ if "__init__" in vars(base) for name in inspect.signature(base).parameters}
    known |= {*inspect.signature(BaseAlgorithm.load).parameters, *in_file}
    for name in given:
        if name not in known:
            raise ValueError(f"load: {unknown_name_message(f'argument of {cls.__name__}', name, sorted(known))}")
    return {**values_before(in_file), **(without_its_steps(in_file) if "n_steps" in given else {}), **given}


def _tells_of_neurons(records: Any) -> bool:
    """Whether a task's record names layers: networks without hidden ones have no masks."""
    return isinstance(records, dict) and any(record.get("layers") for record in records.values() if isinstance(record, dict))


def read_parameters(source: Any, device: th.device | str) -> dict[str, Any]:
    """
    :param source: parameters by name, or a model's file
    :param device: where to
    :return: parameters by name
    :raises ValueError: for a name without a state dict
    :raises TypeError: for anything else
    """
    if isinstance(source, dict):
        if wrong := [name for name, state in source.items() if not isinstance(state, Mapping)]:
            raise ValueError(  # as SB3's for names that it does not know
                f"Expected a state dict for each name, as get_parameters() gives; got none for {', '.join(wrong)}."
            )
        return source
    if not isinstance(source, str | pathlib.Path | io.BufferedIOBase):
        raise TypeError(f"Expected parameters by name, or a model's file; got {source!r}.")
    with naming_damage(source, "a model's file"):
        return load_from_zip_file(source, device=device, load_data=False)[1]


def check_gates(parameters: Mapping[str, Any], task_gates: bool) -> None:
    """
    :param parameters: what shall be loaded, by name
    :param task_gates: whether the model has task gates
    :raises TypeError: for the parameters of another kind of model (SB3's load() takes a ValueError for an old file)
    """
    if "neuron_masks" in parameters and ("gates" in parameters) != task_gates:
        kind = "with" if "gates" in parameters else "without"
        raise TypeError(f"these are parameters of a model {kind} task gates; the model has task_gates={task_gates}")


def load_states(states: Mapping[str, Any], parameters: Mapping[str, Any], exact_match: bool) -> None:
    """
    Fill the states that a file may hold.

    :param states: objects with ``load_state_dict`` and ``reset``, by their name in the file
    :param parameters: what the file holds
    :param exact_match: empty those that it does not hold. Where it holds masks and no memory, that is told in a warning.
    """
    for name, part in states.items():
        if name in parameters:
            part.load_state_dict(parameters[name])
        elif exact_match:
            if name.endswith("memory") and "neuron_masks" in parameters and has_content(part.state_dict()):
                warnings.warn(
                    f"The parameters hold masks of old tasks and no {name}: the model's own is emptied, so these tasks are "
                    "held and no longer rehearsed. exact_match=False keeps it.",
                    stacklevel=5,
                )
            part.reset()


def has_content(state_dict: Mapping[str, Any]) -> bool:
    """Whether a (nested) state dict holds any number."""
    return any(has_content(v) if isinstance(v, dict) else v.numel() > 0 for v in state_dict.values())
