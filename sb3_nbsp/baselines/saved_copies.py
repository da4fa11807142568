"""Saved copies: each task is played with the policy as it was at the task's end. It bounds what any method can keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import ACTOR_PARTS, COMMON_PARTS
from sb3_nbsp.evaluation.contexts import register_context


class SavedCopies(TaskBoundaryCallback):
    """
    Keep a copy of what acts at the end of each task, and play the task with it from then on. Training is left alone.

    Nothing is forgotten by construction, at the price of a network per task: with fine-tuning it shows what a method must
    reach that keeps one network (FT-N of CompoNet, Malagon et al. 2024, arXiv 2402.14736, table 1). With
    :class:`~sb3_nbsp.baselines.Resets` at each task's end, which must stand behind it in the list of callbacks, each task is
    learned from scratch: what shows whether anything of the earlier tasks helped.

    The task that is being learned is played with the present networks, also where it is met again; its copy is replaced at
    its end. Statistics of ``VecNormalize`` are not copied. A copy holds the actor's parameters and buffers (DQN: the
    Q-network's) and is saved with the model.

    :param verbose: 1 prints each task end
    """

    acts_in_evaluation = True

    def initial_state(self) -> dict[str, Any]:
        """``copies``: by task, what acts by the names inside the policy."""
        return {"copies": {}}

    def on_task_end(self, task: str) -> None:
        """Copy what acts."""
        self.state["copies"][task] = {name: value.detach().cpu().clone() for name, value in acting(self.model).items()}


def acting(model: BaseAlgorithm) -> dict[str, th.Tensor]:
    """
    :param model: any SB3 model
    :return: parameters and buffers of what acts, by their names inside the policy
    """
    parts = (*ACTOR_PARTS, *COMMON_PARTS)
    return {name: value for name, value in model.policy.state_dict().items() if name.startswith(parts)}


@contextmanager
def saved_copy(model: BaseAlgorithm, task: str) -> Iterator[None]:
    """
    Inside the block a model plays a task with the copy that was saved at its end. A task without one, and the task that is
    being learned, is played with the model as it is.

    :param model: any model, also one that was loaded from a file
    :param task: the task's name
    """
    state = getattr(model, "baseline_states", {}).get("SavedCopies", {})
    copy = {} if task == state.get("learned") else state.get("copies", {}).get(task, {})
    now = {name: value for name, value in acting(model).items() if name in copy}
    saved = {name: value.detach().clone() for name, value in now.items()}
    try:
        _write(now, copy)
        yield
    finally:
        _write(now, saved)


@th.no_grad()
def _write(places: dict[str, th.Tensor], values: dict[str, th.Tensor]) -> None:
    for name, place in places.items():
        place.copy_(values[name])


register_context("SavedCopies", saved_copy, module="sb3_nbsp.baselines")
