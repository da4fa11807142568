"""
Guards against NaN and infinity. They raise; they never change what is learned.

- observations and rewards: at every step, before the step is stored (:class:`FiniteGuard`)
- losses: after every ``train()`` (:func:`check_losses`), among the numbers that were logged anyway
- parameters: where much depends on them, at an evaluation, a consolidation and a checkpoint (:func:`check_parameters`)
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_nbsp.base.finite import NotFiniteError, all_finite, bad_parameter, first_not_finite
from sb3_nbsp.common import beginnings

REMEDY = (
    "Lower learning_rate, bound the gradients (max_grad_norm, where the algorithm has it), or bring observations and rewards "
    "into a range near 1 (VecNormalize)."
)


class FiniteGuard(BaseCallback):
    """
    Refuse an observation or a reward that is NaN or infinite. SB3 calls callbacks before it stores a step. What came is noted,
    if it is the beginning of an episode.

    :raises NotFiniteError: which one, at which step, of which sub-env and task
    """

    def _on_training_start(self) -> None:
        observation = self.model._last_original_obs if self._normalize is not None else self.model._last_obs
        if observation is not None and not all_finite(observation):
            self._refuse("observation", observation, [{}] * self.model.n_envs, "reset()")

    def _on_step(self) -> bool:
        step, normalize = self.locals, self._normalize
        # VecNormalize has mixed what came into its statistics: one bad reward makes those of all sub-envs bad.
        came = (step["new_obs"], step["rewards"]) if normalize is None else (normalize.old_obs, normalize.old_reward)
        where = f"env step {self.num_timesteps}"
        if not all_finite(came[1]):
            self._refuse("reward", came[1], step["infos"], where)
        if not all_finite(came[0]):
            self._refuse("observation", came[0], step["infos"], where)
        if step["dones"].any():
            for i in step["dones"].nonzero()[0]:
                last = step["infos"][i].get("terminal_observation")
                if last is not None and first_not_finite(last) is not None:
                    self._refuse("last observation of an episode", last, step["infos"], where, int(i))
        beginnings.note_step(self.model, came[0], step["dones"])
        return True

    @property
    def _normalize(self) -> Any:
        return self.model._vec_normalize_env

    def _refuse(self, what: str, values: Any, infos: Any, where: str, sub_env: int | None = None) -> None:
        check_parameters(self.model)  # an action of a policy that is NaN makes observations NaN
        for index in range(self.model.n_envs) if sub_env is None else [sub_env]:
            found = first_not_finite(_row(values, index) if sub_env is None else values)
            if found is not None:
                place, number = found
                position = getattr(self.model, "position", None)
                task = infos[index].get("task_name") or getattr(position, "task", None)
                of_task = "" if task is None else f", task {task!r}"
                raise NotFiniteError(
                    f"The {what} of sub-env {index}{of_task} is not a finite number at {where}: {what.split()[0]}{place} is "
                    f"{number}. Nothing of this step was stored. Look for a division by zero or an unstable simulation in the "
                    "task's env, or end its episodes before they come that far."
                )


def _row(values: Any, index: int) -> Any:
    return {key: part[index] for key, part in values.items()} if isinstance(values, dict) else values[index]


def guarded(callback: MaybeCallback) -> BaseCallback:
    """
    :param callback: what a user gave to ``learn()``
    :return: the same with a :class:`FiniteGuard` before it
    """
    given = callback if isinstance(callback, list) else [callback] if callback is not None else []
    return CallbackList([FiniteGuard(), *(c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in given)])


def check_observation(values: Any) -> None:
    """
    :param values: what ``predict()`` is given
    :raises NotFiniteError: where it holds NaN or infinity: the largest of Q-values that are NaN would be an action like others
    """
    if isinstance(values, np.ndarray | Mapping) and (found := first_not_finite(values)) is not None:
        raise NotFiniteError(
            f"The observation given to predict() is not a finite number: observation{found[0]} is {found[1]}."
        )


def check_losses(model: BaseAlgorithm) -> None:
    """
    :param model: any SB3 model that has just learned. What it logged is read: plain numbers, so no device is waited for.
    :raises NotFiniteError: names the first loss that is NaN or infinite
    """
    for name, value in model.logger.name_to_value.items():
        if name.endswith("loss") and not math.isfinite(value):
            check_parameters(model, f"{name} is {value}")
            raise NotFiniteError(
                f"{name} is {value} after {model._n_updates} updates, at env step {model.num_timesteps}. {REMEDY}"
            )


def check_parameters(model: BaseAlgorithm, seen: str = "") -> None:
    """
    Refuse a model that must not be evaluated, consolidated or kept.

    :param model: any SB3 model
    :param seen: what made one look, for the message
    :raises NotFiniteError: names the first parameter that is NaN or infinite
    """
    bad = bad_parameter(model)
    if bad is not None:
        raise NotFiniteError(
            f"The parameter {bad} of {type(model).__name__} is not finite after {model._n_updates} updates, at env step "
            f"{model.num_timesteps}{f' ({seen})' if seen else ''}: learning has diverged. Go on from an earlier checkpoint. "
            f"{REMEDY}"
        )


@contextmanager
def explained(model: BaseAlgorithm) -> Iterator[None]:
    """
    Inside the block an error that parameters cause by being NaN, or huge, says so: torch's distributions and SB3's envs know
    only that some input of theirs is wrong.

    :param model: any SB3 model that learns
    """
    try:
        yield
    except NotFiniteError:
        raise
    except (ValueError, AssertionError) as error:
        try:
            check_parameters(model)
        except NotFiniteError as reason:
            raise reason from error
        if "Expected parameter" in str(error) and "distribution" in str(error):  # torch's; the rest of it are all numbers
            what = str(error).partition(", but found")[0]
            raise NotFiniteError(f"Actions cannot be drawn: learning has diverged ({what}). {REMEDY}") from error
        raise
