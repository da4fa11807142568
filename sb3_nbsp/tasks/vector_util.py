"""Gymnasium's vector environments: what they wrap, whose memory they write to, what they tell of each sub-env."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

# What SAME_STEP tells of the step that ended an episode: its keys give way to those of the reset that followed.
FINAL_KEYS = ("final_obs", "final_info")


def with_wrapped(env: VectorEnv) -> list[VectorEnv]:
    """
    :param env: a vector env
    :return: it and what it wraps, outermost first
    """
    envs = [env]
    while isinstance(envs[-1], VectorWrapper):
        envs.append(envs[-1].env)
    return envs


def give_own_observations(env: VectorEnv) -> None:
    """
    Let a vector env that was made with ``copy=False`` copy its observations: else it writes the next ones over those that are
    not stored yet, and a replay buffer's observations are its next observations.

    :param env: a vector env, which may tell by ``copy`` whether it copies (``SyncVectorEnv``, ``AsyncVectorEnv``)
    """
    inner: Any = env.unwrapped
    if getattr(inner, "copy", True) is False:
        inner.copy = True


def without_finals(infos: dict[str, Any]) -> dict[str, Any]:
    """
    :param infos: what a vector env told
    :return: the same but for what episodes ended with
    """
    return {key: value for key, value in infos.items() if key.lstrip("_") not in FINAL_KEYS}


def split_infos(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """
    Gymnasium tells of all sub-envs in one dict: ``{"lives": array([3, 0]), "_lives": array([True, False])}``, nested where a
    value is a dict. SB3 wants one dict for each.

    :param infos: what a vector env told
    :param num_envs: number of sub-envs
    :return: what concerns each of them; a key whose mask is false is left out
    """
    split: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if mask is None and key.startswith("_") and key[1:] in infos:
            continue  # a mask itself
        rows: Iterable[Any] = split_infos(values, num_envs) if isinstance(values, dict) else values
        if not isinstance(rows, list | tuple | np.ndarray) or len(rows) != num_envs:
            rows = [values] * num_envs  # one value for all
        for i, row in enumerate(rows):
            if mask is None or mask[i]:
                split[i][key] = row.item() if isinstance(row, np.generic) else row
    return split


def row_of(batch: Any, i: int) -> Any:
    """One sub-env's observation out of a batch: an array, or a dict of them, or an object array of observations."""
    if isinstance(batch, dict):
        return {key: value[i] for key, value in batch.items()}
    return tuple(value[i] for value in batch) if isinstance(batch, tuple) else batch[i]
