"""
Our algorithms inside rl-zoo3: registration, settings, the evaluation of task sequences, and going on where a run stopped.

rl-zoo3 has no plugin mechanism. What it looks up in modules is exchanged there, for this process only; importing
``sb3_nbsp`` does not import rl-zoo3, which changes Gymnasium on import.
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_nbsp.common.continual import ContinualAlgorithm
from sb3_nbsp.common.environments import is_task_sequence
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.evaluation.report import TaskReport
from sb3_nbsp.sac import NBSPSAC
from sb3_nbsp.tasks import TaskSequence

try:
    import optuna
    import rl_zoo3
    import rl_zoo3.enjoy
    import rl_zoo3.train
    from rl_zoo3 import hyperparams_opt
    from rl_zoo3.exp_manager import ExperimentManager
except ImportError as error:
    raise ImportError(f'The training command needs rl-zoo3 ({error}): pip install "sb3-nbsp[zoo]"') from error

ALGORITHMS: dict[str, type[ContinualAlgorithm]] = {"nbspsac": NBSPSAC}


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


class SequenceExperimentManager(ExperimentManager):
    """rl-zoo3's experiment manager, which on a task sequence

    - takes the settings from our files where the user names none, for the SB3 parent of an algorithm too,
    - trains for the sequence's length where the user gives no ``-n``,
    - evaluates every task instead of the env's first one,
    - goes on at the same place of the sequence with ``-i``, up to its end where the user gives no ``-n``.
    """

    sequence: TaskSequence | None = None

    def __init__(self, args: Any, algo: str, env_id: str, *more: Any, **kwargs: Any):
        super().__init__(args, algo, env_id, *more, **kwargs)
        self.steps_given = self.n_timesteps > 0
        if args.conf_file is None and (algo in ALGORITHMS or env_id.startswith("sb3_nbsp/")):
            self.config = hyperparameter_file(algo if algo in ALGORITHMS else f"nbsp{algo}") or self.config

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        hyperparams, saved = super().read_hyperparameters()
        self._drop_foreign_arguments(hyperparams)
        self._drop_foreign_arguments(saved)
        self.sequence = sequence_of(self.env_name.gym_id, hyperparams.get("env_kwargs") or self.env_kwargs)
        if self.sequence is not None:
            hyperparams["n_timesteps"] = saved["n_timesteps"] = self.sequence.total_steps
        self.shown_settings = {"algo": self.algo, "env": self.env_name.gym_id, **saved}
        return hyperparams, saved

    def _drop_foreign_arguments(self, hyperparams: dict[str, Any]) -> None:
        """SAC reads NBSPSAC's file: it takes what it knows."""
        ours = ALGORITHMS.get(f"nbsp{self.algo}")
        if ours is not None:
            extra = set(inspect.signature(ours).parameters) - set(inspect.signature(ours.sb3_class).parameters)
            for name in extra & set(hyperparams):
                del hyperparams[name]

    def _preprocess_hyperparams(self, hyperparams: dict[str, Any]) -> Any:
        result = super()._preprocess_hyperparams(hyperparams)
        if self.sequence is not None:
            # What judges an agent is all tasks, in turns.
            self.eval_env_kwargs = {**self.env_kwargs, **self.eval_env_kwargs, "switch_on": "episode"}
        return result

    def create_callbacks(self) -> None:
        eval_freq = self.eval_freq
        if self.sequence is not None:
            self.eval_freq = -1  # rl-zoo3's evaluation stays on one task
        super().create_callbacks()
        for callback in self.callbacks:
            if isinstance(callback, CheckpointCallback):
                callback.save_replay_buffer, callback.save_vecnormalize = self.save_replay_buffer, True
        if self.sequence is None or self.optimize_hyperparameters or eval_freq < 0:
            return
        earlier = Path(self.trained_agent).parent / "results.json"
        self.callbacks.append(
            SequenceEvalCallback(
                eval_freq=eval_freq,
                n_eval_episodes=self.n_eval_episodes,
                log_path=self.save_path,
                best_model_save_path=self.save_path,
                deterministic=self.deterministic_eval,
                settings=self.shown_settings,
                resume_from=earlier if self.continue_training and earlier.is_file() else None,
                verbose=self.verbose,
            )
        )

    def _load_pretrained_agent(self, hyperparams: dict[str, Any], env: VecEnv) -> BaseAlgorithm:
        model = super()._load_pretrained_agent(hyperparams, env)
        buffer = self._of_checkpoint("replay_buffer")
        if buffer is not None:
            print("Loading the checkpoint's replay buffer")
            model.load_replay_buffer(buffer)  # type: ignore[attr-defined]
        return model

    def _maybe_normalize(self, env: VecEnv, eval_env: bool) -> VecEnv:
        statistics = self._of_checkpoint("vecnormalize")
        if statistics is None:
            return super()._maybe_normalize(env, eval_env)
        normalized = VecNormalize.load(str(statistics), env)
        if eval_env:
            normalized.training = normalized.norm_reward = False
        return normalized

    def _of_checkpoint(self, kind: str) -> Path | None:
        """What was saved beside the checkpoint ``rl_model_<n>_steps.zip`` that training continues from."""
        path = Path(self.trained_agent)
        if not self.continue_training or not path.name.startswith("rl_model_"):
            return None
        companion = path.with_name(path.name.replace("rl_model_", f"rl_model_{kind}_")).with_suffix(".pkl")
        return companion if companion.is_file() else None

    def learn(self, model: BaseAlgorithm) -> None:
        if self.sequence is None or not self.continue_training:
            super().learn(model)
            return
        position = getattr(model, "sequence_steps", model.num_timesteps)
        if not self.steps_given:
            self.n_timesteps = max(self.sequence.total_steps - position, 0)
        print(f"Continuing the task sequence at step {position} for {self.n_timesteps} steps")
        assert model.env is not None
        model.env.env_method("set_n_envs", model.env.num_envs)
        model.env.env_method("fast_forward", position)
        model._last_obs = None
        with _keeping_timesteps(type(model)):
            super().learn(model)


