"""What every NBSP algorithm adds to its SB3 parent: skill neurons are found and held at the end of a task."""

import sys
import warnings
from abc import abstractmethod
from typing import Any, TypeVar

import gymnasium as gym
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common import beginnings, buffer_requirements, gate_requirements, task_end
from sb3_nbsp.common.callbacks import with_skill_callback
from sb3_nbsp.common.env_util import is_task_sequence, place_env, task_sequence_of
from sb3_nbsp.common.evaluation_notice import warn_of_evaluation, warn_of_first_task_only
from sb3_nbsp.common.finite_checks import check_observation
from sb3_nbsp.common.next_step import NextStep, beyond_the_end, next_step
from sb3_nbsp.common.older_files import say_whose_lengths_fit
from sb3_nbsp.common.other_statistics import warn_of_other_statistics
from sb3_nbsp.common.position import FollowedSequence
from sb3_nbsp.common.protected_algorithm import ProtectedAlgorithm
from sb3_nbsp.common.ram_estimate import Part, check_footprint, disk_statement, network_bytes, tell
from sb3_nbsp.common.scoring_env import steps_on_task
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scoring import run_networks
from sb3_nbsp.neurons.skill_neurons import SkillNeurons

Self = TypeVar("Self", bound="ContinualAlgorithm")


