"""
Replay buffers in files without pickles: NumPy's ``.npz``, a zip archive of arrays.

``header`` is JSON text: the buffer's class, its settings, the spaces of the env that filled it, and which array is which
attribute (of a dict of arrays: which key). The other entries are the arrays. Nothing in it is code: it is read with
``allow_pickle=False``.
"""

import io
import json
import pathlib
import zipfile
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape

from sb3_nbsp.base.arrays import each
from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.plain_values import NotPlainError, class_name, from_plain, to_plain
from sb3_nbsp.rehearsal.memory import TaskMemory, Transitions
from sb3_nbsp.rehearsal.replay_buffers import ARRAYS, COUNTERS, MEMORY_ARGUMENTS, MixedBuffer

SUFFIX = ".npz"
FORMAT = "sb3_nbsp.replay_buffer/1"
SETTINGS = (
    *("buffer_size", "obs_shape", "action_dim", "pos", "full", "n_envs", "optimize_memory_usage"),
    *("handle_timeout_termination", "n_steps", "gamma"),
    *(*MEMORY_ARGUMENTS, *COUNTERS),
)
SPACES = ("observation_space", "action_space")
OF_THE_MODEL = (*SPACES, "device", "memory")


def is_plain(path: Any) -> bool:
    """
    :param path: a replay buffer's file
    :return: whether its suffix says that it holds no pickle
    """
    return not isinstance(path, io.BufferedIOBase) and pathlib.Path(path).suffix == SUFFIX


def write_buffer(path: Any, buffer: ReplayBuffer | None, model: Any) -> None:
    """
    :param path: where to, with the suffix ``.npz``; replaced as a whole
    :param buffer: a replay buffer of ours or of SB3's; the memory of old tasks is left out, it is in the model's file
    :param model: the model that it belongs to
    :raises ValueError: for a buffer that keeps something else than arrays and numbers
    """
    if type(buffer) not in _classes(model).values():
        raise ValueError(
            f"Expected a replay buffer of sb3_nbsp or SB3 for {path}, got {type(buffer).__name__}, which may keep what a "
            f"{SUFFIX} file cannot. Save it as .pkl."
        )
    settings: dict[str, Any] = {}
    index: list[tuple[str, str | None, str]] = []
    arrays: dict[str, Any] = {}
    for name, value in vars(buffer).items():
        if name in ARRAYS:
            for key, array in value.items() if isinstance(value, dict) else ((None, value),):
                index.append((name, key, f"array_{len(index)}"))
                arrays[index[-1][-1]] = array
        elif name in SETTINGS:
            settings[name] = to_plain(value, {})
        elif name not in OF_THE_MODEL:
            raise ValueError(f"A {SUFFIX} file cannot keep {name!r} of {type(buffer).__name__}. Save it as .pkl.")
    header = {"format": FORMAT, "class": class_name(type(buffer)), "settings": settings, "arrays": index}
    header["spaces"] = {name: _plain_space(getattr(buffer, name)) for name in SPACES}
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)


def read_buffer(path: Any, model: Any) -> ReplayBuffer:
    """
    :param path: what :func:`write_buffer` wrote
    :param model: the model that takes it
    :return: the buffer, with an empty memory and the spaces of the env that filled it
    :raises FileNotFoundError: if there is no such file
    :raises ValueError: if the file is damaged or of another kind, or holds other observations or actions than the model's
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if header["format"] != FORMAT:
                raise ValueError(f"its format is {header['format']!r}, not {FORMAT!r}")
            cls = _classes(model)[header["class"]]
            settings = {name: from_plain(value, {}) for name, value in header["settings"].items() if name in SETTINGS}
            told = {name: from_plain(value, {}) for name, value in header.get("spaces", {}).items() if value is not None}
            arrays: dict[str, Any] = {}
            for name, key, entry in header["arrays"]:
                if key is None:
                    arrays[name] = file[entry]
                else:
                    arrays.setdefault(name, {})[key] = file[entry]
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, TypeError, AttributeError, NotPlainError) as error:
        raise ValueError(
            f"Expected in {path} a replay buffer as save_replay_buffer() writes it, got something else ({error!r}). Is the "
            "file damaged, or of another algorithm?"
        ) from error
    _check(path, settings, arrays, model)
    buffer: ReplayBuffer = cls.__new__(cls)
    buffer.__dict__.update(settings, **arrays)
    buffer.device = model.device
    for name in SPACES:  # earlier versions did not write them down
        setattr(buffer, name, told.get(name, getattr(model, name)))
    if isinstance(buffer, MixedBuffer):
        buffer.memory = TaskMemory(Transitions)
    return buffer


def _plain_space(space: spaces.Space) -> Any:
    """``None`` for a class of a user's own, which is then compared by its shape only."""
    try:
        return to_plain(space, {})
    except NotPlainError:
        return None


def _classes(model: Any) -> dict[str, Any]:
    return {class_name(cls): cls for cls in (*model.mixed_buffers, *model.mixed_buffers.values())}


def _check(path: Any, settings: dict[str, Any], arrays: dict[str, Any], model: Any) -> None:
    """Whether the arrays are as long as is said, and have the model's shapes."""
    size, n_envs, pos = (settings.get(name) for name in ("buffer_size", "n_envs", "pos"))
    whole = all(type(value) is int and value >= 0 for value in (size, n_envs, pos)) and pos <= size  # type: ignore[operator]
    shapes = {name: each(lambda array: array.shape, value) for name, value in arrays.items()}
    rows = [shape[:2] for value in shapes.values() for shape in (value.values() if isinstance(value, dict) else (value,))]
    if not whole or set(ARRAYS) - {"next_observations"} - set(arrays) or any(row != (size, n_envs) for row in rows):
        raise ValueError(f"Expected in {path} arrays of {size} rows of {n_envs} sub-envs, got {shapes}. Is the file damaged?")
    seen, space, shape = arrays["observations"], model.observation_space, get_obs_shape(model.observation_space)
    if isinstance(shape, dict) != isinstance(seen, dict) or (isinstance(shape, dict) and set(shape) != set(seen)):
        fits = False
    elif isinstance(shape, dict):
        fits = all(_fits(seen[key], shape[key], part) for key, part in space.items())
    else:
        fits = _fits(seen, shape, space)
    if not fits or arrays["actions"].shape[2:] != (get_action_dim(model.action_space),):
        raise ValueError(
            f"Expected in {path} observations and actions as the model's ({space}, {model.action_space}), got {shapes}."
        )


def _fits(array: np.ndarray, shape: tuple[int, ...], space: spaces.Space) -> bool:
    return array.shape[2:] == shape and array.dtype == space.dtype