@contextmanager
def _keeping_timesteps(algorithm: type[BaseAlgorithm]) -> Iterator[None]:
    """rl-zoo3 calls learn() without reset_num_timesteps, which would begin at 0."""
    # On the class: what is set on the model would be saved with it.
    learn = algorithm.learn
    algorithm.learn = partialmethod(learn, reset_num_timesteps=False)  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        algorithm.learn = learn  # type: ignore[method-assign]


def hyperparameter_file(algo: str) -> str | None:
    """
    :param algo: key of an algorithm, e.g. ``nbspsac``
    :return: path of its settings in this package, ``None`` if there are none
    """
    path = files("sb3_nbsp.hyperparams") / f"{algo}.yml"
    if not path.is_file():
        return None
    with as_file(path) as file:
        return str(file)


def sequence_of(env_id: str, env_kwargs: dict[str, Any] | None = None) -> TaskSequence | None:
    """
    :param env_id: a registered id
    :param env_kwargs: arguments of the env
    :return: the env's task sequence, ``None`` if it is an ordinary env
    """
    env = gym.make(env_id, **(env_kwargs or {}))
    try:
        return getattr(env.unwrapped, "task_sequence", None)
    finally:
        env.close()


def create_test_env(env_id: str, *args: Any, env_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> VecEnv:
    """rl-zoo3's, with the tasks of a sequence in turns and a table of the successes at the end."""
    if sequence_of(env_id, env_kwargs) is not None:
        env_kwargs = {**(env_kwargs or {}), "switch_on": "episode"}
    env = rl_zoo3.create_test_env(env_id, *args, **{**kwargs, "env_kwargs": env_kwargs})
    return TaskReport(env) if is_task_sequence(env) else env
