"""
Models' settings without pickles: ``settings.json`` in a model's file, beside SB3's ``data``.

SB3 writes a model's attributes into ``data``: as JSON what JSON has, all else as pickles, which run whatever code they name
when they are read. ``settings.json`` holds the pickled ones a second time in the form of :mod:`sb3_nbsp.base.plain_values`::

    {"format": "sb3_nbsp.settings/1", "values": {"lr_schedule": {...}, ...}, "not_plain": {"clip_range": "a function f of m"}}

With ``load(..., trust=False)`` they are handed to SB3 in place of the pickles (its ``custom_objects``), so that none is read.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common import noise, torch_layers, utils
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import open_path
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from sb3_nbsp.base.plain_values import NotPlainError, class_name, from_plain, to_plain

SETTINGS = "settings.json"
FORMAT = "sb3_nbsp.settings/1"
PICKLED = ":serialized:"  # SB3's mark in `data`
# rl-zoo3's for `lin_x`; imported only where a file names it, because rl-zoo3 changes Gymnasium on import.
LINEAR = "rl_zoo3.utils.SimpleLinearSchedule"
CLASSES: tuple[type, ...] = (
    *(TrainFreq, TrainFrequencyUnit, utils.FloatSchedule, utils.ConstantSchedule, utils.LinearSchedule),
    *(noise.NormalActionNoise, noise.OrnsteinUhlenbeckActionNoise, noise.VectorizedActionNoise),
    *(torch_layers.FlattenExtractor, torch_layers.NatureCNN, torch_layers.CombinedExtractor),
    RMSpropTFLike,
    *(np.float32, np.float64),  # as types of action noise
)


@contextmanager
def opened(path: Any) -> Iterator[zipfile.ZipFile | None]:
    """
    :param path: a model's file, or an open one, which is left at its beginning
    :return: the archive, ``None`` where it is none
    """
    file = open_path(path, "r", suffix="zip")
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield archive
        else:
            yield None
    finally:
        if file is path:
            file.seek(0)
        else:
            file.close()


def add_settings(path: Any, model: Any) -> None:
    """
    :param path: a model's file as SB3 wrote it
    :param model: the model
    """
    with zipfile.ZipFile(path, "a") as archive:
        data = json.loads(archive.read("data"))
        known = _known(type(model), _names_linear(model.__dict__[name] for name in _pickled(data)))
        values, not_plain = {}, {}
        for name in _pickled(data):
            try:
                values[name] = to_plain(model.__dict__[name], known)
            except NotPlainError as error:
                not_plain[name] = _in_words(model.__dict__[name], error)
        archive.writestr(SETTINGS, json.dumps({"format": FORMAT, "values": values, "not_plain": not_plain}))


def save_stored(model: Any, path: Path) -> None:
    """
    Write a model's file as its ``save()`` does, but not deflated and not in place of an old one: for checkpoints.

    :param model: the model
    :param path: of a new file
    """
    BaseAlgorithm.save(model, path)
    add_settings(path, model)


def plain_settings(cls: type, path: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    :param cls: the algorithm that shall be loaded
    :param path: a model's file
    :param given: values that the user gives, by name, which count
    :return: values of all attributes that ``data`` holds as pickles, and the given ones: SB3's ``custom_objects``
    :raises ValueError: if the file has none, or names what it cannot hold without pickle
    """
    with opened(path) as archive:
        if archive is None or "data" not in archive.namelist():
            return dict(given)  # SB3 has words for that
        needed = [name for name in _pickled(json.loads(archive.read("data"))) if name not in given]
        if needed and SETTINGS not in archive.namelist():
            raise ValueError(
                f"{path} cannot be loaded with trust=False: it has no {SETTINGS}, as files of earlier versions, and "
                f"holds {', '.join(needed)} as pickles only, which can run code when they are read. If you trust where it "
                "comes from, load it without trust=False and save it again."
            )
        content = json.loads(archive.read(SETTINGS)) if needed else {"values": {}, "not_plain": {}}
    values, known = _read(content, path), _known(cls, LINEAR in json.dumps(content))
    if missing := [name for name in needed if name not in values]:
        reasons = "; ".join(f"{name}: {content['not_plain'].get(name, 'no entry')}" for name in missing)
        raise ValueError(
            f"{path} cannot be loaded with trust=False: these settings are own classes or functions, which only a pickle "
            f"holds ({reasons}). Give them with custom_objects={{{missing[0]!r}: ...}}, or load the file without trust=False "
            "if you trust where it comes from."
        )
    try:
        return {**{name: from_plain(values[name], known) for name in needed}, **given}
    except NotPlainError as error:
        raise ValueError(f"{path} cannot be loaded with trust=False: its {SETTINGS} names {error}.") from error


def _read(content: Any, path: Any) -> dict[str, Any]:
    if isinstance(content, dict) and isinstance(content.get("values"), dict) and isinstance(content.get("not_plain"), dict):
        values: dict[str, Any] = content["values"]
        return values
    raise ValueError(f"Expected settings in the {SETTINGS} of {path}, got something else. Is the file damaged?")


def _pickled(data: Mapping[str, Any]) -> list[str]:
    return [name for name, value in data.items() if isinstance(value, dict) and PICKLED in value]


def _names_linear(values: Iterable[Any]) -> bool:
    found = (getattr(value, "value_schedule", value) for value in values)
    return any(class_name(type(value)) == LINEAR for value in found)


def _known(cls: Any, with_linear: bool) -> dict[str, type]:
    """The classes that a file of ``cls`` may name."""
    policies = (*cls.policy_aliases.values(), *cls.sb3_class.policy_aliases.values())
    buffers = (*cls.mixed_buffers, *cls.mixed_buffers.values())
    linear = {LINEAR: import_module("rl_zoo3.utils").SimpleLinearSchedule} if with_linear else {}
    return {**_libraries(), **{class_name(known): known for known in (*policies, *buffers)}, **linear}


@cache
def _libraries() -> dict[str, type]:
    """Classes of SB3 that settings consist of, and all modules and optimizers of torch."""
    modules = (cls for cls in vars(th.nn).values() if isinstance(cls, type) and issubclass(cls, th.nn.Module))
    optimizers = (cls for cls in vars(th.optim).values() if isinstance(cls, type) and issubclass(cls, th.optim.Optimizer))
    return {class_name(cls): cls for cls in (*CLASSES, *modules, *optimizers)}


def _in_words(value: Any, error: NotPlainError) -> str:
    inner = getattr(value, "value_schedule", value)
    if callable(inner) and hasattr(inner, "__qualname__") and not isinstance(inner, type):
        return f"the function {inner.__qualname__} of {inner.__module__}"
    return str(error)
