"""The callback that fills the performance matrix while an agent learns a sequence of tasks."""

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.base.arguments import check_values
from sb3_nbsp.base.plain_text import two_decimals
from sb3_nbsp.base.spare_files import may_fail
from sb3_nbsp.common.env_util import count_together
from sb3_nbsp.evaluation import rows_in_checkpoints
from sb3_nbsp.evaluation.ahead import Played, coming_rollout, first_rollout, take_played
from sb3_nbsp.evaluation.best_model import newest_is_best
from sb3_nbsp.evaluation.carried_over import is_finished, is_still_finished, own_earlier_results
from sb3_nbsp.evaluation.due import due, first_kind, has_evaluated, last_kind
from sb3_nbsp.evaluation.eval_arguments import ARGUMENTS
from sb3_nbsp.evaluation.eval_tasks import ALL, EvalTasks, checked_eval_tasks, tasks_to_play
from sb3_nbsp.evaluation.evaluator import SEED_OFFSET, TaskEvaluator, same_agent
from sb3_nbsp.evaluation.logged import record_evaluation
from sb3_nbsp.evaluation.results import RESULTS, Evaluation, Kind, SequenceResults
from sb3_nbsp.evaluation.run_figures import draw_run
from sb3_nbsp.evaluation.skill_file import SKILL_NEURONS, write_skill_neurons
from sb3_nbsp.evaluation.told_success import note_told, telling_tasks, with_failures
from sb3_nbsp.evaluation.versions import library_versions
from sb3_nbsp.tasks import TaskSequence

LOGGER = logging.getLogger(__name__)
TRY_AGAIN = "Training goes on; the next evaluation tries again."


