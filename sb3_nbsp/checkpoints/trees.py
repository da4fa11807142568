"""Nested dicts and lists of plain values and arrays, as JSON beside arrays without pickle."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

ARRAY = "__array__"  # what stands in the JSON for an array: {ARRAY: its name}


def write_tree(tree: Any, path: Path) -> list[Path]:
    """
    :param tree: dicts (with string keys), lists and tuples (which become lists) of plain values, arrays and tensors
    :param path: without suffix
    :return: the two files
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_without_arrays(tree, arrays))
    files = [path.with_suffix(".json"), path.with_suffix(".npz")]
    files[0].write_text(text + "\n")
    files[1].write_bytes(npz_bytes(arrays))
    return files


def read_tree(path: Path) -> Any:
    """The reverse of :func:`write_tree`; tensors come back as arrays."""
    arrays = read_npz(path.with_suffix(".npz"))
    return _with_arrays(json.loads(path.with_suffix(".json").read_text()), arrays)


def _without_arrays(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(tree, dict):
        return {key: _without_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_arrays(value, arrays) for value in tree]
    if isinstance(tree, th.Tensor):
        tree = tree.detach().cpu().numpy()
    if isinstance(tree, np.ndarray | np.generic):
        name = str(len(arrays))
        arrays[name] = np.asarray(tree)
        return {ARRAY: name}
    return tree


def _with_arrays(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(tree, dict):
        return arrays[tree[ARRAY]] if ARRAY in tree else {key: _with_arrays(value, arrays) for key, value in tree.items()}
    return [_with_arrays(value, arrays) for value in tree] if isinstance(tree, list) else tree


def flat(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A nested dict of arrays or tensors as one dict; names are joined with slashes."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found.update({f"{name}/{key}": array for key, array in flat(value).items()})
        else:
            found[name] = value.detach().cpu().numpy() if isinstance(value, th.Tensor) else np.asarray(value)
    return found


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`flat`."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = array
    return tree


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """
    :param arrays: by name, none of objects
    :return: a deflated ``.npz`` file, the same for the same arrays
    """
    buffer = io.BytesIO()
    # Level 1: images and zeros are all that gets smaller, and they do at every level.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # with no time of writing
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array) if array.ndim else array, allow_pickle=False)
    return buffer.getvalue()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of :func:`npz_bytes`."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
