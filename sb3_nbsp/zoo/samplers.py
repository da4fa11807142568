"""Optuna samplers for rl-zoo3's ``-optimize``: the parent's, and NBSP's own arguments."""

from collections.abc import Callable
from functools import partial
from typing import Any

import optuna
from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER

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
