"""QR-DQN's loss on scored steps, see :mod:`sb3_nbsp.common.scoring_losses`."""

import numpy as np
import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.common.utils import quantile_huber_loss

from sb3_nbsp.base.arrays import rows_as_tensors
from sb3_nbsp.common.scoring_losses import discounted_target, state_action
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps


def td_loss(model: QRDQN, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """Quantile Huber loss to r + gamma (1 - d) Z'(s', argmax_a' mean Z'(s', a')) (Dabney et al. 2018, eq. 10, 13)"""
    with th.no_grad():
        # [batch, n_quantiles, n_actions]
        next_quantiles = model.quantile_net_target(rows_as_tensors(steps.next_observations, rows, model.device))
        greedy = next_quantiles.mean(dim=1).argmax(dim=1)
        target = discounted_target(model, steps, rows, _of_action(next_quantiles, greedy))
    observations, actions = state_action(model, steps, rows)
    with recorder:
        quantiles = model.quantile_net(observations)
    return quantile_huber_loss(_of_action(quantiles, actions.long()), target, sum_over_quantiles=True)


def _of_action(quantiles: th.Tensor, actions: th.Tensor) -> th.Tensor:
    """
    :param quantiles: [batch, n_quantiles, n_actions]
    :param actions: [batch]
    :return: the actions' quantiles, [batch, n_quantiles]
    """
    return quantiles.take_along_dim(actions[:, None, None], dim=2)[:, :, 0]


LOSSES = {"critic": td_loss}
