"""rl-zoo3's experiment manager for task sequences: settings, evaluation, checkpoints, and going on where a run stopped."""

import importlib
import inspect
from contextlib import ExitStack, closing
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import IO, Any

from rl_zoo3 import ALGOS
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_nbsp.base.arguments import check_values
from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.common.next_step import next_step
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.evaluation.eval_tasks import ALL, EvalTasks
from sb3_nbsp.tasks import TaskSequence
from sb3_nbsp.zoo.algorithms import ALGORITHMS, NAMESPACE, PARENTS, hyperparameter_file, sequence_of
from sb3_nbsp.zoo.atari import as_one_vec_env, has_vector_env
from sb3_nbsp.zoo.judged_actions import deterministic_for
from sb3_nbsp.zoo.kept_errors import CallbackEnds
from sb3_nbsp.zoo.logs_may_fail import LogsMayFail
from sb3_nbsp.zoo.policy_kwargs import policy_kwargs_of
from sb3_nbsp.zoo.run_folders import new_run
from sb3_nbsp.zoo.saving_callbacks import ResumableCheckpoint, StatisticsMayFail
from sb3_nbsp.zoo.train_checks import check_algorithm, check_length, check_names, check_settings, read_numbers

LONGEST_EVAL_FREQ, EVALUATIONS_PER_VISIT = 25_000, 4  # where the user names no --eval-freq
STATISTICS_FREQ = 1000  # steps of each sub-env between two savings of VecNormalize's statistics


