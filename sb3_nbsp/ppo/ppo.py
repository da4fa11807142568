"""NBSPPPO: PPO that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule

from sb3_nbsp.common.cpu_speedups import LearnsFaster
from sb3_nbsp.common.on_policy_algorithm import OnPolicyContinualAlgorithm
from sb3_nbsp.ppo.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

SelfNBSPPPO = TypeVar("SelfNBSPPPO", bound="NBSPPPO")


class NBSPPPO(LearnsFaster, OnPolicyContinualAlgorithm, PPO):
    """
    Proximal Policy Optimization with NBSP. PPO's arguments, then NBSP's, of which
    :class:`~sb3_nbsp.sac.sac.NBSPSAC` describes those not listed here.

    PPO has no replay buffer. What is rehearsed are the last steps of each old task, kept from its last rollouts. A rollout
    in which the task switches is learned from as a whole: a task's last step ends its episode, so that no advantage reaches
    over the switch.

    Only ``rollout_buffer_class=None`` stands for the fitting mixed buffer of this package instead of SB3's.

    :param memory_size: steps kept per old task, its last ones; 0 switches the memory off
    :param rehearsal: ``clone``: hold the action distribution (KL divergence) and the values on old observations to what they
        were at the old task's end, in gradient steps of their own after each update; ``clip``: mix the old samples into the
        minibatches, with PPO's clipped objective against their stored log-probabilities and their stored returns as the
        critic's target. With ``target_kl`` they count too. Why ``clone`` is the default: docs/experiments.md
    :param replay_mode: ``interval``: a minibatch of old samples comes for every ``replay_interval`` of the rollout's;
        ``share``: a share ``old_task_fraction`` of every minibatch (as many samples, with ``clone``) is old
    :param replay_interval: k, in minibatches
    :param old_task_fraction: share of a minibatch, in [0, 1]
    :param reset_log_std: set a standard deviation that does not depend on the observation back to its initial value at a
        switch: a small one left over from a mastered task stops exploration in the next
    :param schedules_per_task: schedules (learning rate, clip range) follow each task's own progress instead of the whole
        run's
    :param fast_update: fused Adam and, for convolutions, channels in the last dimension (on the CPU): faster, and the same
        up to rounding instead of bit for bit
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = PPO

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
        rehearsal: str = "clone",
        replay_mode: str = "interval",
        replay_interval: int = 10,
        old_task_fraction: float = 0.5,
        reset_optimizer: bool = False,
        reset_log_std: bool = True,
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
