"""Arrays of observations, which are single or, for Dict spaces, one array per key."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

Observations = np.ndarray | dict[str, np.ndarray]


def each(function: Callable[[Any], Any], values: Any) -> Any:
    """Apply a function to an array, or to every array of a dict."""
    if isinstance(values, dict):
        return {key: function(array) for key, array in values.items()}
    return function(values)


def take(arrays: Observations, rows: np.ndarray, envs: np.ndarray) -> Observations:
    """Index [buffer_size, n_envs, ...] arrays by row and sub-env."""
    return each(lambda array: array[rows, envs], arrays)


def to_array(tensor: th.Tensor) -> np.ndarray:
    """A tensor's values as an array on the CPU."""
    return tensor.cpu().numpy()


def concatenated(values: list[Any]) -> Any:
    """Put arrays, or dicts of arrays, behind one another."""
    if isinstance(values[0], dict):
        return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
    return np.concatenate(values)


def rows_as_tensors(values: Observations, rows: np.ndarray, device: th.device) -> Any:
    """
    Rows of an array, or of each array of a dict.

    :param values: [T, ...]
    :param rows: [batch], which of the T
    :param device: where to
    :return: [batch, ...]; float64 becomes float32
    """

    def convert(array: np.ndarray) -> th.Tensor:
        return th.as_tensor(array[rows], device=device, dtype=th.float32 if array.dtype == np.float64 else None)

    return each(convert, values)
