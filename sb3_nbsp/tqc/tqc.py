"""NBSPTQC: TQC that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from sb3_contrib import TQC
from sb3_contrib.common.utils import quantile_huber_loss
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from sb3_nbsp.common.cpu_speedups import LearnsFaster
from sb3_nbsp.common.max_entropy import SoftContinualAlgorithm
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.tqc.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

SelfNBSPTQC = TypeVar("SelfNBSPTQC", bound="NBSPTQC")


class NBSPTQC(LearnsFaster, SoftContinualAlgorithm, TQC):
    """
    Truncated Quantile Critics (sb3-contrib) with NBSP. TQC's arguments, then NBSP's, which
    :class:`~sb3_nbsp.sac.sac.NBSPSAC` describes.

    :param fast_update: fused Adam and, for convolutions, channels in the last dimension (on the CPU): faster, and the same
        up to rounding instead of bit for bit
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = TQC

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
        skill_fraction: float = 0.2,
        mask_coef: float = 0.2,
        mask_target: str = "update",
        mask_networks: str = "all",
        mask_sides: str = "incoming",
        mask_output_biases: bool = False,
        task_gates: bool = False,
        score: str = "published",
        select_among: str = "all",
        goal_metric: str = "auto",
        scoring_steps: int = 5_000,
        memory_size: int = 10_000,
        memory_retention: str = "uniform",
        replay_mode: str = "interval",
        replay_interval: int = 10,
        old_task_fraction: float = 0.5,
        reset_replay_buffer: bool = True,
        reset_optimizer: bool = False,
        reset_ent_coef: bool = True,
        task_warmup: int | None = None,
        schedules_per_task: bool = True,
        fast_update: bool = False,
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

    # The losses of TQC.train(), on the scored steps. Only the network whose neurons are scored runs inside the recorder.

    def _q_value(self, observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Mean over nets and quantiles, [batch]"""
        return self.critic(observations, actions).mean(dim=(1, 2))

    def _critic_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """Quantile Huber loss to the truncated mixture of the target quantiles (Kuznetsov et al. 2020, eq. 9 to 12)."""
        with th.no_grad():
            next_observations, next_actions, next_log_prob = self._next_step(rollout, rows)
            quantiles = self.critic_target(next_observations, next_actions).flatten(start_dim=1).sort(dim=1).values
            n_kept = self.critic.quantiles_total - self.top_quantiles_to_drop_per_net * self.critic.n_critics
            next_value = quantiles[:, :n_kept] - self._current_ent_coef() * next_log_prob[:, None]
            target = self._discounted_target(rollout, rows, next_value)[:, None]  # [batch, 1, n_kept]
        with recorder:
            current = self.critic(self._tensor(rollout.observations, rows), self._tensor(rollout.actions, rows))
        return quantile_huber_loss(current, target, sum_over_quantiles=False)
