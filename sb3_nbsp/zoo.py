"""
Our algorithms inside rl-zoo3: registration, settings, the evaluation of task sequences, and going on where a run stopped.

rl-zoo3 has no plugin mechanism. What it looks up in modules is exchanged there, for this process only; importing
``sb3_nbsp`` does not import rl-zoo3, which changes Gymnasium on import.
"""

import sys
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

try:
    import optuna
    import rl_zoo3
    import rl_zoo3.enjoy
    import rl_zoo3.train
    from rl_zoo3 import hyperparams_opt
except ImportError as error:
    raise ImportError(f'The training command needs rl-zoo3 ({error}): pip install "sb3-nbsp[zoo]"') from error

from sb3_nbsp.common.environments import is_task_sequence
from sb3_nbsp.evaluation.report import TaskReport
from sb3_nbsp.experiments import ALGORITHMS, SequenceExperimentManager, sequence_of


def register() -> None:
    """Make our algorithms known to rl-zoo3."""
    rl_zoo3.ALGOS.update(ALGORITHMS)
    hyperparams_opt.HYPERPARAMS_SAMPLER["nbspsac"] = sample_nbspsac_params
    hyperparams_opt.HYPERPARAMS_CONVERTER["nbspsac"] = hyperparams_opt.convert_offpolicy_params
    rl_zoo3.train.ExperimentManager = SequenceExperimentManager  # type: ignore[misc]
    rl_zoo3.enjoy.create_test_env = create_test_env


def train(arguments: list[str]) -> None:
    """
    rl-zoo3's train.

    :param arguments: its command line arguments
    """
    register()
    sys.argv = ["sb3-nbsp train", *arguments]
    rl_zoo3.train.train()


def enjoy(arguments: list[str]) -> None:
    """
    rl-zoo3's enjoy. On a task sequence the tasks take turns by episode, and a table closes the show.

    :param arguments: its command line arguments
    """
    register()
    sys.argv = ["sb3-nbsp enjoy", *arguments]
    rl_zoo3.enjoy.enjoy()


def sample_nbspsac_params(trial: optuna.Trial, n_actions: int, n_envs: int, additional_args: dict[str, Any]) -> dict[str, Any]:
    """Sample SAC's settings as rl-zoo3 does, and NBSP's."""
    return {
        **hyperparams_opt.sample_sac_params(trial, n_actions, n_envs, additional_args),
        "skill_fraction": trial.suggest_float("skill_fraction", 0.05, 0.5),
        "mask_coef": trial.suggest_float("mask_coef", 0.0, 1.0),
        "mask_sides": trial.suggest_categorical("mask_sides", ["incoming", "outgoing", "both"]),
        "score": trial.suggest_categorical("score", ["published", "corrected"]),
        "replay_interval": trial.suggest_int("replay_interval", 2, 20),
    }


def create_test_env(env_id: str, *args: Any, env_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> VecEnv:
    """rl-zoo3's, with the tasks of a sequence in turns and a table of the successes at the end."""
    if sequence_of(env_id, env_kwargs) is not None:
        env_kwargs = {**(env_kwargs or {}), "switch_on": "episode"}
    env = rl_zoo3.create_test_env(env_id, *args, **{**kwargs, "env_kwargs": env_kwargs})
    return TaskReport(env) if is_task_sequence(env) else env
