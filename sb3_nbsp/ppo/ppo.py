"""NBSPPPO: PPO that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from sb3_nbsp.base.arguments import documented
from sb3_nbsp.common import arguments as arg
from sb3_nbsp.common import parents_arguments
from sb3_nbsp.common.faster_updates import FasterUpdates
from sb3_nbsp.common.on_policy_algorithm import OnPolicyContinualAlgorithm
from sb3_nbsp.ppo.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_nbsp.ppo.scoring_losses import LOSSES

SelfNBSPPPO = TypeVar("SelfNBSPPPO", bound="NBSPPPO")


@documented
class NBSPPPO(FasterUpdates, OnPolicyContinualAlgorithm, PPO):
    """
    Proximal Policy Optimization with NBSP. PPO's arguments, then NBSP's.

    PPO has no replay buffer. What is rehearsed are the last steps of each old task, kept from its last rollouts. A
    task's last rollout ends with it; only with ``skill_fraction=0`` and ``memory_size=0`` does a rollout go on over the
    switch, as PPO's own does. A task's last step ends its episode, so that no advantage reaches over the switch.

    Only ``rollout_buffer_class=None`` stands for the fitting mixed buffer of this package instead of SB3's.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = PPO
    parents_arguments = parents_arguments.ON_POLICY
    scoring_losses = LOSSES

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        target_kl: float | None = None,
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
        memory_size: arg.MemorySteps = 10_000,
        rehearsal: arg.Rehearsal = "clone",
        replay_mode: arg.MinibatchReplayMode = "interval",
        replay_interval: arg.ReplayInterval = 10,
        old_task_fraction: arg.OldTaskFraction = 0.5,
        reset_optimizer: arg.ResetOptimizer = False,
        reset_log_std: arg.ResetLogStd = True,
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
        self: SelfNBSPPPO,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "PPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfNBSPPPO:
        """See SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
