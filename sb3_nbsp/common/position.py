"""How an algorithm follows the task sequence that it learns: where it stands, when a task ends, and what schedules count."""

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from sb3_nbsp.common.callbacks import SkillNeuronCallback
from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.common.ram_estimate import Part, check_footprint


class FollowsSequence(BaseAlgorithm):
    """The part of an NBSP algorithm that has to do with its place in a task sequence, or in tasks given by hand."""

    schedules_per_task: bool
    skill_fraction: float
    memory_size: int

    # State that is saved with the model, in plain types.
    learned_tasks: list[str]
    task_to_consolidate: str | None
    consolidated_at: int  # num_timesteps at the last consolidation
    sequence_steps: int
    segment_steps: list[int] | None

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """See SB3. Warns where a task was learned by hand and has not been consolidated."""
        protects = self.skill_fraction > 0 or self.memory_size > 0
        if protects and self.env is not None and not is_task_sequence(self.env) and self.num_timesteps > self.consolidated_at:
            warnings.warn(
                f"The last {self.num_timesteps - self.consolidated_at} env steps were not consolidated: nothing of what they "
                "taught will be held or rehearsed. If the new env is another task, call consolidate() before set_env().",
                stacklevel=2,
            )
        super().set_env(env, force_reset)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        self.segment_steps = None
        if reset_num_timesteps:
            self.consolidated_at = 0
        if self.env is not None and is_task_sequence(self.env):
            self._check_supported()
            self.begin_sequence(self.env.get_attr("task_sequence", 0)[0].segment_steps)
            if not reset_num_timesteps:
                self._restore_sequence_position()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _restore_sequence_position(self) -> None:
        """Let a new env of a sequence begin where this model, loaded from a file, stands."""
        assert self.env is not None
        self.env.env_method("set_n_envs", self.env.num_envs)
        if self.env.get_attr("sequence_steps", 0)[0] != self.sequence_steps:
            self.env.env_method("fast_forward", self.sequence_steps)
            self._last_obs = None  # the env is reset, into the right task

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        if self.env is not None and is_task_sequence(self.env) and not _contains_skill_callback(callback):
            given = callback if isinstance(callback, list) else [callback] if callback is not None else []
            made = [c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in given]
            # Early in the list: a checkpoint taken in the same step must know that a task has ended. Before it only what needs
            # the task's transitions, of which consolidation empties the replay buffer.
            early = [c for c in made if getattr(c, "before_consolidation", False)]
            callback = [*early, SkillNeuronCallback(), *(c for c in made if c not in early)]
        return super()._init_callback(callback, progress_bar)

    def begin_sequence(self, segment_steps: Sequence[int]) -> None:
        """
        Say how long the tasks of the sequence are that is learned from now on.

        :param segment_steps: env steps of each segment, over all sub-envs
        :raises MemoryError: if buffers and memory of all tasks cannot fit into the machine's memory
        """
        self.segment_steps = list(segment_steps)
        n_tasks = len(segment_steps)  # at most
        if self.env is not None and is_task_sequence(self.env):
            n_tasks = len(self.env.get_attr("task_sequence", 0)[0].tasks)
        statement = check_footprint(self._footprint(n_tasks))
        if self.verbose >= 1:
            print(statement)

    def _footprint(self, n_tasks: int) -> list[Part]:
        """What takes memory when a number of tasks was learned."""
        raise NotImplementedError

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        # What SB3's schedules (learning rate, clip range, epsilon) are functions of.
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        if self.schedules_per_task:
            self._current_progress_remaining = self._task_progress_remaining()

    def _task_progress_remaining(self) -> float:
        """
        1 at a task's beginning, 0 at its end. By hand, each ``learn()`` after the first consolidation counts as one task.
        """
        if self.segment_steps is not None:
            ends = list(accumulate(self.segment_steps))
            segment = min(bisect_right(ends, self.sequence_steps), len(ends) - 1)
            return max((ends[segment] - self.sequence_steps) / self.segment_steps[segment], 0.0)
        if not self.learned_tasks:
            return self._current_progress_remaining
        start = self._num_timesteps_at_start
        return max(1.0 - (self.num_timesteps - start) / (self._total_timesteps - start), 0.0)

    def _check_supported(self) -> None:
        """
        :raises ValueError: where a setting of the model cannot be carried over a task switch
        """


def _contains_skill_callback(callback: MaybeCallback) -> bool:
    if isinstance(callback, CallbackList):
        callback = callback.callbacks
    if isinstance(callback, list):
        return any(_contains_skill_callback(part) for part in callback)
    return isinstance(callback, SkillNeuronCallback)
