"""The callback that fills the performance matrix while an agent learns a sequence of tasks."""

import os
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.base.interruption import droppable
from sb3_nbsp.evaluation import plots
from sb3_nbsp.evaluation.evaluator import SEED_OFFSET, TaskEvaluator, same_agent
from sb3_nbsp.evaluation.json_csv import json_safe
from sb3_nbsp.evaluation.metrics import summarize
from sb3_nbsp.evaluation.performance_kind import NORMALISED, RETURN, SUCCESS
from sb3_nbsp.evaluation.results import Evaluation, Kind, SequenceResults
from sb3_nbsp.evaluation.skill_file import write_skill_neurons
from sb3_nbsp.evaluation.versions import library_versions
from sb3_nbsp.tasks import TaskSequence

# The text logger cuts keys at 36 characters, of which 3 indent and the longest suffix, "_success", takes 8.
MAX_LOGGED_NAME = 25


class SequenceEvalCallback(BaseCallback):
    """
    Evaluate an agent on *every* task of the sequence it is learning: at the start, every ``eval_freq`` steps, at every
    task switch and at the end of training.

    One callback follows one agent, over several calls of ``learn()`` and over being saved and loaded at their end. With
    another agent, or at a sequence's beginning, it starts anew.

    Works with any SB3 algorithm on an env with a ``task_sequence``. Training is the same with and without it: random
    states are restored, and the evaluation envs are seeded with numbers of their own, equal at every evaluation.
    A switch is evaluated when its last step has been taken; what the algorithm learns from that step (SAC: one
    gradient step, PPO: one rollout's update) is in the next evaluation.

    With ``log_path``, every evaluation replaces ``results.json``, ``evaluations.csv`` and ``matrix.csv`` there, and the
    end of training draws ``sequence.png`` and ``matrix.png`` if matplotlib is installed. Where the model keeps a record of its
    skill neurons (``skill_neuron_records``), ``skill_neurons.json`` is replaced whenever a task was consolidated.

    Logs ``continual/<task>_success`` (0 to 1), ``continual/<task>_return``, ``continual/<task>_hns`` (human-normalised
    score: 0 for a random player, 1 for a human; for tasks with reference scores), ``continual/task`` (index of the task
    being trained) and, at switches, ``continual/asr``, ``continual/fm``, ``continual/fwt``. Where not all tasks tell success,
    the first is called ``continual/ar``, and the three are in human-normalised scores where all tasks have them, else in
    returns. Where a task name is too long for the text logger, ``task0``, ``task1``, ... stand for all names.

    :param eval_freq: env steps over all sub-envs between evaluations; 0 evaluates at start, switches and end only
    :param n_eval_episodes: episodes per task in each evaluation
    :param log_path: folder for the results, ``None`` writes nothing
    :param deterministic: whether to evaluate the policy's most likely actions
    :param best_model_save_path: folder for ``best_model.zip``: among the agents that have seen most tasks, the one with
        the highest mean success over these, then the highest mean return (human-normalised where results are)
    :param settings: written into the results, e.g. the method's name and arguments
    :param resume_from: ``results.json`` (or its folder) of an interrupted run to go on from; its evaluations beyond the
        env's position are dropped
    :param seed: seed of the evaluation envs; by default the model's seed plus a million
    :param verbose: 1 prints each evaluation
    """

    results: SequenceResults

    def __init__(
        self,
        eval_freq: int = 10_000,
        n_eval_episodes: int = 10,
        log_path: str | os.PathLike[str] | None = None,
        deterministic: bool = True,
        best_model_save_path: str | os.PathLike[str] | None = None,
        settings: dict[str, Any] | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if eval_freq < 0 or n_eval_episodes < 1:
            raise ValueError(f"Expected eval_freq >= 0 and n_eval_episodes >= 1, got {eval_freq} and {n_eval_episodes}.")
        self.eval_freq = eval_freq
        self.n_eval_episodes = n_eval_episodes
        self.log_path = log_path
        self.deterministic = deterministic
        self.best_model_save_path = best_model_save_path
        self.settings = settings or {}
        self.resume_from = resume_from
        self.seed = seed
        self._sequence: TaskSequence | None = None
        self._evaluated: BaseAlgorithm | None = None  # whose results these are
        self._evaluator: TaskEvaluator | None = None
        self._position = 0
        self._segment = 0
        self._started = 0.0
        self._written_records: dict[str, Any] = {}

    def _init_callback(self) -> None:
        if not self.training_env.has_attr("task_sequence"):
            raise ValueError(
                "SequenceEvalCallback expects an env that goes through a TaskSequence, such as "
                "gym.make('sb3_nbsp/PointGoal-v0'); this env has no `task_sequence`. For a single task use "
                "stable_baselines3.common.callbacks.EvalCallback."
            )
        sequence: TaskSequence = self.training_env.get_attr("task_sequence", 0)[0]
        if self._evaluated is not None and not self._goes_on(self._evaluated):
            self._forget()
        if self._sequence is None:
            self.results = self._first_results(sequence)
        if self.results.sequence != (sequence.task_names, sequence.segments, sequence.segment_steps):
            source = self.resume_from if self._sequence is None else "this callback's earlier training"
            warnings.warn(
                f"The results of {source} are of another sequence, {self.results.segments} of {self.results.segment_steps} "
                f"steps; now it is {sequence.segments} of {sequence.segment_steps}. Results begin anew here.",
                stacklevel=2,
            )
            self.resume_from = None
            self.results = self._first_results(sequence)
        self._sequence, self._evaluated = sequence, self.model

    def _goes_on(self, earlier: BaseAlgorithm) -> bool:
        """Whether this training goes on where the callback's last one was: the same agent, or one loaded from its file."""
        at_the_beginning = self.training_env.get_attr("sequence_steps", 0)[0] == 0
        return not at_the_beginning and (self.model is earlier or same_agent(self.model, earlier))

    def _forget(self) -> None:
        """Start anew, for another agent."""
        if self.log_path is not None and self.results.evaluations:
            warnings.warn(
                f"This SequenceEvalCallback was used by another agent before, whose results in {self.log_path} will be "
                "replaced. To keep both, give each agent a SequenceEvalCallback with a log_path of its own.",
                stacklevel=2,
            )
        self.resume_from = None
        self._sequence = None
        self._written_records = {}

    def _first_results(self, sequence: TaskSequence) -> SequenceResults:
        if self.resume_from is None:
            results = SequenceResults(sequence.task_names, sequence.segments, sequence.segment_steps)
        else:
            results = SequenceResults.read(self.resume_from)
        results.settings = {
            "algorithm": type(self.model).__name__,
            "eval_freq": self.eval_freq,
            "n_eval_episodes": self.n_eval_episodes,
            "deterministic": self.deterministic,
            **self.settings,
        }
        results.reference_scores = sequence.reference_scores
        results.seed = self.model.seed
        results.versions = library_versions()
        return results

    def _on_training_start(self) -> None:
        assert self._sequence is not None
        # Sub-envs count their own steps: told how many they are, they switch at the right step with plain SB3 too.
        self.training_env.env_method("set_n_envs", self.training_env.num_envs)
        self._close_envs()  # left open if an earlier learn() was interrupted
        seed = self.seed if self.seed is not None else SEED_OFFSET + (self.model.seed or 0)
        self._evaluator = TaskEvaluator(self.training_env, self._sequence, self.n_eval_episodes, self.deterministic, seed)
        self._started = time.perf_counter() - self.results.wall_time_s
        self._position = self.training_env.get_attr("sequence_steps", 0)[0]
        self._segment = self._sequence.segment_at(self._position)
        self.results.evaluations = [kept for kept in self.results.evaluations if kept.step <= self._position]
        self._write_skill_neurons()
        if getattr(self.model, "goes_on_exactly", False):  # restore_checkpoint_state() brings the rows
            return
        # Where a run was stopped right after a switch and before its evaluation, it is made up for.
        if self._position in self._sequence.switch_steps:
            self._segment = self._sequence.switch_steps.index(self._position)
            self._evaluate_once("switch")
        self._evaluate_once("start")

    def _on_step(self) -> bool:
        self._write_skill_neurons()  # a task is consolidated one step after its last
        info = self.locals["infos"][0]
        before, self._position, self._segment = self._position, int(info["sequence_steps"]), int(info["segment"])
        if info["task_done"]:
            self._evaluate_once("switch")
        elif self.eval_freq > 0 and self._position // self.eval_freq > before // self.eval_freq:
            self._evaluate_once("interval")
        return True

    def _on_training_end(self) -> None:
        self._write_skill_neurons()
        # rl-zoo3 ends the training a second time.
        if self._evaluator is None:
            return
        self._evaluate_once("end")
        self._close_envs()
        self.results.finished = any(self._is_last_switch(evaluation) for evaluation in self.results.evaluations)
        self._write()
        self._draw()

    def checkpoint_state(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback: the rows so far, and the settings as the run was started with."""
        evaluations = [asdict(evaluation) for evaluation in self.results.evaluations]
        wall_time_s = time.perf_counter() - self._started
        return {"evaluations": evaluations, "settings": json_safe(self.results.settings), "wall_time_s": wall_time_s}

    def restore_checkpoint_state(self, state: dict[str, Any]) -> None:
        """Go on after the rows of a checkpoint."""
        self.results.evaluations = [Evaluation(**entry) for entry in state["evaluations"]]
        self.results.settings = state["settings"]
        self._started = time.perf_counter() - state["wall_time_s"]
        self._write()

    def _is_last_switch(self, evaluation: Evaluation) -> bool:
        return evaluation.kind == "switch" and evaluation.segment == len(self.results.segments) - 1

    def _evaluate_once(self, kind: Kind) -> None:
        """Evaluate, log and write, unless this position has been evaluated already."""
        evaluations = self.results.evaluations
        if evaluations and evaluations[-1].step == self._position:
            return
        assert self._evaluator is not None
        started = time.perf_counter()
        with droppable():
            success, mean_return = self._evaluator.evaluate(self.model)
        duration = time.perf_counter() - started
        evaluation = Evaluation(self._position, self._segment, kind, success, mean_return, duration)
        self._save_if_best(evaluation)
        evaluations.append(evaluation)
        self._log(evaluation)
        self._write()

    def _save_if_best(self, evaluation: Evaluation) -> None:
        if self.best_model_save_path is None:
            return
        if all(self._rank(evaluation) > self._rank(earlier) for earlier in self.results.evaluations):
            os.makedirs(self.best_model_save_path, exist_ok=True)
            self.model.save(Path(self.best_model_save_path, "best_model"))

    def _rank(self, evaluation: Evaluation) -> tuple[int, float, float]:
        # The number of tasks comes first: mastering one task out of one is no better than most of two.
        seen = sorted(set(self.results.segments[: evaluation.segment + 1]))
        success = float(np.mean([evaluation.success[name] or 0.0 for name in seen]))
        measure = self.results.measure
        returns = self.results.performance(evaluation, RETURN.name if measure == SUCCESS else measure.name)
        return len(seen), success, float(np.mean([returns[name] for name in seen]))

    def _log(self, evaluation: Evaluation) -> None:
        names = self.results.task_names
        too_long = any(len(name) > MAX_LOGGED_NAME for name in names)
        for index, name in enumerate(names):
            key = f"continual/task{index}" if too_long else f"continual/{name}"
            if evaluation.success[name] is not None:
                self.logger.record(f"{key}_success", evaluation.success[name])
            self.logger.record(f"{key}_return", evaluation.mean_return[name])
            if name in self.results.reference_scores:
                self.logger.record(f"{key}_hns", self.results.performance(evaluation, NORMALISED.name)[name])
        self.logger.record("continual/task", self.results.segment_indices[evaluation.segment])
        if evaluation.kind == "switch":
            values = summarize(self.results.metrics())
            for key, name in ((self.results.measure.average.lower(), "asr"), ("fm", "fm"), ("fwt", "fwt")):
                if values[name] is not None:
                    self.logger.record(f"continual/{key}", values[name])
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.verbose >= 1:
            measure = self.results.measure.name
            shown = ", ".join(f"{name} {value:.2f}" for name, value in self.results.performance(evaluation).items())
            print(f"Evaluation at step {evaluation.step} ({evaluation.kind}), {measure}: {shown}")

    def _write(self) -> None:
        self.results.wall_time_s = time.perf_counter() - self._started
        if self.log_path is not None:
            self.results.write(self.log_path)

    def _write_skill_neurons(self) -> None:
        records = getattr(self.model, "skill_neuron_records", {})
        # Cheap enough for every step: a record that is still the same object is not looked into.
        if self.log_path is not None and records != self._written_records:
            write_skill_neurons(records, self.log_path)
            self._written_records = dict(records)

    def _draw(self) -> None:
        if self.log_path is None:
            return
        try:
            plots.plot_sequence([(type(self.model).__name__, [self.results])], Path(self.log_path, "sequence.png"))
            plots.plot_matrix([self.results], Path(self.log_path, "matrix.png"))
        except ImportError as error:
            if self.verbose >= 1:
                print(error)

    def _close_envs(self) -> None:
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None
