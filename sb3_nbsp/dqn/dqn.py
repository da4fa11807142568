"""NBSPDQN: DQN that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch.nn import functional as F

from sb3_nbsp.common.cpu_speedups import LearnsFaster
from sb3_nbsp.common.greedy import GreedyContinualAlgorithm
from sb3_nbsp.dqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps

SelfNBSPDQN = TypeVar("SelfNBSPDQN", bound="NBSPDQN")


class NBSPDQN(LearnsFaster, GreedyContinualAlgorithm, DQN):
    """
    Deep Q-Network with NBSP. DQN's arguments, then NBSP's, which :class:`~sb3_nbsp.sac.sac.NBSPSAC` describes.

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
    sb3_class = DQN
    target_networks = (("q_net", "q_net_target"),)

    def __init__(
        self,
        policy: str | type[DQNPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-4,
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
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
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
        self: SelfNBSPDQN,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "DQN",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfNBSPDQN:
        """See SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    # The loss of DQN.train(), on the scored steps. Only the online network runs inside the recorder.

    def _td_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """Huber(Q(s, a) - r - gamma (1 - d) max_a' Q'(s', a'))"""
        rewards, dones = self._tensor(rollout.rewards, rows), self._tensor(rollout.dones, rows)
        with th.no_grad():
            next_q = self.q_net_target(self._tensor(rollout.next_observations, rows)).max(dim=1).values
            target = rewards + self.gamma * (1 - dones) * next_q
        with recorder:
            q_values = self.q_net(self._tensor(rollout.observations, rows))
        actions = self._tensor(rollout.actions, rows).long()
        return F.smooth_l1_loss(q_values.gather(1, actions[:, None])[:, 0], target)