class ContinualAlgorithm(ProtectedAlgorithm):
    """Base of the NBSP algorithms, to be mixed in before the SB3 parent: how a model goes from task to task."""

    is_learning: bool = False  # whether learn() is running
    taken_steps: task_end.TakenSteps | None = None  # by whoever runs the policies of many models
    goes_beyond: bool = False  # whether this learn() takes more steps than its sequence has

    @property
    def _protects(self) -> bool:
        """Whether anything of a task is to be kept."""
        return self.skill_fraction > 0 or self.memory_size > 0

    # The place in a sequence

    def learn(self: Self, *args: Any, **kwargs: Any) -> Self:
        """See SB3."""
        self.is_learning = True
        try:
            return super().learn(*args, **kwargs)
        finally:
            self.is_learning = False

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """See SB3."""
        check_observation(observation)
        warn_of_evaluation(sys._getframe(1))
        return super().predict(observation, *args, **kwargs)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """See SB3. Warns where a task is not at its end, was learned by hand and not consolidated, or is normalised anew."""
        before, by_hand = self.env, self.env is not None and not is_task_sequence(self.env)
        n_steps = self.position.steps_by_hand(self.num_timesteps) if by_hand else 0
        super().set_env(env, force_reset)
        warn_of_other_statistics(self, before)
        reason = self._next_step().reason if self._protects and not by_hand else ""
        if self._protects and n_steps > 0:
            reason = (
                f"The last {n_steps} env steps were not consolidated. If the new env is another task, call consolidate() "
                "before set_env(): else they count as steps of the task that is consolidated next."
            )
        if reason:
            warnings.warn(reason, stacklevel=2)

    def _next_step(self) -> NextStep:
        return next_step(self.position, task_sequence_of(self.env), self.position.steps_by_hand(self.num_timesteps))

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        self.protection.check_wanted(self.skill_fraction)  # a model that is loaded may only be looked at
        if self._protects:
            self._optimizers()  # all of them obey the masks
        beginnings.learning_begins(self, reset_num_timesteps)
        sequence = task_sequence_of(self.env)
        if sequence is not None or self.gates is not None:  # not only at the end of the first task
            self._check_supported()
        elif self._protects and reset_num_timesteps:
            buffer_requirements.say_what_is_refused(self._check_supported)
        self._take_place(sequence, total_timesteps, resumes=not reset_num_timesteps)
        if reset_num_timesteps:
            self.position.count_from_zero(self.num_timesteps)
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _take_place(self, sequence: FollowedSequence | None, n_steps: int, resumes: bool) -> None:
        """
        Go on in a sequence, or begin it, before the env is reset.

        :param sequence: what the env goes through
        :param n_steps: env steps that will be taken
        :param resumes: whether SB3 goes on counting
        :raises ValueError: where a task is unfinished that the env cannot finish
        """
        step = self._next_step()
        if step.kind == "refuse":
            if self._protects:
                raise ValueError(step.reason)
            self.abandon_task()
            step = NextStep("begin")
        self.goes_beyond = False
        if sequence is None:
            if step.kind == "begin":
                self.position.leave_sequence()
            return
        if step.kind != "begin":
            say_whose_lengths_fit(self.position, sequence)
        self._follow(sequence)
        self.position.moved_to(step.steps)
        if place_env(self.env, step.steps):
            self._last_obs = None  # the env is reset, into the right task
        self.goes_beyond = step.steps + n_steps > self.position.total_steps
        if self.goes_beyond and self._protects:
            warnings.warn(beyond_the_end(sequence, step.steps, n_steps), stacklevel=4)
        if resumes and not self.goes_on_exactly:
            self._resume()

    def _resume(self) -> None:
        """Get ready to go on in the middle of a sequence, maybe after a load; extended by subclasses."""

    def _follow(self, sequence: FollowedSequence) -> None:
        """
        :param sequence: what is learned from now on
        :raises MemoryError: if buffers and memory of all its tasks cannot fit into the machine's memory
        """
        self.position.follow(sequence)
        parts = self._footprint(len(sequence.task_names))
        statements = check_footprint(parts), disk_statement(parts, network_bytes(self.policy), self.tensorboard_log)
        tell(statements, self.verbose)

    def restart_sequence(self) -> None:
        """Begin the sequence anew at the next ``learn()``. What was learned stays; an unfinished task is abandoned."""
        if self.position.is_inside or self.position.pending is not None:
            self.abandon_task()
        self.position.leave_sequence()

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        if self.env is not None and is_task_sequence(self.env):
            callback = with_skill_callback(callback)
        made = super()._init_callback(callback, progress_bar)
        warn_of_first_task_only(made)
        return made

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        # What SB3's schedules (learning rate, clip range, epsilon) are functions of.
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self.position.learned()
        if self.schedules_per_task:
            self._current_progress_remaining = self._task_progress_remaining()

    def _task_progress_remaining(self) -> float:
        """1 at a task's beginning, 0 at its end; by hand from the last consolidation, or where SB3 counts anew, to the end."""
        in_sequence = self.position.progress_remaining()
        if in_sequence is not None or not self.learned_tasks:
            return self._current_progress_remaining if in_sequence is None else in_sequence
        taken = min(self.position.steps_by_hand(self.num_timesteps), self.num_timesteps)
        left = self._total_timesteps - self.num_timesteps
        return max(left / max(taken + left, 1), 0.0)

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto") -> None:
        """See :meth:`ProtectedAlgorithm.set_parameters`. The memory is told which task is learned."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        if self._is_made:  # else they are its own, which load() brings
            self.position.given_parameters()
        self._is_made = True
        if self.position.task is not None:
            self.begin_task(self.position.task)

    def begin_task(self, task: str) -> None:
        """
        Say which task is learned from now on. Optional: with it, a task that is met again is not rehearsed while it brings its
        own transitions (SAC and TQC clone it for 10 / tau updates more). The callback does it for a task sequence.

        :param task: name of the task
        """
        unfinished = self.position.task not in (None, task)
        known = self.learned_tasks.index(task) if task in self.learned_tasks else None
        self.position.task_begins(task)
        if self.memory is not None:
            if unfinished:
                self._drop_unfinished_task()
            self.memory.current_task = known
        if self.gates is None:
            return
        self.protection.hold_owned(len(self.learned_tasks), relearned=known)
        self._apply_masks()
        if self.protection.open_free(relearned=known):
            self._reset_moments()

    # The end of a task

    def abandon_task(self) -> None:
        """Leave the current task, or one that has ended: do what a switch does, without scoring, holding or remembering."""
        if self.memory is not None:
            self._drop_unfinished_task()
        with isolated_rng():
            self._prepare_next_task()
        beginnings.task_ended(self, None)
        self.position.consolidated(self.num_timesteps, self._n_updates)

    def consolidate(self, env: gym.Env | VecEnv | None = None, task: str | None = None) -> SkillNeurons | None:
        """
        End a task: score the neurons on it, hold its skill neurons from now on, and get ready for the next task.

        A task that was consolidated before gets its new skill neurons in place of the old ones. The random state of
        training is the same after the call as before it.

        :param env: the task to score on: a Gymnasium env, or a ``VecEnv`` that is wrapped like the training env, with its
            statistics of normalisation; default: the training env, whose running episode is lost. Not closed.
        :param task: its name; default: "task 1", "task 2", ...
        :return: the skill neurons; ``None`` with ``skill_fraction=0``
        :raises ValueError: where the model's replay buffer cannot be carried over a task switch, for an env that shows
            observations otherwise, or for ``goal_metric="success"`` on one that does not tell success
        """
        self._check_supported()
        if self.is_learning and self.position.pending is None and self._step_in_flight():
            self._leave_out_step_in_flight()
        return task_end.consolidate(self, env, task)

    def score_neurons(self, env: gym.Env | VecEnv | None, task: str, seed: int = 0) -> SkillNeurons:
        """
        Score the neurons on a task, as :meth:`consolidate` does, and hold none of them. The random state of training is the
        same after the call as before it.

        :param env: the task to score on, see :meth:`consolidate`
        :param task: its name
        :param seed: of the env and of everything that is drawn
        """
        task_end.check_scored(task, seed)
        with isolated_rng(seed, self.action_space):
            return task_end.score(self, steps_on_task(self, env, task, int(self.scoring_steps), seed), task, seed)

    def activations_on(self, steps: ScoringSteps) -> dict[str, th.Tensor]:
        """
        :param steps: T steps of this model's policy
        :return: activations of every hidden layer, by its name, [T, n_neurons]; the random state of training stays as it is
        """
        with isolated_rng():
            return run_networks(self.neuron_masks.networks, steps, task_end.losses_of(self))[0]

    @abstractmethod
    def _remember_task(self, index: int) -> None:
        """Keep some of the samples of the task that ended, which has this index."""

    def _prepare_next_task(self) -> None:
        """Undo what must not leak from one task into the next. Extended by subclasses."""
        if self.memory is not None:
            self.memory.current_task = None
        if self.reset_optimizer or self.task_gates:  # moments of weights that were drawn anew belong to others
            self._reset_moments()
        if self.ep_info_buffer is not None and self.ep_success_buffer is not None:
            self.ep_info_buffer.clear()
            self.ep_success_buffer.clear()

    def _reset_moments(self) -> None:
        for optimizer in self._optimizers():
            optimizer.reset_state()

    # For subclasses

    def _check_supported(self) -> None:
        """
        :raises ValueError: where a setting of the model cannot be carried over a task switch
        """
        self.protection.check_wanted(self.skill_fraction)
        if self.gates is not None:
            gate_requirements.check_env(self.gates, self.env, self.observation_space, self.learned_tasks)

    @abstractmethod
    def _drop_unfinished_task(self) -> None:
        """Forget which of the buffer's samples belong to a task that was not brought to its end."""

    @abstractmethod
    def _step_in_flight(self) -> bool:
        """Whether, within ``learn()``, the last step of the env is not stored yet: SB3 calls ``on_step`` before it stores."""

    @abstractmethod
    def _leave_out_step_in_flight(self) -> None:
        """Have the step in flight, the last of the task that ends here by hand, not count for the next task."""

    @abstractmethod
    def _footprint(self, n_tasks: int) -> list[Part]:
        """What takes memory when a number of tasks was learned."""
