"""
How episodes of each task begin: where those of two tasks begin alike, nothing need tell a policy which of them it plays.

Such a policy keeps the old task and does not learn the new one, as far as it needs other actions, and no error says why.
First observations are looked at, since what a policy meets later depends on the policy. What is noted of a task is the
smallest and the largest of each number in them; a number whose ranges do not overlap tells two tasks apart, as an id's do.
"""

import warnings
from typing import Any

import numpy as np

FEWEST = 3  # episodes of each of two tasks, before they are compared
MOST = 20  # episodes of a task that are looked at
LARGEST = 1000  # numbers of an observation: more are not looked at, as pictures are not

Range = dict[str, Any]  # "n": episodes, "low", "high": [n_numbers]


def new_record() -> dict[str, Any]:
    """What is saved with a model: of the task that is learned, of old tasks, the rows that are noted with the next step."""
    return {"now": None, "tasks": {}, "next": [], "told": False}


def learning_begins(model: Any, reset_num_timesteps: bool) -> None:
    """
    Forget the episode that has begun and is not gone on with, since its env is reset.

    :param model: an NBSP algorithm
    :param reset_num_timesteps: see SB3's ``learn()``
    """
    if reset_num_timesteps or model._last_obs is None:
        model.beginnings["next"] = []


def note_step(model: Any, observations: Any, dones: np.ndarray) -> None:
    """
    Note a step: where an episode ends, its env shows the first observation of the next one. That counts once the next step is
    taken, since a task may end in between.

    :param model: an NBSP algorithm
    :param observations: after the step, of each sub-env, as its env gives them
    :param dones: which sub-envs' episodes ended, [n_envs]
    """
    record = model.beginnings
    if record["next"] and model.position.pending is None:  # else they are the next task's, once this one is consolidated
        rows, record["next"] = np.array(record["next"]), []
        record["now"] = _joined(record["now"], {"n": len(rows), "low": rows.min(axis=0), "high": rows.max(axis=0)})
        _warn_if_alike(model)
    if dones.any() and (record["now"] is None or record["now"]["n"] < MOST):
        rows = _numbers(observations)
        if 0 < rows.shape[1] <= LARGEST:
            record["next"] += rows[dones].tolist()


def task_ended(model: Any, task: str | None) -> None:
    """
    Note that a task has ended.

    :param model: an NBSP algorithm
    :param task: its name; ``None``: it is not kept
    """
    record = model.beginnings
    if task is not None and record["now"] is not None:
        record["tasks"][task] = _joined(record["tasks"].get(task), record["now"])
    record["now"], record["told"] = None, False


def _joined(one: Range | None, other: Range) -> Range:
    low, high = np.array(other["low"]), np.array(other["high"])
    if one is None or len(one["low"]) != len(low):
        return {"n": other["n"], "low": low.tolist(), "high": high.tolist()}
    return {
        "n": one["n"] + other["n"],
        "low": np.minimum(one["low"], low).tolist(),
        "high": np.maximum(one["high"], high).tolist(),
    }


def _numbers(observations: Any) -> np.ndarray:
    """Observations as rows of numbers, [n_envs, n_numbers]; without pictures, which have three dimensions."""
    if isinstance(observations, dict):
        return np.concatenate([_numbers(part) for part in observations.values()], axis=1)
    rows = np.asarray(observations)
    return np.zeros((len(rows), 0)) if rows.ndim > 3 else rows.reshape(len(rows), -1).astype(np.float64)


def _warn_if_alike(model: Any) -> None:
    record = model.beginnings
    now, current = record["now"], model.position.task
    if record["told"] or now["n"] < FEWEST or not model._protects or model.gates is not None:
        return
    old_tasks = {task: old for task, old in record["tasks"].items() if task in model.learned_tasks and task != current}
    alike = [task for task, old in old_tasks.items() if _are_alike(now, old)]
    if alike:
        record["told"] = True
        same = "" if current else f' If it is the same task again, say so: begin_task("{alike[0]}").'
        warnings.warn(
            f"Episodes of {current or 'what is learned now'} begin as those of {', '.join(alike)} do: no number of the first "
            "observation, taken by itself, tells them apart. If a policy cannot know which task is on, the old one is kept, "
            "and a new one that needs other actions is not learned. Let observations end in the task's id (task_id=True of a "
            f"sequence).{same}",
            stacklevel=2,
        )


def _are_alike(one: Range, other: Range) -> bool:
    if other["n"] < FEWEST or len(one["low"]) != len(other["low"]):
        return False
    overlap = np.maximum(one["low"], other["low"]) <= np.minimum(one["high"], other["high"])
    return bool(overlap.all())
