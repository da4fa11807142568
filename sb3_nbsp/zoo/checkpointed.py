"""rl-zoo3's experiment manager with checkpoints: a run that is stopped goes on in its own folder, to the bit."""

import os
import shlex
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.folder_lock import unlock_folder
from sb3_nbsp.base.interruption import WORKER_GONE, Stopped
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.checkpoints.manifest import FOLDER
from sb3_nbsp.checkpoints.saving import MODEL
from sb3_nbsp.checkpoints.signals import StopSignals
from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.experiments import SequenceExperimentManager
from sb3_nbsp.zoo.resume import CheckpointOptions, end, keeps_checkpoints, mark_finished, prepare, tidy, told_finished
from sb3_nbsp.zoo.run_arguments import read_settings
from sb3_nbsp.zoo.run_folders import lock_run


class CheckpointedExperimentManager(SequenceExperimentManager):
    """
    The same, which trains our algorithms with checkpoints in the run's folder, and goes on from the newest whole one.

    :param options: how often, and which run goes on
    """

    def __init__(self, args: Any, algo: str, env_id: str, *more: Any, options: CheckpointOptions, **kwargs: Any):
        super().__init__(args, algo, env_id, *more, **kwargs)
        self.options = options
        self._note_for_args_file(args)
        self.has_checkpoints = algo in ALGORITHMS and options.freq >= 0 and not self.optimize_hyperparameters
        if options.run is not None:
            self.save_path = os.path.normpath(options.run)
            self.log_path = os.path.join(os.path.dirname(self.save_path), "")
            self.params_path = f"{self.save_path}/{self.env_name}"
            self.lock = lock_run(options.run)
            tidy(options.run)
        self.checkpoint = prepare(options.run) if options.run is not None and options.has_checkpoint else None
        if self.checkpoint is not None:
            self.continue_training, self.trained_agent = True, str(self.checkpoint / MODEL)

    def _note_for_args_file(self, args: Any) -> None:
        """What --resume needs to know, also in another folder than this."""
        args.checkpoint_freq, args.typed = self.options.freq, dict(self.options.typed)
        args.conf_file = args.conf_file or self.options.conf_file
        for name in ("conf_file", "tensorboard_log"):
            path = getattr(args, name, None)
            if path and (name == "tensorboard_log" or Path(path).is_file()):  # settings may come from a module
                setattr(args, name, os.path.abspath(path))

    def _settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those that the run began with, where one goes on."""
        file = self.options.settings
        if file is None:
            return super()._settings()
        print(f"Settings of the run: {file}")
        settings = read_settings(file, self.custom_hyperparams or {}, self.continue_training)
        if self._eval_env_kwargs_args is None:
            self.eval_env_kwargs = settings.get("env_kwargs", self.eval_env_kwargs)
        return settings, OrderedDict(sorted(settings.items()))

    def create_callbacks(self) -> None:
        """The sequence's callbacks and the checkpoints."""
        super().create_callbacks()
        if self.has_checkpoints:
            self.callbacks.append(RunCheckpoints(Path(self.save_path, FOLDER), self.options.freq))

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """The sequence's envs; monitor files of a run that goes on are appended to."""
        if self.checkpoint is not None:
            self.monitor_kwargs = {**self.monitor_kwargs, "override_existing": False}
        return super().create_envs(n_envs, eval_env, no_log)

    def _load_pretrained_agent(self, hyperparams: dict[str, Any], env: VecEnv) -> BaseAlgorithm:
        if self.checkpoint is None:
            return super()._load_pretrained_agent(hyperparams, env)
        print(f"Going on from {self.checkpoint}")
        settings = {"tensorboard_log": self.tensorboard_log, "verbose": self.verbose}
        return ALGORITHMS[self.algo].load_checkpoint(self.save_path, env, device=self.device, **settings)

    def _save_config(self, saved_hyperparams: dict[str, Any]) -> None:
        if self.checkpoint is None:
            super()._save_config(saved_hyperparams)

    def _evaluation(self, eval_freq: int) -> Any:
        callback = super()._evaluation(eval_freq)
        if self.checkpoint is not None:
            callback.resume_from = None  # the checkpoint holds the rows
        return callback

    def learn(self, model: BaseAlgorithm) -> None:
        """
        The sequence's learn, which ends at a safe point when it is told to.

        :raises SystemExit: where it was told to
        """
        if not self.has_checkpoints and self.checkpoint is None:
            super().learn(model)
            return
        self._stand_ready(model)
        stop = StopSignals(self._how_to_go_on)
        try:
            with stop:
                model.learn(self.n_timesteps, callback=self.callbacks, **self._learn_arguments(model))
        except (Stopped, *WORKER_GONE):
            if stop.signal is None:
                raise
            print(f"\n{self._how_to_go_on()}", flush=True)
            os._exit(stop.exit_status) if self.n_envs > 1 else sys.exit(stop.exit_status)

    def _stand_ready(self, model: BaseAlgorithm) -> None:
        """Have a model stand where its training begins or goes on."""
        if self.checkpoint is not None:
            self.n_timesteps = self._steps_left(model)
        elif self.continue_training and self.sequence is not None:
            self._take_to_position(model)
        self._prepare_end(model)

    def _steps_left(self, model: Any) -> int:
        """Of the training that wrote the checkpoint; where that came to its end before the sequence did, of the sequence."""
        if not keeps_checkpoints(Path(self.save_path)) or self.sequence is None:
            return int(model.steps_left)
        return max(self.sequence.total_steps - model.position.steps, 0)

    def _save(self, model: BaseAlgorithm) -> None:
        """The sequence's, then the mark of what came to its end. Where nothing is left to go on with, the checkpoints go."""
        super()._save(model)
        run, goal = Path(self.save_path), model._total_timesteps
        # Ctrl-C has a training without checkpoints end as if it were over.
        if self.has_checkpoints or model.num_timesteps >= goal:
            keeps = (run / FOLDER).is_dir() and not self._is_over(model)
            mark_finished(run, model.num_timesteps, goal, keeps)
            if not keeps:
                end(run)
        self._unlock()

    def leave(self) -> None:
        """
        What is left to do where a training failed, and nothing where its model was saved: close its env, and give its folder
        free.
        """
        with self.when_saved:
            self._unlock()

    def _unlock(self) -> None:
        if self.lock is not None and not self.lock.closed:
            unlock_folder(self.lock)

    def _is_over(self, model: BaseAlgorithm) -> bool:
        """Whether nothing of the task sequence is left."""
        if self.sequence is None:
            return True
        told = told_finished(Path(self.save_path))
        if told is not None:
            return told
        return not isinstance(model, ContinualAlgorithm) or model.position.is_finished

    def _how_to_go_on(self) -> str:
        steps = [int(path.name) for path in Path(self.save_path, FOLDER).glob("[0-9]*")]
        where = f"with a checkpoint of step {max(steps)}" if steps else "before its first checkpoint"
        return f"Stopped {where}. To go on: sb3-nbsp train --resume {shlex.quote(self.save_path)}"
