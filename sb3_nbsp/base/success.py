"""What an env's info says of success, in every form that Gymnasium and SB3 envs use."""

import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

KEYS = ("success", "is_success")  # of the step; of the episode, as SB3 reads it


def success_of(info: Mapping[str, Any]) -> float:
    """
    :param info: what ``step()`` gave; ``success`` is read first, ``is_success`` where it tells nothing
    :return: the success that is told: of a bool, a number, an array or a tensor of one element. NaN where none is told: no
        key, ``None``, or something that is not one number, of which is warned
    """
    for key in KEYS:
        number = _number(key, info.get(key))
        if not np.isnan(number):
            return number
    return float("nan")


def spread_over_episodes(successes: np.ndarray, episode_starts: np.ndarray, episode_ends: np.ndarray) -> np.ndarray:
    """
    Give every step a success, where an env tells it at some steps of an episode only, e.g. the last.

    A step takes what is told next in its episode, or, where nothing is told after it, what was told last. The rest of an
    episode may be missing: where nothing was told in it, it counts as an average one.

    :param successes: [T], NaN where none was told
    :param episode_starts: [T], whether a step is the first of its episode
    :param episode_ends: [T], whether a step is the last of its episode
    :return: [T], NaN in episodes of which nothing is known
    """
    filled = np.array(successes, dtype=float)
    bounds = [*np.flatnonzero(episode_starts), len(filled)]
    bounds = bounds if bounds[0] == 0 else [0, *bounds]
    episodes = [slice(start, end) for start, end in pairwise(bounds)]
    for episode in episodes:
        told = np.flatnonzero(~np.isnan(filled[episode]))
        if len(told):
            steps = np.arange(episode.stop - episode.start)
            filled[episode] = filled[episode][told[np.minimum(np.searchsorted(told, steps), len(told) - 1)]]
    whole = [episode for episode in episodes if episode_ends[episode].any()]
    average = np.mean([filled[episode.start] for episode in whole]) if whole else np.nan
    for episode in episodes:
        if not episode_ends[episode].any() and np.isnan(filled[episode.start]):
            filled[episode] = average
    return filled


def _number(key: str, value: Any) -> float:
    try:
        told = value.item() if hasattr(value, "item") else np.asarray(value).item()
        number = float("nan") if told is None else float(told)
        if number < 0 or number > 1:
            raise ValueError
    except (TypeError, ValueError, RuntimeError):
        warnings.warn(
            f"info[{key!r}] holds {value!r}; expected a bool, a number in [0, 1], None or an array of one such: not told.",
            stacklevel=4,
        )
        return float("nan")
    return number
