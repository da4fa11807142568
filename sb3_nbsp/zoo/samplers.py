"""rl-zoo3's ``-optimize``: what is drawn (the parent's arguments, and NBSP's own), and how a trial is judged."""

from collections.abc import Callable
from functools import partial
from typing import Any

import optuna
from rl_zoo3.callbacks import TrialEvalCallback
from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER

from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.evaluation.contexts import playing_by_task

Sampler = Callable[[optuna.Trial, int, int, dict[str, Any]], dict[str, Any]]


def register_sampler(algo: str, parent: str) -> None:
    """
    Make one of our algorithms known to rl-zoo3's hyperparameter search.

    :param algo: key of our algorithm
    :param parent: key of its SB3 parent
    """
    HYPERPARAMS_SAMPLER[algo] = partial(_sample, HYPERPARAMS_SAMPLER[parent])
    HYPERPARAMS_CONVERTER[algo] = HYPERPARAMS_CONVERTER[parent]


def _sample(
    parent: Sampler, trial: optuna.Trial, n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    return {
        **parent(trial, n_actions, n_envs, additional_args),
        "skill_fraction": trial.suggest_float("skill_fraction", 0.05, 0.5),
        "mask_coef": trial.suggest_float("mask_coef", 0.0, 1.0),
        "mask_sides": trial.suggest_categorical("mask_sides", ["incoming", "outgoing", "both"]),
        "score": trial.suggest_categorical("score", ["published", "corrected"]),
        "replay_interval": trial.suggest_int("replay_interval", 2, 20),
    }


class TrialEvaluation(TrialEvalCallback):
    """
    rl-zoo3's, which judges an agent on the tasks of a sequence as every evaluation of ours does: one that was trained with
    PackNet plays each task with the task's subnetwork.
    """

    def _on_step(self) -> bool:
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq != 0 or not is_task_sequence(self.eval_env):
            return super()._on_step()
        with playing_by_task(self.model, self.eval_env):
            return super()._on_step()
