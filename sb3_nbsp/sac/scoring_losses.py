"""SAC's losses on scored steps, see :mod:`sb3_nbsp.common.scoring_losses`."""

import numpy as np
import torch as th
from stable_baselines3 import SAC
from torch.nn import functional as F

from sb3_nbsp.common.scoring_losses import (
    discounted_target,
    entropy_coefficient,
    next_action,
    soft_actor_loss,
    state_action,
)
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps


def actor_loss(model: SAC, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """mean[ alpha log pi(a|s) - min_i Q_i(s, a) ]"""

    def smallest_q(observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        return th.cat(model.critic(observations, actions), dim=1).min(dim=1).values

    return soft_actor_loss(model, steps, rows, recorder, smallest_q)


def critic_loss(model: SAC, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """1/2 sum_i mean[ (Q_i(s, a) - y)^2 ], y = r + gamma (1 - d) (min_i Q'_i(s', a') - alpha log pi(a'|s'))"""
    with th.no_grad():
        next_observations, actions, log_prob = next_action(model, steps, rows)
        next_q = th.cat(model.critic_target(next_observations, actions), dim=1).min(dim=1).values
        target = discounted_target(model, steps, rows, next_q - entropy_coefficient(model) * log_prob)
    with recorder:
        q_values = model.critic(*state_action(model, steps, rows))
    return 0.5 * th.stack([F.mse_loss(q[:, 0], target) for q in q_values]).sum()


LOSSES = {"actor": actor_loss, "critic": critic_loss}
