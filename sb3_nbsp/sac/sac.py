"""NBSPSAC: SAC that keeps what it learned before."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import torch as th
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.sac.policies import SACPolicy

from sb3_nbsp.base.arguments import documented
from sb3_nbsp.base.random_states import RandomStates
from sb3_nbsp.common import arguments as arg
from sb3_nbsp.common import max_entropy, parents_arguments
from sb3_nbsp.common.cloning_term import SOFT_ACTOR
from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.sac.fast_sac import FastSAC
from sb3_nbsp.sac.fastest_device import fastest_device
from sb3_nbsp.sac.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_nbsp.sac.scoring_losses import LOSSES

SelfNBSPSAC = TypeVar("SelfNBSPSAC", bound="NBSPSAC")


@documented
class NBSPSAC(OffPolicyContinualAlgorithm, FastSAC):
    """
    Soft Actor-Critic with NBSP (arXiv 2504.08000): at the end of a task, the neurons that carry its skill are found and
    held, and some of its observations are kept, in which the policy is held to what it did (cloned) while the next tasks are
    learned. By measurement the cloning keeps the tasks, not the masks (docs/evidence.md): ``skill_fraction=0`` switches these
    off. What the paper published is one argument away: ``NBSPSAC(..., **PUBLISHED)``.

    A drop-in for ``SAC``: until a task is consolidated (by the env of a task sequence, or by ``consolidate()``) it does
    what ``SAC`` does; with ``fast_update=False`` bit for bit.

    The arguments of SAC, up to ``use_sde_at_warmup`` and from ``stats_window_size`` on, are SB3's. Only
    ``replay_buffer_class=None`` stands for the fitting mixed buffer of this package instead of SB3's, and
    ``device="fastest"`` for the device that :func:`~sb3_nbsp.sac.fastest_device.fastest_device` names.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = SAC
    parents_arguments = parents_arguments.MAX_ENTROPY
    optimizer_names = ("actor.optimizer", "critic.optimizer")
    target_networks = (("critic", "critic_target"),)
    scoring_losses = LOSSES
    cloned_outputs = SOFT_ACTOR
    at_task_bounds = max_entropy.OWN_ENT_COEF

    reset_ent_coef: Any
    log_ent_coefs: Sequence[float | None] = ()  # saved with the model: what each task's last visit ended with, if noted
    begins_with_own_ent_coef: bool = False  # so is this: whether the next visit begins with its task's own, if it has one
    random_states: RandomStates

    def __init__(
        self,
        policy: str | type[SACPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        action_noise: ActionNoise | None = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        ent_coef: str | float = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float = "auto",
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        use_sde_at_warmup: bool = False,
        skill_fraction: arg.SkillFraction = 0.2,
        mask_coef: arg.MaskCoef = 0.2,
        mask_target: arg.MaskTarget = "update",
        mask_networks: arg.MaskNetworks = "all",
        mask_sides: arg.MaskSides = "incoming",
        mask_output_biases: arg.MaskOutputBiases = False,
        task_gates: arg.TaskGates = False,
        score: arg.Score = "corrected",
        select_among: arg.SelectAmong = "active",
        goal_metric: arg.GoalMetric = "auto",
        scoring_steps: arg.ScoringSteps = 5_000,
        memory_size: arg.MemorySize = 10_000,
        memory_retention: arg.MemoryRetention = "uniform",
        rehearsal: arg.OffPolicyRehearsal = "clone",
        replay_mode: arg.ReplayMode = "interval",
        replay_interval: arg.ReplayInterval = 10,
        old_task_fraction: arg.OldTaskFraction = 0.5,
        clone_coef: arg.CloneCoef = 100.0,
        clone_batch_size: arg.CloneBatchSize = 128,
        clone_target: arg.CloneTarget = "outputs",
        reset_replay_buffer: arg.ResetReplayBuffer = True,
        reset_optimizer: arg.ResetOptimizer = False,
        reset_ent_coef: arg.ResetEntCoef = "new_tasks",
        task_warmup: arg.TaskWarmup = None,
        schedules_per_task: arg.SchedulesPerTask = True,
        fast_update: arg.SACFastUpdate = "auto",
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ):
        if device == "fastest":
            device = fastest_device(locals())
        self._construct(locals())

    def learn(
        self: SelfNBSPSAC,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "SAC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfNBSPSAC:
        """See SB3."""
        super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        self.random_states = RandomStates()
        return self

    def _setup_model(self) -> None:
        super()._setup_model()
        self.random_states = RandomStates()  # where a population has it go on

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "random_states"]
