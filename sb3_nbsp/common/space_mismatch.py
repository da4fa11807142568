"""What to do where a model's observations and an env's may differ in the length of the task id only."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.common.env_util import task_sequence_of
from sb3_nbsp.common.position import id_width_of


@contextmanager
def explained(env: Any) -> Iterator[None]:
    """
    Inside the block SB3's error of observation spaces that do not match says how ids of equal length are had.

    :param env: that is given to a model: a Gymnasium env, a ``VecEnv``, or none
    """
    try:
        yield
    except ValueError as error:
        hint = _hint(str(error), env)
        if not hint:
            raise
        raise ValueError(f"{error}. {hint}") from error


def _hint(error: str, env: Any) -> str:
    lengths = re.findall(r"Box\([^()]*, \((\d+),\), float32\)", error)
    sequence = (
        task_sequence_of(env) if isinstance(env, VecEnv) else getattr(getattr(env, "unwrapped", None), "task_sequence", None)
    )
    if not error.startswith("Observation spaces do not match") or len(lengths) != 2 or sequence is None:
        return ""
    n_tasks, width = len(sequence.task_names), id_width_of(sequence)
    models = int(lengths[0]) - int(lengths[1]) + width
    if models < 0 or models == width:
        return ""
    way = (
        f"make the env with task_id={models or False}"
        if models == 0 or models >= n_tasks
        else f"train it from the beginning with an id that has room for later tasks, e.g. task_id={max(8, n_tasks)}"
    )
    return (
        f"The env's task id has length {width}. If the two differ in this only, the model's has length {models}: {way} "
        "(docs/guide/tasks.md)."
    )
