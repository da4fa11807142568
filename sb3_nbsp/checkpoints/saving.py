"""Writing a checkpoint."""

import platform
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.base.finite import NotFiniteError, bad_parameter
from sb3_nbsp.checkpoints.files import new_folder, put_back, sweep
from sb3_nbsp.checkpoints.manifest import clean, newest_whole, write_manifest
from sb3_nbsp.checkpoints.memories import Written
from sb3_nbsp.checkpoints.model_state import is_mixed, state_of, without_what_is_elsewhere
from sb3_nbsp.checkpoints.store import Store
from sb3_nbsp.checkpoints.trees import write_tree

MODEL, STATE, BUFFER = "model.zip", "state", "replay_buffer.pkl"
# Ours, what our algorithms come from, and simulators: their versions are written down where they are imported.
PACKAGES = ("sb3-nbsp", "sb3-contrib", "metaworld", "mujoco", "dm-control", "ale-py", "shimmy")


class NotWritableError(RuntimeError):
    """Something of a model, its env or its callbacks has a form that a checkpoint cannot hold."""


def save(model: Any, folder: Path, callback: BaseCallback | None = None) -> Path:
    """
    Write a checkpoint; the last two stay.

    :param model: one of ours, with nothing in flight
    :param folder: of the run's checkpoints
    :param callback: what ``learn()`` runs with
    :return: the new checkpoint's folder
    :raises ValueError: if a parameter is not finite, or the folder holds another run's checkpoints
    :raises OSError: if it cannot be written; what was there stays
    :raises NotWritableError: if something has a form that a checkpoint cannot hold
    """
    bad = bad_parameter(model)
    if bad is not None:
        raise NotFiniteError(
            f"No checkpoint is written: {bad} is not finite (NaN or infinite) after {model.num_timesteps} steps."
        )
    written = _written(model, folder)
    target = folder / f"{model.num_timesteps:010d}"
    with _told_what_is_in_the_way(model):
        state, blobs = state_of(model, callback, written)
        with new_folder(target) as temporary:
            with without_what_is_elsewhere(model):
                model.save_stored(temporary / MODEL)  # not deflated: weights hardly get smaller
            write_tree(state, temporary / STATE)
            buffer = getattr(model, "replay_buffer", None)
            if buffer is not None and not is_mixed(buffer):  # a user's own
                model.save_replay_buffer(temporary / BUFFER)
            write_manifest(temporary, written.store, blobs, _told(model))
    clean(folder, model.num_timesteps)
    return target


@contextmanager
def _told_what_is_in_the_way(model: Any) -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise NotWritableError(
            f"No checkpoint of this {type(model).__name__} can be written: {type(error).__name__}: {error}. Its env, its "
            "callbacks or an own class in it have a form that checkpoints do not know."
        ) from error


def _written(model: Any, folder: Path) -> Written:
    """What of the model lies in the folder's store."""
    store, before = Store(folder.resolve()), model._written
    if before is None or before.store.folder != store.folder:
        put_back(folder)
        newest = newest_whole(folder)[0]
        if newest is not None and (before is None or newest.manifest.get("run") != before.run):
            raise ValueError(
                f"{folder} holds the checkpoints of another run. Use another folder, or go on from them with "
                "load_checkpoint()."
            )
        sweep(folder)
        model._written = Written(store, uuid.uuid4().hex if before is None else before.run)
    return model._written


def _told(model: Any) -> dict[str, Any]:
    return {
        "run": model._written.run,
        "step": model.num_timesteps,
        "class": type(model).__name__,
        "observation_space": str(model.observation_space),
        "action_space": str(model.action_space),
        "visits": model.position.record["visits"],
        "versions": {**versions(), "device": device_name(model.device)},
    }


def device_name(device: th.device) -> str:
    """A device with its number: ``cuda`` is the first."""
    return f"{device.type}:{device.index or 0}" if device.type == "cuda" else device.type


def versions(besides: Iterable[str] = ()) -> dict[str, Any]:
    """
    What must be the same for a run to go on to the bit.

    :param besides: packages to be named, too, whether they are imported or not: ``None`` where they are not there
    """
    named = {name for name in PACKAGES if name.replace("-", "_") in sys.modules}.union(besides)
    return {
        "python": platform.python_version(),
        "stable_baselines3": sb3.__version__,
        "torch": th.__version__,
        "numpy": np.__version__,
        "gymnasium": gym.__version__,
        "threads": th.get_num_threads(),
        "processor": platform.machine(),
        **{name: _version_of(name) for name in PACKAGES if name in named},
    }


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
