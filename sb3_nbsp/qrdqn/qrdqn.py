"""NBSPQRDQN: QR-DQN that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.common.utils import quantile_huber_loss
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from sb3_nbsp.common.cpu_speedups import LearnsFaster
from sb3_nbsp.common.greedy import GreedyContinualAlgorithm
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.qrdqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

SelfNBSPQRDQN = TypeVar("SelfNBSPQRDQN", bound="NBSPQRDQN")


class NBSPQRDQN(LearnsFaster, GreedyContinualAlgorithm, QRDQN):
    """
    Quantile Regression DQN (sb3-contrib) with NBSP. QRDQN's arguments, then NBSP's, which
    :class:`~sb3_nbsp.sac.sac.NBSPSAC` describes.

    :param schedules_per_task: epsilon (and every other schedule) follows each task's own progress, so that every task is
        explored, instead of the whole run's
    :param fast_update: fused Adam and, for convolutions, channels in the last dimension (on the CPU): faster, and the same
        up to rounding instead of bit for bit
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = QRDQN
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

    # The loss of QRDQN.train(), on the scored steps. Only the online network runs inside the recorder.

    def _td_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """Quantile Huber loss to r + gamma (1 - d) Z'(s', argmax_a' mean Z'(s', a')) (Dabney et al. 2018, eq. 10, 13)"""
        rewards, dones = self._tensor(rollout.rewards, rows)[:, None], self._tensor(rollout.dones, rows)[:, None]
        with th.no_grad():
            # [batch, n_quantiles, n_actions]
            next_quantiles = self.quantile_net_target(self._tensor(rollout.next_observations, rows))
            greedy = next_quantiles.mean(dim=1).argmax(dim=1)
            target = rewards + self.gamma * (1 - dones) * _of_action(next_quantiles, greedy)
        with recorder:
            quantiles = self.quantile_net(self._tensor(rollout.observations, rows))
        current = _of_action(quantiles, self._tensor(rollout.actions, rows).long())
        return quantile_huber_loss(current, target, sum_over_quantiles=True)


def _of_action(quantiles: th.Tensor, actions: th.Tensor) -> th.Tensor:
    """
    :param quantiles: [batch, n_quantiles, n_actions]
    :param actions: [batch]
    :return: the actions' quantiles, [batch, n_quantiles]
    """
    return quantiles.take_along_dim(actions[:, None, None], dim=2)[:, :, 0]