class SequenceExperimentManager(ExperimentManager):
    """rl-zoo3's experiment manager, which on a task sequence

    - takes the settings from our files where the user names none, for the SB3 parent of an algorithm too,
    - trains for the sequence's length where the user gives no ``-n``,
    - evaluates every task instead of the env's first one,
    - goes on at the same place of the sequence with ``-i``, up to its end where the user gives no ``-n``.
    """

    sequence: TaskSequence | None = None
    lock: IO[str] | None = None  # on the run's folder, while it trains

    def __init__(self, args: Any, algo: str, env_id: str, *more: Any, **kwargs: Any):
        super().__init__(args, algo, env_id, *more, **kwargs)
        if not self.log_folder:
            raise ValueError("-f must name a folder for the runs; got an empty name. Leave -f out for logs, or give -f .")
        self.run_ending = kwargs.get("uuid_str", "")
        self.when_saved = ExitStack()  # what is done when the model is saved, also where that fails
        self.steps_given = self.n_timesteps > 0 or "n_timesteps" in (self.custom_hyperparams or {})
        self.eval_freq_given = self.eval_freq is not None
        if not self.eval_freq_given:
            self.eval_freq = LONGEST_EVAL_FREQ
        self.gym_packages: list[str] = getattr(args, "gym_packages", None) or []
        self.eval_tasks: EvalTasks = getattr(args, "eval_tasks", ALL)
        self.deterministic_eval = deterministic_for(algo, env_id)
        if args.conf_file is None and (algo in ALGORITHMS or (algo in PARENTS and env_id.startswith(NAMESPACE))):
            self.config = hyperparameter_file(PARENTS.get(algo, algo))

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """rl-zoo3's settings, for the length of the sequence."""
        hyperparams, saved = self._settings()
        read_numbers(hyperparams)
        check_settings(hyperparams)
        check_names(hyperparams, ALGORITHMS.get(PARENTS.get(self.algo, ""), ALGOS[self.algo]))
        self._drop_foreign_arguments(hyperparams)
        self._drop_foreign_arguments(saved)
        self.sequence = sequence_of(self.env_name.gym_id, hyperparams.get("env_kwargs") or self.env_kwargs)
        if self.sequence is not None and "n_timesteps" not in (self.custom_hyperparams or {}):
            hyperparams["n_timesteps"] = saved["n_timesteps"] = self.sequence.total_steps
        check_length(hyperparams, self.n_timesteps)
        # A copy: SB3 writes into the policy's arguments.
        self.shown_settings = {"algo": self.algo, "env": self.env_name.gym_id, **deepcopy(saved)}
        return hyperparams, saved

    def _settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those to use, and those to save. rl-zoo3 writes into what a module holds, which other runs read, too."""
        if self.config.endswith((".yml", ".yaml", ".py")):
            return super().read_hyperparameters()
        module: Any = importlib.import_module(self.config)
        own, module.hyperparams = module.hyperparams, deepcopy(module.hyperparams)
        try:
            return super().read_hyperparameters()
        finally:
            module.hyperparams = own

    def _drop_foreign_arguments(self, hyperparams: dict[str, Any]) -> None:
        """SAC reads NBSPSAC's file: it takes what it knows."""
        if self.algo in PARENTS:
            ours = ALGORITHMS[PARENTS[self.algo]]
            extra = set(inspect.signature(ours).parameters) - set(inspect.signature(ours.sb3_class).parameters)
            for name in extra & set(hyperparams):
                del hyperparams[name]

    def _preprocess_hyperparams(self, hyperparams: dict[str, Any]) -> Any:
        if isinstance(hyperparams.get("policy_kwargs"), str):
            hyperparams["policy_kwargs"] = policy_kwargs_of(hyperparams["policy_kwargs"], self.gym_packages)
        result = super()._preprocess_hyperparams(hyperparams)
        if self.algo in PARENTS:  # ours look after themselves
            check_values(ALGORITHMS[PARENTS[self.algo]].parents_arguments, result[0])
        if self.sequence is not None:
            if self._eval_env_kwargs_args or (self.n_eval_envs != 1 and not self.optimize_hyperparameters):
                print("On a task sequence --eval-env-kwargs and --n-eval-envs have no effect: its own tasks are evaluated")
            if self.env_name.gym_id.startswith(NAMESPACE):
                self.env_kwargs = {**self.env_kwargs, "n_envs": self.n_envs}  # plain SB3 algorithms do not tell it
            self.eval_env_kwargs = {}
            if not self.eval_freq_given:
                self.eval_freq = min(self.eval_freq, max(min(self.sequence.segment_steps) // EVALUATIONS_PER_VISIT, 1))
            if self.optimize_hyperparameters:  # which judges an agent by all tasks, in turns
                self.eval_env_kwargs = {**self.env_kwargs, "switch_on": "episode"}
                turns = len(self.sequence.tasks) * self.n_eval_envs  # each sub-env takes turns of its own
                self.n_eval_episodes = -(-self.n_eval_episodes // turns) * turns
        return result

    def create_log_folder(self) -> None:
        """rl-zoo3's, in a folder that no other run has or gets."""
        if self.lock is None:
            run, self.lock = new_run(self.log_path, self.env_name, self.run_ending)
            self.save_path, self.params_path = str(run), str(run / self.env_name)
        super().create_log_folder()

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """rl-zoo3's envs; several sub-envs of a sequence that has a vector env of its own (Atari games) are one."""
        one_by_one = self.vec_env_class
        many = n_envs > 1 and not eval_env and one_by_one is DummyVecEnv and self.env_wrapper is None
        if many and has_vector_env(self.env_name.gym_id, self.sequence):
            folder = None if no_log else self.save_path
            kwargs = {name: value for name, value in self.env_kwargs.items() if name not in ("n_envs", "switch_on")}
            self.vec_env_class = partial(as_one_vec_env, self.env_name.gym_id, kwargs, folder)  # type: ignore[assignment]
        try:
            return super().create_envs(n_envs, eval_env, no_log)
        finally:
            self.vec_env_class = one_by_one

    def create_callbacks(self) -> None:
        """rl-zoo3's callbacks; on a task sequence our evaluation in place of its."""
        eval_freq = self.eval_freq
        if self.sequence is None:
            super().create_callbacks()
            return
        self.eval_freq = -1  # rl-zoo3's evaluation stays on one task
        super().create_callbacks()
        for i, callback in enumerate(self.callbacks):
            if isinstance(callback, CheckpointCallback):
                self.callbacks[i] = ResumableCheckpoint(self.save_freq, self.save_path, self.save_replay_buffer)
        self.callbacks.insert(0, LogsMayFail())
        if self.normalize:
            self.callbacks.append(StatisticsMayFail(STATISTICS_FREQ, self.params_path))
        if eval_freq >= 0 and not self.optimize_hyperparameters:
            # First: a checkpoint of the same step must come after the evaluation that a continued run counts on.
            self.callbacks.insert(0, self._evaluation(eval_freq))

    def _evaluation(self, eval_freq: int) -> SequenceEvalCallback:
        earlier = Path(self.trained_agent).parent / "results.json"
        return SequenceEvalCallback(
            eval_freq=eval_freq,
            n_eval_episodes=self.n_eval_episodes,
            log_path=self.save_path,
            best_model_save_path=self.save_path,
            deterministic=self.deterministic_eval,
            settings={**self.shown_settings, "env_kwargs": self.env_kwargs, "n_envs": self.n_envs},
            resume_from=earlier if self.continue_training and earlier.is_file() else None,
            verbose=self.verbose,
            eval_tasks=self.eval_tasks,
            draw=False,  # after the model is saved
        )

    def _load_pretrained_agent(self, hyperparams: dict[str, Any], env: VecEnv) -> BaseAlgorithm:
        if self.sequence is None:
            return super()._load_pretrained_agent(hyperparams, env)
        # rl-zoo3 would give any model of a folder the replay buffer of the folder's last one.
        settings = {name: value for name, value in hyperparams.items() if name not in ("policy", "policy_kwargs")}
        if "policy_kwargs" in (self.custom_hyperparams or {}):  # SB3 compares it with the model's
            sde = {"use_sde": bool(hyperparams.get("use_sde"))} if self.algo.endswith(("sac", "tqc")) else {}  # SB3 adds it
            settings["policy_kwargs"] = {**hyperparams["policy_kwargs"], **sde}
        if self.algo not in ALGORITHMS:
            check_algorithm(self.trained_agent, self.algo)
        settings |= {"seed": self.seed, "tensorboard_log": self.tensorboard_log, "verbose": self.verbose}
        model = ALGOS[self.algo].load(self.trained_agent, env=env, device=self.device, **settings)
        buffer = self._saved_beside("replay_buffer")
        if buffer is not None:
            print(f"Loading replay buffer {buffer}")
            model.load_replay_buffer(buffer, truncate_last_traj=self.truncate_last_trajectory)  # type: ignore[attr-defined]
        return model

    def _maybe_normalize(self, env: VecEnv, eval_env: bool) -> VecEnv:
        statistics = self._saved_beside("vecnormalize")
        if self.sequence is None or statistics is None:
            return super()._maybe_normalize(env, eval_env)
        print(f"Loading VecNormalize statistics {statistics}")
        normalized = VecNormalize.load(str(statistics), env)
        if eval_env:
            normalized.training = normalized.norm_reward = False
        return normalized

    def _saved_beside(self, kind: str) -> Path | None:
        """What was saved with the very model that training continues from: a checkpoint, or the run's last model."""
        path = Path(self.trained_agent)
        if not self.continue_training:
            return None
        if path.name == f"{self.env_name}.zip":  # where rl-zoo3 puts what belongs to the last model
            companion = (path.parent if kind == "replay_buffer" else path.with_suffix("")) / f"{kind}.pkl"
        else:
            companion = path.with_name(path.name.replace("rl_model_", f"rl_model_{kind}_")).with_suffix(".pkl")
        # Beside a model that was saved by hand may lie anything.
        return companion if companion.is_file() and kind in companion.name else None

    def learn(self, model: BaseAlgorithm) -> None:
        """rl-zoo3's learn; on a task sequence it goes on where a continued model stands."""
        if self.sequence is None:
            self.when_saved.callback(CallbackEnds(self.callbacks).raise_first)
            super().learn(model)
            return
        if self.continue_training:
            self._take_to_position(model)
        ends = self._prepare_end(model)
        try:
            model.learn(self.n_timesteps, callback=self.callbacks or None, **self._learn_arguments(model))
        except KeyboardInterrupt:  # the model is saved
            pass
        except BaseException:
            with closing(model.env):  # type: ignore[type-var]
                ends.end_the_rest()
            raise
        ends.end_the_rest()

    def _prepare_end(self, model: BaseAlgorithm) -> CallbackEnds:
        """Callbacks end once. When the model is saved the env is closed, and what a callback raised at its end is raised."""
        assert model.env is not None
        ends = CallbackEnds(self.callbacks)
        self.when_saved.callback(ends.raise_first)  # the last of all
        self.when_saved.callback(model.env.close)
        return ends

    def _learn_arguments(self, model: BaseAlgorithm) -> dict[str, Any]:
        kwargs: dict[str, Any] = {"tb_log_name": type(model).__name__, "reset_num_timesteps": not self.continue_training}
        if self.log_interval != -1:  # rl-zoo3's sign for SB3's default; what lies below stands for no logging
            kwargs["log_interval"] = self.log_interval if self.log_interval > -1 else None
        return kwargs

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """
        rl-zoo3's, after which the training is over.

        :raises Exception: what a callback raised at its end
        """
        with self.when_saved:
            self._save(model)

    def _save(self, model: BaseAlgorithm) -> None:
        """rl-zoo3's: the model first, then the figures of its evaluations."""
        super().save_trained_model(model)
        for callback in self.callbacks:
            if isinstance(callback, SequenceEvalCallback):
                callback.draw_figures()

    def _take_to_position(self, model: BaseAlgorithm) -> None:
        assert self.sequence is not None and model.env is not None
        if isinstance(model, ContinualAlgorithm):  # ours take their place by themselves
            place = next_step(model.position, self.sequence, model.position.steps_by_hand(model.num_timesteps))
            position, begins = place.steps, place.kind == "begin"
        else:
            position, begins = model.num_timesteps, False
            model.env.env_method("fast_forward", position)
            model._last_obs = None
        if not self.steps_given:
            self.n_timesteps = max(self.sequence.total_steps - position, 0)
        told = "Beginning the task sequence anew" if begins else f"Continuing the task sequence at step {position}"
        print(f"{told} for {self.n_timesteps} steps")
