"""What off-policy NBSP algorithms add: a memory of old tasks in the replay buffer, and a warm-up per task."""

import pathlib
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback, RolloutReturn
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.checkpoints.safe_point import safe_point
from sb3_nbsp.common import buffer_files, buffer_requirements, ram_estimate
from sb3_nbsp.common.buffer_choice import OF_STEPS, make_buffer
from sb3_nbsp.common.cloning_term import ClonedOutputs, CloningTerm
from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.common.position import FollowedSequence
from sb3_nbsp.common.ram_estimate import Part
from sb3_nbsp.common.save_util import File
from sb3_nbsp.common.task_bounds import TaskBounds
from sb3_nbsp.rehearsal.replay_buffers import (
    MEMORY_ARGUMENTS,
    MixedBuffer,
    MixedDictReplayBuffer,
    MixedNStepReplayBuffer,
    MixedReplayBuffer,
)

Self = TypeVar("Self", bound="OffPolicyContinualAlgorithm")


class OffPolicyContinualAlgorithm(ContinualAlgorithm, OffPolicyAlgorithm):
    """Base of the off-policy NBSP algorithms, to be mixed in before the SB3 parent."""

    buffer_name = "replay_buffer"
    mixed_buffers: ClassVar[Mapping[Any, Any]] = {
        ReplayBuffer: MixedReplayBuffer,
        DictReplayBuffer: MixedDictReplayBuffer,
        NStepReplayBuffer: MixedNStepReplayBuffer,
    }

    cloned_outputs: ClassVar[ClonedOutputs]
    at_task_bounds: ClassVar[TaskBounds | None] = None

    rehearsal: str
    clone_coef: float
    clone_batch_size: int
    clone_target: str
    reset_replay_buffer: bool
    task_warmup: int | None

    cloning: CloningTerm
    _warmup_until: int = 0  # saved with the model
    n_task_ends: int | None = None  # so is this: tasks that ended so far, each visit counted, those that were dropped too
    _stored_at: int = 0  # num_timesteps of the newest row in the buffer

    @property
    def _replayed_size(self) -> int:
        """Transitions that are kept per old task."""
        return self.memory_size if self.rehearsal in ("replay", "both") else 0

    def memory_arguments(self) -> dict[str, Any]:
        """What the model's replay buffer is told."""
        return {name: getattr(self, name) for name in MEMORY_ARGUMENTS} | {"memory_size": self._replayed_size}

    def _setup_model(self) -> None:
        self.cloning = CloningTerm(self)
        # Where SB3 would choose one of its buffers, ours takes its place. It is made before SB3 looks, because SB3
        # takes n_steps > 1 for a mistake beside any class that is not its own.
        self._check_parents_arguments()
        if self.n_task_ends is None:  # a new model, or the file of one that did not count
            self.n_task_ends = len(self.learned_tasks)
        given = self.replay_buffer_class
        ours = given is None or issubclass(given, MixedBuffer)
        if ours:
            self.replay_buffer_class = None
            if self.replay_buffer is None:
                self.replay_buffer = make_buffer(self, given)
        super()._setup_model()
        self.cloning.check()
        if ours:
            self.replay_buffer_class = type(self.replay_buffer)  # type: ignore[assignment]
            if self.n_steps > 1:  # SB3 wrote the steps there, where they would outlive another number in load()
                self.replay_buffer_kwargs = {k: v for k, v in self.replay_buffer_kwargs.items() if k not in OF_STEPS}
        if isinstance(self.replay_buffer, MixedBuffer):
            self.replay_buffer.n_task_ends = self.n_task_ends

    def _footprint(self, n_tasks: int) -> list[Part]:
        """See :meth:`ContinualAlgorithm._footprint`. The replay buffer comes first."""
        seen = self.observation_space, self.action_space
        ring = ram_estimate.replay_buffer_bytes(*seen, self.buffer_size, self.n_envs, self.optimize_memory_usage)
        kept = n_tasks * ram_estimate.transitions_bytes(*seen, self._replayed_size, self.n_steps)
        n_cloned = self.memory_size if self.cloning.is_wanted else 0
        cloned = n_tasks * ram_estimate.clones_bytes(self.observation_space, n_cloned, self.cloning.n_outputs)
        return [
            Part("replay buffer", ring, "buffer_size"),
            Part(f"memory of {n_tasks} tasks", kept, "memory_size"),
            Part(f"observations of {n_tasks} tasks to clone on", cloned, "memory_size"),
            Part("scoring", ram_estimate.scoring_bytes(self.observation_space, self.scoring_steps), "scoring_steps"),
        ]

    def _check_supported(self) -> None:
        super()._check_supported()
        buffer_requirements.check_buffer(self, self._replayed_size)
        self.cloning.check_memory()

    def _follow(self, sequence: FollowedSequence) -> None:
        """See :meth:`ContinualAlgorithm._follow`. Warns of a warm-up that leaves nothing to learn."""
        super()._follow(sequence)
        shortest = min(sequence.segment_steps)
        warmup = max(self.learning_starts, self._warmup_steps() if self.reset_replay_buffer else 0)
        if warmup >= shortest:
            warnings.warn(
                f"A task has {shortest} env steps, and {warmup} are a warm-up without training: nothing is learned on it. "
                "Lower learning_starts (and task_warmup), or give the tasks more steps.",
                stacklevel=2,
            )

    def _drop_unfinished_task(self) -> None:
        self._count_task_end()

    def _count_task_end(self) -> None:
        """What the buffer holds is not the current task's from now on."""
        self.n_task_ends = (self.n_task_ends or 0) + 1
        if isinstance(self.replay_buffer, MixedBuffer):
            self.replay_buffer.end_task(self.n_task_ends)

    def begin_task(self, task: str) -> None:
        """See :meth:`ContinualAlgorithm.begin_task`."""
        super().begin_task(task)
        if self.at_task_bounds is not None:
            self.at_task_bounds.begins(self, task)

    def _remember_task(self, index: int) -> None:
        if self.memory is not None and self.memory_size > 0:
            self._remember(index)
        if self.at_task_bounds is not None:
            self.at_task_bounds.ends(self, index)

    def _prepare_next_task(self) -> None:
        super()._prepare_next_task()
        buffer = self.replay_buffer
        assert buffer is not None
        self._count_task_end()
        if self.reset_replay_buffer:
            buffer.reset()
            self._start_warmup()
        elif buffer.size() > 0:
            # Where the env was exchanged in mid-episode, n-step returns must not reach into the next task.
            buffer.timeouts[buffer.pos - 1] = np.maximum(buffer.timeouts[buffer.pos - 1], 1 - buffer.dones[buffer.pos - 1])
        if self.at_task_bounds is not None:
            self.at_task_bounds.next_is_prepared(self)

    def _remember(self, index: int) -> None:
        buffer: Any = self.replay_buffer
        # What a policy does that was not trained, or has forgotten the task since, is no example.
        if self.cloning.is_wanted and buffer.n_rows_of_task > 0 and not self.position.is_untrained(self._n_updates):
            self.cloning.remember(index, buffer.observations_of_task(self.memory_size))
        if buffer.n_rows_of_task == 0 or (self._replayed_size > 0 and buffer.remember(index) == 0):
            buffer_requirements.warn_of_nothing_to_rehearse()

    def _start_warmup(self) -> None:
        """Act at random and do not train until the (emptied) buffer holds something to learn from."""
        self._warmup_until = self.num_timesteps + self._warmup_steps()

    def _warmup_steps(self) -> int:
        return self.learning_starts if self.task_warmup is None else self.task_warmup

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        buffer_requirements.check_memory(self, self._replayed_size)
        if isinstance(self.replay_buffer, MixedBuffer) and not self.goes_on_exactly:
            self.replay_buffer.leaves_out_next = False  # a callback that stopped training lost the step that it was meant for
        if reset_num_timesteps:  # the warm-up's end is counted from the same zero
            self._warmup_until = max(self._warmup_until - self.num_timesteps, 0)
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        self._stored_at = self.num_timesteps
        return result

    def _resume(self) -> None:
        super()._resume()
        if self.replay_buffer is not None and self.replay_buffer.size() == 0 and self.num_timesteps > 0:
            # The file of a model holds no replay buffer. Right after a switch it is empty anyway.
            if not self.position.has_just_switched(self.n_envs) or self.position.pending is not None:
                warnings.warn(
                    "The current task's transitions so far are not at hand (they are saved with save_replay_buffer(), or "
                    "--save-replay-buffer): training warms up again, and the task's memory will hold what comes from now on.",
                    stacklevel=2,
                )
            self._start_warmup()

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, *args: Any, **kwargs: Any) -> RolloutReturn:
        """See SB3."""
        safe_point(self, callback)
        return super().collect_rollouts(env, callback, *args, **kwargs)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        return super()._sample_action(max(learning_starts, self._warmup_until), action_noise, n_envs)

    def _store_transition(self, *args: Any, **kwargs: Any) -> None:
        super()._store_transition(*args, **kwargs)
        self._stored_at = self.num_timesteps

    def _step_in_flight(self) -> bool:
        return self.num_timesteps != self._stored_at

    def _leave_out_step_in_flight(self) -> None:
        if self.memory is not None:
            self.replay_buffer.leaves_out_next = True  # type: ignore[union-attr]

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """See SB3. Does nothing during a task's warm-up."""
        if self._warmup_until > 0 and self.num_timesteps <= self._warmup_until:
            return
        with self.cloning.in_force():
            super().train(gradient_steps, batch_size)

    # Saving and loading

    def _optional_states(self) -> dict[str, Any]:
        return {**super()._optional_states(), "cloning.memory": self.cloning.memory}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "cloning"]

    def save_replay_buffer(self, path: File) -> None:
        """
        See SB3. A file is replaced as a whole. The memory of old tasks is not in it: it is saved with the model.

        :param path: with the suffix ``.npz`` arrays without pickle are written, which :meth:`load_replay_buffer` reads with
            ``trust=False``; else SB3's pickle
        :raises ValueError: for ``.npz`` and a buffer that keeps more than arrays, such as HER's or one of your own
        """
        buffer_files.write(path, self)

    def load_replay_buffer(self, path: File, truncate_last_traj: bool = True, trust: bool = True) -> None:
        """
        See SB3. The memory stays the model's, whatever the file holds. Transitions of another task than the current one do not
        count for it; with ``reset_replay_buffer`` they are left out altogether. Both is said in a warning.

        From a buffer that the SB3 parent saved the transitions are taken.

        :param trust: whether code in the file may run, as reading a pickle can; a ``.npz`` file holds none
        :raises ValueError: for a pickle with ``trust=False``, a damaged file, or one that was filled on another env. The model
            keeps its buffer then.
        """
        loaded = buffer_files.read(path, self, truncate_last_traj, trust)
        buffer_files.check_spaces(loaded, self, path)
        of_task = buffer_files.is_of_current_task(loaded, self)
        if of_task or self.replay_buffer is None or not buffer_files.is_left_out(loaded, self, str(path)):
            self.replay_buffer = buffer_files.taken_over(loaded, self, of_task)

    @classmethod
    def from_sb3(cls: type[Self], model: BaseAlgorithm | str | pathlib.Path, env: Any = None, **arguments: Any) -> Self:
        """See :meth:`ProtectedAlgorithm.from_sb3`. The replay buffer is taken over too; its arrays are shared."""
        new = super().from_sb3(model, env, **arguments)
        if isinstance(model, OffPolicyAlgorithm):
            new.replay_buffer = buffer_files.taken_over(model.replay_buffer, new, of_task=True)
        return new

    def to_sb3(self) -> Any:
        """See :meth:`ProtectedAlgorithm.to_sb3`. The replay buffer goes with it; its arrays are shared."""
        new = super().to_sb3()
        new.replay_buffer = buffer_files.without_additions(self.replay_buffer, self.mixed_buffers)
        return new
