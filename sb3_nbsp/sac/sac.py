"""NBSPSAC: SAC that keeps what it learned before."""

from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch.nn import functional as F

from sb3_nbsp.common.max_entropy import SoftContinualAlgorithm
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.sac.fast_sac import FastSAC
from sb3_nbsp.sac.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

SelfNBSPSAC = TypeVar("SelfNBSPSAC", bound="NBSPSAC")


class NBSPSAC(SoftContinualAlgorithm, FastSAC):
    """
    Soft Actor-Critic with NBSP (arXiv 2504.08000): at the end of a task, the neurons that carry its skill are found and
    held, and some of its transitions are kept and rehearsed while the next tasks are learned.

    A drop-in for ``SAC``: until a task is consolidated (by the env of a task sequence, or by ``consolidate()``) it does
    what ``SAC`` does; with ``fast_update=False`` bit for bit.

    The arguments of SAC, up to ``use_sde_at_warmup`` and from ``stats_window_size`` on, are SB3's. Only
    ``replay_buffer_class=None`` stands for the fitting mixed buffer of this package instead of SB3's.

    :param skill_fraction: m, share of each network's neurons that are held per task, in [0, 1]; 0 switches the masks off
    :param mask_coef: alpha, in [0, 1]: a skill neuron's factor is alpha * (1 - score); 0 holds it completely
    :param mask_target: ``update``: the factor scales the change that the optimizer makes; ``gradient``: it scales the
        gradient (as published; Adam undoes a constant factor, see docs/design.md)
    :param mask_networks: ``all``, or the neurons of the ``actor`` or the ``critic`` only
    :param mask_sides: ``incoming``: the weights and bias that feed a skill neuron are held (as published);
        ``outgoing``: the weights that read it, also in the output layers; ``both``
    :param mask_output_biases: hold the output layers' biases too
    :param task_gates: let skill neurons answer to their own task only, so that it cannot be lost
        (:mod:`sb3_nbsp.protection.gates`). Needs a task sequence with ``task_id=True`` and an MLP with ReLU. Neurons are
        chosen layer by layer, and held completely on both sides: ``mask_coef``, ``mask_sides`` and ``mask_output_biases``
        do not count. No memory is needed.
    :param score: ``published``, ``corrected`` (balanced accuracy, for tasks where nearly all steps are good), or the
        controls ``random``, ``activity``, ``dormant``, ``taylor``
    :param select_among: choose skill neurons among ``all``, or only among the ``active`` ones (not zero on every scored step)
    :param goal_metric: q(t): ``success`` of the step, ``reward`` of the step, ``return`` of the episode, or ``auto``:
        success where the env tells it, else the return
    :param scoring_steps: T, env steps for which the policy is run at the end of a task to score its neurons
    :param memory_size: transitions kept per old task; 0 switches the memory off
    :param memory_retention: keep a ``uniform`` sample of the task's transitions, or the most ``recent`` ones
    :param replay_mode: ``interval``: every ``replay_interval``-th gradient step draws its whole batch from the memory (as
        published); ``share``: a share ``old_task_fraction`` of every batch does
    :param replay_interval: k, in gradient steps
    :param old_task_fraction: share of a batch, in [0, 1]
    :param reset_replay_buffer: empty the current task's replay buffer at a switch. NBSP keeps two buffers, the current
        task's and the memory; SB3's SAC goes on filling one.
    :param reset_optimizer: forget the optimizers' moments at a switch
    :param reset_ent_coef: set a learned entropy coefficient back to its initial value at a switch: a small one left over
        from a mastered task stops exploration in the next
    :param task_warmup: env steps after a switch with random actions and without training, where the replay buffer was
        emptied; default: ``learning_starts``
    :param schedules_per_task: let schedules (of the learning rate) follow each task's own progress instead of the whole run's
    :param fast_update: ``auto``: gradient steps are computed without autograd where that is the same (an MLP with ReLU and
        Adam, on the CPU), up to rounding, else with autograd and less waste; ``True``: without autograd, or an error that
        says why not; ``False``: by SB3's own ``train()``, bit for bit. ``update_path`` tells what is used.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    sb3_class = SAC

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
        fast_update: str | bool = "auto",
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
        self: SelfNBSPSAC,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "SAC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfNBSPSAC:
        """See SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    # The losses of SAC.train(), on the scored steps. Only the network whose neurons are scored runs inside the recorder.

    def _q_value(self, observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """min_i Q_i(s, a), [batch]"""
        return th.cat(self.critic(observations, actions), dim=1).min(dim=1).values

    def _critic_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """1/2 sum_i mean[ (Q_i(s, a) - y)^2 ], y = r + gamma (1 - d) (min_i Q'_i(s', a') - alpha log pi(a'|s'))"""
        with th.no_grad():
            next_observations, next_actions, next_log_prob = self._next_step(rollout, rows)
            next_q = th.cat(self.critic_target(next_observations, next_actions), dim=1).min(dim=1).values
            target = self._discounted_target(rollout, rows, next_q - self._current_ent_coef() * next_log_prob)
        with recorder:
            q_values = self.critic(self._tensor(rollout.observations, rows), self._tensor(rollout.actions, rows))
        return 0.5 * th.stack([F.mse_loss(q[:, 0], target) for q in q_values]).sum()
