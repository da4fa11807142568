"""TQC's losses on scored steps, see :mod:`sb3_nbsp.common.scoring_losses`."""

import numpy as np
import torch as th
from sb3_contrib import TQC
from sb3_contrib.common.utils import quantile_huber_loss

from sb3_nbsp.common.scoring_losses import (
    discounted_target,
    entropy_coefficient,
    next_action,
    soft_actor_loss,
    state_action,
)
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps


def actor_loss(model: TQC, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """mean[ alpha log pi(a|s) - mean over nets and quantiles of Z(s, a) ]"""

    def mean_q(observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        return model.critic(observations, actions).mean(dim=(1, 2))

    return soft_actor_loss(model, steps, rows, recorder, mean_q)


def critic_loss(model: TQC, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """Quantile Huber loss to the truncated mixture of the target quantiles (Kuznetsov et al. 2020, eq. 9 to 12)."""
    with th.no_grad():
        next_observations, actions, log_prob = next_action(model, steps, rows)
        quantiles = model.critic_target(next_observations, actions).flatten(start_dim=1).sort(dim=1).values
        n_kept = model.critic.quantiles_total - model.top_quantiles_to_drop_per_net * model.critic.n_critics
        next_value = quantiles[:, :n_kept] - entropy_coefficient(model) * log_prob[:, None]
        target = discounted_target(model, steps, rows, next_value)[:, None]  # [batch, 1, n_kept]
    with recorder:
        current = model.critic(*state_action(model, steps, rows))
    return quantile_huber_loss(current, target, sum_over_quantiles=False)


LOSSES = {"actor": actor_loss, "critic": critic_loss}
