"""DQN's loss on scored steps, see :mod:`sb3_nbsp.common.scoring_losses`."""

import numpy as np
import torch as th
from stable_baselines3 import DQN
from torch.nn import functional as F

from sb3_nbsp.base.arrays import rows_as_tensors
from sb3_nbsp.common.scoring_losses import discounted_target, state_action
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps


def td_loss(model: DQN, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """Huber(Q(s, a) - r - gamma (1 - d) max_a' Q'(s', a'))"""
    with th.no_grad():
        next_q = model.q_net_target(rows_as_tensors(steps.next_observations, rows, model.device)).max(dim=1).values
        target = discounted_target(model, steps, rows, next_q)
    observations, actions = state_action(model, steps, rows)
    with recorder:
        q_values = model.q_net(observations)
    return F.smooth_l1_loss(q_values.gather(1, actions.long()[:, None])[:, 0], target)


LOSSES = {"critic": td_loss}
