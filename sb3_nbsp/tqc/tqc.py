"""NBSPTQC: TQC that keeps what it learned before."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import torch as th
from sb3_contrib import TQC
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from sb3_nbsp.base.arguments import documented
from sb3_nbsp.common import arguments as arg
from sb3_nbsp.common import max_entropy, parents_arguments
from sb3_nbsp.common.cloning_term import SOFT_ACTOR
from sb3_nbsp.common.faster_updates import FasterUpdates
from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.tqc.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_nbsp.tqc.scoring_losses import LOSSES

SelfNBSPTQC = TypeVar("SelfNBSPTQC", bound="NBSPTQC")


@documented
class NBSPTQC(FasterUpdates, OffPolicyContinualAlgorithm, TQC):
    """
    Truncated Quantile Critics (sb3-contrib) with NBSP. TQC's arguments, then NBSP's.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = TQC
    parents_arguments = parents_arguments.MAX_ENTROPY
    optimizer_names = ("actor.optimizer", "critic.optimizer")
    target_networks = (("critic", "critic_target"),)
    scoring_losses = LOSSES
    cloned_outputs = SOFT_ACTOR
    at_task_bounds = max_entropy.OWN_ENT_COEF

    reset_ent_coef: Any
    log_ent_coefs: Sequence[float | None] = ()  # saved with the model: what each task's last visit ended with, if noted
    begins_with_own_ent_coef: bool = False  # so is this: whether the next visit begins with its task's own, if it has one

    def __init__(
        self,
        policy: str | type[TQCPolicy],
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
        top_quantiles_to_drop_per_net: int = 2,
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
        fast_update: arg.FastUpdate = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ):
        self._construct(locals())

    def learn(
        self: SelfNBSPTQC,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "TQC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfNBSPTQC:
        """See SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        n_quantiles, dropped = self.policy_kwargs.get("n_quantiles", 25), self.top_quantiles_to_drop_per_net
        if dropped >= n_quantiles:
            raise ValueError(
                f"top_quantiles_to_drop_per_net must be below n_quantiles, the {n_quantiles} of each critic; got {dropped}."
            )