class SequenceEvalCallback(BaseCallback):
    """
    Evaluate an agent on the tasks of the sequence it is learning, *all* of them or a few in turn: at the start, every
    ``eval_freq`` steps, at every task switch and at the end of training.

    One callback follows one agent, over several calls of ``learn()`` and over being saved and loaded at their end. With
    another agent, or at a sequence's beginning, it starts anew.

    Works with any SB3 algorithm on an env with a ``task_sequence``. Training is the same with and without it: random
    states are restored, and the evaluation envs are seeded with numbers of their own, equal at every evaluation.
    A switch is evaluated when its last step has been taken; what the algorithm learns from that step (SAC: one
    gradient step, PPO: one rollout's update) is in the next evaluation.

    With ``log_path``, every evaluation replaces ``results.json``, ``evaluations.csv`` and ``matrix.csv`` there, and the
    end of training draws ``sequence.png`` and ``matrix.png`` if matplotlib is installed. Where the model keeps a record of its
    skill neurons (``skill_neuron_records``), ``skill_neurons.json`` is replaced whenever a task was consolidated. Where one of
    these files, or ``best_model.zip``, cannot be written, a warning names it and training goes on. A training that goes on in
    the middle of its sequence keeps what stands in ``results.json``, if it is of the same sequence, algorithm and seed.

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
    :param eval_tasks: ``"all"``, or how many tasks each evaluation plays: the one being trained or just ended, and others in
        turn; all at the end (:mod:`sb3_nbsp.evaluation.eval_tasks`). Evaluations of long sequences then cost a number of
        episodes that grows with the number of tasks, not with its square.
    :param draw: whether to draw the figures at the end of training; :meth:`draw_figures` does it later
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
        eval_tasks: EvalTasks = ALL,
        draw: bool = True,
    ) -> None:
        super().__init__(verbose)
        check_values(ARGUMENTS, locals())
        self.eval_freq = eval_freq
        self.n_eval_episodes = n_eval_episodes
        self.log_path = log_path
        self.deterministic = deterministic
        self.best_model_save_path = best_model_save_path
        self.settings = settings or {}
        self.resume_from = resume_from
        self.seed = seed
        self.eval_tasks = checked_eval_tasks(eval_tasks)
        self.draw = draw
        self._sequence: TaskSequence | None = None
        self._evaluated: BaseAlgorithm | None = None  # whose results these are
        self._evaluator: TaskEvaluator | None = None
        self._position = 0
        self._segment = 0
        self._started = 0.0
        self._telling: set[str] = set()  # the tasks that have told success
        self._written_records: dict[str, Any] = {}
        self._played: Played | None = None
        self._is_prepared = False

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
            in_the_middle = self.training_env.get_attr("sequence_steps", 0)[0] > 0
            if self.resume_from is None and in_the_middle:
                self.resume_from = own_earlier_results(self.log_path, self.results)
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
        self._played, self._is_prepared = None, False  # left from an earlier learn() that was interrupted

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
        self._telling = set()
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
            **({} if self.eval_tasks == ALL else {"eval_tasks": self.eval_tasks}),
            **self.settings,
        }
        results.reference_scores = sequence.reference_scores
        results.seed = self.model.seed
        results.versions = library_versions()
        return results

    def prepare(self) -> None:
        """What the beginning of training does before it evaluates; whoever evaluates many agents at once calls it before."""
        assert self._sequence is not None
        count_together(self.training_env)  # with plain SB3 too
        self._close_envs()  # left open if an earlier learn() was interrupted
        seed = self.seed if self.seed is not None else SEED_OFFSET + (self.model.seed or 0)
        self._evaluator = TaskEvaluator(self.training_env, self._sequence, self.n_eval_episodes, self.deterministic, seed)
        self._evaluator.telling = self._telling
        self._started = time.perf_counter() - self.results.wall_time_s
        self._position = self.training_env.get_attr("sequence_steps", 0)[0]
        self._segment = self._sequence.segment_at(self._position)
        self.results.evaluations = [kept for kept in self.results.evaluations if kept.step <= self._position]
        self._telling |= telling_tasks(self.results.evaluations)
        self.results.finished = is_still_finished(self.results)
        if self.results.evaluations:  # carried over: they stand in the run's own file from the beginning
            self._write()
        self._write_skill_neurons()
        self._is_prepared = True

    def _on_training_start(self) -> None:
        if not self._is_prepared:
            self.prepare()
        self._is_prepared = False
        kind = first_kind(self)
        if kind is not None:
            self._evaluate(kind)

    def _on_step(self) -> bool:
        self._write_skill_neurons()  # a task is consolidated one step after its last
        info = self.locals["infos"][0]
        assert self._sequence is not None
        note_told(self._telling, self.locals["infos"], self._sequence)
        kind = due(self, info)
        self._position, self._segment = int(info["sequence_steps"]), int(info["segment"])
        if kind is not None and not has_evaluated(self):
            self._evaluate(kind)
        return True

    def _on_training_end(self) -> None:
        self._write_skill_neurons()
        # rl-zoo3 ends the training a second time.
        if self._evaluator is None:
            return
        if not has_evaluated(self):
            self._evaluate(last_kind(self))
        self._close_envs()
        self.results.finished = is_finished(self.results)
        self._write()
        if self.draw:
            self.draw_figures()

    checkpoint_state = rows_in_checkpoints.checkpoint_state
    restore_checkpoint_state = rows_in_checkpoints.restore_checkpoint_state
    coming_rollout, first_rollout, take_played = coming_rollout, first_rollout, take_played

    def _evaluate(self, kind: Kind) -> None:
        """Evaluate, log and write."""
        assert self._evaluator is not None
        started, tasks = time.perf_counter(), self._tasks_to_play(kind, self._segment)
        LOGGER.debug("evaluating: %d episodes on each of %s", self.n_eval_episodes, ", ".join(tasks))
        success, mean_return = self._played or self._evaluator.evaluate(self.model, tasks)
        self._played = None
        duration = time.perf_counter() - started
        self.results.evaluations.append(Evaluation(self._position, self._segment, kind, success, mean_return, duration))
        self.results.evaluations = with_failures(self.results.evaluations, self._telling)
        self._save_if_best()
        self._log(self.results.evaluations[-1])
        self._write()

    def _tasks_to_play(self, kind: Kind, segment: int) -> tuple[str, ...]:
        names, segments = self.results.task_names, self.results.segments
        at_the_end = kind == "end" or (kind == "switch" and segment == len(segments) - 1)
        eval_tasks = ALL if at_the_end else self.eval_tasks
        return tasks_to_play(eval_tasks, names, segments[segment], self.results.evaluations)

    def _save_if_best(self) -> None:
        if self.best_model_save_path is None or not newest_is_best(self.results):
            return
        path = Path(self.best_model_save_path, "best_model")
        with may_fail(path.with_suffix(".zip")):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.model.save(path)

    def _log(self, evaluation: Evaluation) -> None:
        record_evaluation(self.logger, self.results, evaluation)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        with may_fail(self.logger.get_dir() or "SB3's log"):
            self.logger.dump(self.num_timesteps)
        if self.verbose >= 1:
            measure = self.results.measure.name
            values = self.results.performance(evaluation)
            shown = ", ".join(f"{name} {two_decimals(values[name])}" for name in evaluation.mean_return)
            print(f"Evaluation at step {evaluation.step} ({evaluation.kind}), {measure}: {shown}")

    def _write(self) -> None:
        self.results.wall_time_s = time.perf_counter() - self._started
        if self.log_path is not None:
            with may_fail(Path(self.log_path, RESULTS), TRY_AGAIN):
                self.results.write(self.log_path)

    def _write_skill_neurons(self) -> None:
        records = getattr(self.model, "skill_neuron_records", {})
        # Cheap enough for every step: a record that is still the same object is not looked into.
        if self.log_path is not None and records != self._written_records:
            with may_fail(Path(self.log_path, SKILL_NEURONS), "Training goes on; the model's file holds the same."):
                write_skill_neurons(records, self.log_path)
            self._written_records = dict(records)

    def draw_figures(self) -> None:
        """Draw ``sequence.png`` and ``matrix.png`` into ``log_path``, if matplotlib is installed."""
        if self.log_path is not None:
            draw_run(self.results, Path(self.log_path), says_why_not=self.verbose >= 1)

    def _close_envs(self) -> None:
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None
