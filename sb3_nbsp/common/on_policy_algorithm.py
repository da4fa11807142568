"""What on-policy NBSP algorithms add: a memory of old tasks' last rollouts, and two ways to rehearse it."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.arrays import to_tensors
from sb3_nbsp.checkpoints.safe_point import safe_point
from sb3_nbsp.common import buffer_requirements
from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.common.finite_checks import check_losses
from sb3_nbsp.common.other_statistics import that_normalizes
from sb3_nbsp.common.parents_arguments import check_keywords
from sb3_nbsp.common.position import FollowedSequence
from sb3_nbsp.common.ram_estimate import Part, rollout_buffer_bytes, scoring_bytes
from sb3_nbsp.common.rollout_rows import rollout_rows
from sb3_nbsp.neurons.scoring import BATCH_SIZE
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.rehearsal.cloning import cloning_loss, distribution_parameters
from sb3_nbsp.rehearsal.rollout_buffers import MixedDictRolloutBuffer, MixedRolloutBuffer, RolloutSamples

RECENT = "rollout_buffer.recent"  # the newest samples of the task that is learned
GIVEN_BY_SB3 = ("buffer_size", "observation_space", "action_space", "device", "gamma", "gae_lambda", "n_envs")
MEMORY_ARGUMENTS = ("memory_size", "replay_mode", "replay_interval", "old_task_fraction")


class OnPolicyContinualAlgorithm(ContinualAlgorithm, OnPolicyAlgorithm):
    """
    Base of the on-policy NBSP algorithms, to be mixed in before the SB3 parent.

    Where anything is to be kept of a task, its last rollout ends with it, is learned from, and then the task is consolidated.
    Else rollouts go on over a switch, as SB3's do; a task's last step ends its episode: no advantage reaches over it.
    """

    rehearsal: str
    replay_mode: str
    replay_interval: int
    old_task_fraction: float
    reset_log_std: bool

    optimizer_names = ("policy.optimizer",)
    clips_gradients = True
    buffer_name = "rollout_buffer"
    mixed_buffers: ClassVar[Mapping[Any, Any]] = {
        RolloutBuffer: MixedRolloutBuffer,
        DictRolloutBuffer: MixedDictRolloutBuffer,
    }

    reset_log_std_next: bool  # saved with the model

    batch_size: int  # of the SB3 parents

    _rollout_from: int = 0  # num_timesteps at the rollout's beginning
    _n_rollouts: int = 0  # complete ones of this learn(), also of before the checkpoint that it goes on from
    _is_new: bool = False  # whether load() has given it its attributes, and not yet its parameters

    def _init_state(self) -> None:
        super()._init_state()
        self.reset_log_std_next = False

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self.rehearsal == "clip" and self.memory_size > 0 and getattr(self, "target_kl", None) is not None:
            warnings.warn(
                'With rehearsal="clip" old samples count for target_kl and may end an update at once. Use rehearsal="clone", '
                "or target_kl=None.",
                stacklevel=2,
            )

    def _setup_model(self) -> None:
        self._check_parents_arguments()
        given = self.rollout_buffer_class
        if given is None:
            is_dict = isinstance(self.observation_space, spaces.Dict)
            self.rollout_buffer_class = MixedDictRolloutBuffer if is_dict else MixedRolloutBuffer
        assert self.rollout_buffer_class is not None
        check_keywords("rollout_buffer_kwargs", self.rollout_buffer_kwargs, self.rollout_buffer_class, GIVEN_BY_SB3)
        super()._setup_model()
        self._is_new = self.position.task is not None or len(self.learned_tasks) > 0

    def _apply_memory_settings(self) -> None:
        """Tell the buffer, which SB3 makes, what the model's settings are now."""
        if self.memory is not None:
            settings = {name: getattr(self, name) for name in MEMORY_ARGUMENTS}
            settings["mixes"] = self.rehearsal == "clip"
            # Without a memory nothing is kept that would have to be raw; without normalisation what is seen is raw.
            settings["vec_normalize"] = that_normalizes(self.env) if self.memory_size > 0 else None
            self.rollout_buffer.__dict__.update(settings)

    def _check_supported(self) -> None:
        super()._check_supported()
        buffer_requirements.check_rollout_buffer(self)

    def _footprint(self, n_tasks: int) -> list[Part]:
        """See :meth:`ContinualAlgorithm._footprint`."""
        seen = self.observation_space, self.action_space
        # The current task's newest samples are kept like those of an old one.
        kept = (n_tasks + 1) * rollout_buffer_bytes(*seen, self.memory_size)
        return [
            Part("rollout buffer", rollout_buffer_bytes(*seen, self.n_steps, self.n_envs), "n_steps"),
            Part(f"memory of {n_tasks} tasks", kept, "memory_size"),
            Part("scoring", scoring_bytes(self.observation_space, self.scoring_steps), "scoring_steps"),
        ]

    def _drop_unfinished_task(self) -> None:
        self.rollout_buffer.recent.reset()  # type: ignore[attr-defined]

    def _task_progress_remaining(self) -> float:
        # A rollout that ends with its task is learned from afterwards, and is still that task's.
        return 0.0 if self.position.pending is not None else super()._task_progress_remaining()

    # Learning

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        if not self.goes_on_exactly:
            self._n_rollouts = 0
        buffer_requirements.check_wrappers_order(self)  # by hand too: what comes to rehearse would be of no use
        return super()._setup_learn(*args, **kwargs)

    def dump_logs(self, iteration: int = 0) -> None:
        """See SB3, whose count of iterations begins at 1 in every ``learn()``, also where it goes on from a checkpoint."""
        super().dump_logs(self._n_rollouts if iteration > 0 else 0)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """See SB3. A task of which anything is to be kept ends its rollout, which is learned from before scoring."""
        safe_point(self, callback)
        self._apply_memory_settings()
        self._reset_log_std_if_due()
        self._rollout_from = self.num_timesteps
        left = self.position.steps_left() if self._protects else None
        rows = rollout_rows(left, n_rollout_steps, env.num_envs, self.batch_size)
        rollout_buffer.buffer_size = rows  # SB3 makes the arrays anew for each rollout
        is_complete = super().collect_rollouts(env, callback, rollout_buffer, rows)
        self._n_rollouts += is_complete
        return is_complete

    def begin_task(self, task: str) -> None:
        """See :meth:`ContinualAlgorithm.begin_task`."""
        super().begin_task(task)
        if self.is_learning:  # to load a model, which tells the memory the same, changes nothing
            self._reset_log_std_if_due()

    def _step_in_flight(self) -> bool:
        rows = (self.num_timesteps - self._rollout_from) // self.n_envs
        return not self.rollout_buffer.full and rows > self.rollout_buffer.pos

    def _leave_out_step_in_flight(self) -> None:
        if self.memory is not None:  # _end_rollout() has ended the task before it
            self.rollout_buffer.first_row_of_task += 1  # type: ignore[attr-defined]

    def _reset_log_std_if_due(self) -> None:
        """Not within a rollout: what it holds would look far from the policy."""
        if self.reset_log_std_next and self.rollout_buffer.pos in (0, self.rollout_buffer.buffer_size):
            self.policy.log_std.data.fill_(self.policy.log_std_init)
            self.reset_log_std_next = False

    def _follow(self, sequence: FollowedSequence) -> None:
        """See :meth:`ContinualAlgorithm._follow`. Warns of tasks that are shorter than a rollout."""
        super()._follow(sequence)
        shortest, rollout = min(sequence.segment_steps), self.n_steps * self.n_envs
        if self._protects and shortest < rollout:
            warnings.warn(
                f"A task has {shortest} env steps and a rollout {rollout}: the rollout ends with the task, and the policy is "
                "updated once on it. Lower n_steps, or give the tasks more steps.",
                stacklevel=2,
            )

    def train(self) -> None:
        """See SB3. With ``rehearsal="clone"`` steps of cloning follow."""
        buffer: Any = self.rollout_buffer
        n_before = buffer.n_batches if self.memory is not None else 0
        super().train()
        if self.rehearsal == "clone" and self.memory is not None and buffer.rehearses:
            self._clone_old_tasks(n_before, buffer.n_batches)

    def _clone_old_tasks(self, n_before: int, n_after: int) -> None:
        """
        Gradient steps on old samples: in ``interval`` mode one for every ``replay_interval`` minibatches of the update, in
        ``share`` mode a smaller one for each.

        :param n_before: minibatches of all updates up to this one
        :param n_after: the same, with this one
        """
        n_steps, n_samples = n_after // self.replay_interval - n_before // self.replay_interval, self.batch_size
        if self.replay_mode == "share":
            n_steps, n_samples = n_after - n_before, round(self.old_task_fraction * self.batch_size)
        losses = []
        for _ in range(n_steps if n_samples > 0 else 0):
            loss = self._cloning_loss(self.rollout_buffer.sample_memory(n_samples))  # type: ignore[attr-defined]
            self.policy.optimizer.zero_grad()
            loss.backward()
            th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.detach())
        if losses:
            self.logger.record("nbsp/cloning_loss", float(th.stack(losses).mean()))
            check_losses(self)

    def _cloning_loss(self, old: RolloutSamples) -> th.Tensor:
        buffer = self.rollout_buffer
        observations = to_tensors(old.observations, self.device)
        return cloning_loss(
            buffer.to_torch(old.distributions),
            self.policy.get_distribution(observations),
            buffer.to_torch(old.values),
            self.policy.predict_values(observations),
            self.vf_coef,
            hold_spread=self.use_sde,  # gSDE's depends on the observation
        )

    # The end of a task

    def _prepare_next_task(self) -> None:
        super()._prepare_next_task()
        # What a mastered task left is too little exploration for the next.
        self.reset_log_std_next = self.reset_log_std and not self.use_sde and hasattr(self.policy, "log_std")

    def consolidate(self, env: gym.Env | VecEnv | None = None, task: str | None = None) -> SkillNeurons | None:
        """See :meth:`ContinualAlgorithm.consolidate`."""
        self._apply_memory_settings()
        if self.memory is not None:
            self._end_rollout()  # before scoring, which may use the training env
        return super().consolidate(env, task)

    @th.no_grad()
    def _end_rollout(self) -> None:
        self.policy.set_training_mode(False)
        last_values, dones = th.zeros(self.n_envs), np.ones(self.n_envs)
        if self._last_obs is not None and self._last_episode_starts is not None:  # else the episode is lost
            last_values = self.policy.predict_values(obs_as_tensor(self._last_obs, self.device))
            dones = self._last_episode_starts
        self.rollout_buffer.end_task(last_values, dones)  # type: ignore[attr-defined]

    def _remember_task(self, index: int) -> None:
        if self.memory is not None and self.memory_size > 0:
            self._remember(index)

    @th.no_grad()
    def _remember(self, index: int) -> None:
        """Note what the policy, as it is now, does in the task's last observations."""
        buffer: Any = self.rollout_buffer
        samples = buffer.recent.take(self.memory_size)
        if samples is None:
            warnings.warn(
                "No step of the task that ends is at hand, so none can be rehearsed. A model that was saved before its first "
                "task ended has them in its file if begin_task() was called; the callback of a task sequence does it.",
                stacklevel=2,
            )
            return
        values, distributions = [], []
        for start in range(0, len(samples), BATCH_SIZE):
            part = buffer.normalized(samples.rows(slice(start, start + BATCH_SIZE)))
            observations = to_tensors(part.observations, self.device)
            values.append(self.policy.predict_values(observations).flatten().cpu().numpy())
            distributions.append(distribution_parameters(self.policy.get_distribution(observations)).cpu().numpy())
        samples = replace(samples, values=np.concatenate(values), distributions=np.concatenate(distributions))
        buffer.remember(index, samples)

    def _maybe_recommend_cpu(self, mlp_class_name: str = "NBSPPPOPolicy") -> None:
        super()._maybe_recommend_cpu(mlp_class_name)  # it knows the policy by its name

    # Saving and loading

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto") -> None:
        """See :meth:`ContinualAlgorithm.set_parameters`. The newest samples stay the model's: a file's are of its own task."""
        recent = None if self._is_new else self._optional_states().get(RECENT)
        own = None if recent is None else recent.state_dict()
        super().set_parameters(load_path_or_dict, exact_match, device)
        self._is_new = False
        if recent is not None:
            recent.load_state_dict(own)

    def _parameters_for(self, found: dict[str, Any]) -> dict[str, Any]:
        return found if self._is_new else {name: state for name, state in found.items() if name != RECENT}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_is_new"]

    def _optional_states(self) -> dict[str, Any]:
        recent = {} if self.memory is None else {RECENT: self.rollout_buffer.recent}  # type: ignore[attr-defined]
        return {**super()._optional_states(), **recent}

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        if not self.learned_tasks and self.position.task is None:  # a file has the parent's form
            state_dicts = [name for name in state_dicts if name != RECENT]
        return state_dicts, variables
