"""Arrays of observations, which are single or, for Dict spaces, one array per key."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

Observations = np.ndarray | dict[str, np.ndarray]


def each(function: Callable[[Any], Any], values: Any) -> Any:
    if isinstance(values, dict):
        return {key: function(array) for key, array in values.items()}
    return function(values)


def take(arrays: Observations, rows: np.ndarray, envs: np.ndarray) -> Observations:
    """Index [buffer_size, n_envs, ...] arrays by row and sub-env."""
    return each(lambda array: array[rows, envs], arrays)


def to_array(tensor: th.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def concatenated(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
    return np.concatenate(values)
