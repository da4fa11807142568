"""NBSPQRDQN: QR-DQN that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from sb3_nbsp.base.arguments import documented
from sb3_nbsp.common import arguments as arg
from sb3_nbsp.common import parents_arguments
from sb3_nbsp.common.faster_updates import FasterUpdates
from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.qrdqn.cloned_outputs import CLONED
from sb3_nbsp.qrdqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_nbsp.qrdqn.scoring_losses import LOSSES

SelfNBSPQRDQN = TypeVar("SelfNBSPQRDQN", bound="NBSPQRDQN")


@documented
class NBSPQRDQN(FasterUpdates, OffPolicyContinualAlgorithm, QRDQN):
    """
    Quantile Regression DQN (sb3-contrib) with NBSP. QRDQN's arguments, then NBSP's.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = QRDQN
    parents_arguments = parents_arguments.OF_QRDQN
    optimizer_names = ("policy.optimizer",)
    clips_gradients = True
    scoring_losses = LOSSES
    cloned_outputs = CLONED
    target_networks = (("quantile_net", "quantile_net_target"),)

    def __init__(
        self,
        policy: str | type[QRDQNPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 5e-5,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        target_update_interval: int = 10000,
        exploration_fraction: float = 0.005,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.01,
        max_grad_norm: float | None = None,
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
        rehearsal: arg.OffPolicyRehearsal = "replay",
        replay_mode: arg.ReplayMode = "interval",
        replay_interval: arg.ReplayInterval = 10,
        old_task_fraction: arg.OldTaskFraction = 0.5,
        clone_coef: arg.CloneCoef = 10.0,
        clone_batch_size: arg.CloneBatchSize = 32,
        clone_target: arg.CloneTarget = "outputs",
        clone_temperature: arg.CloneTemperature = 0.1,
        reset_replay_buffer: arg.ResetReplayBuffer = True,
        reset_optimizer: arg.ResetOptimizer = False,
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
        self: SelfNBSPQRDQN,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "QRDQN",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfNBSPQRDQN:
        """See SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
