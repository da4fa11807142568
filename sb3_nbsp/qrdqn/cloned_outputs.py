"""What is cloned of QR-DQN: the means of the quantiles, by which it acts, see :mod:`sb3_nbsp.common.cloning_term`."""

from typing import Any

import torch as th

from sb3_nbsp.common.cloning_term import ClonedOutputs
from sb3_nbsp.rehearsal.cloning import softmax_kl


def _q_values(model: Any, observations: Any) -> th.Tensor:
    """Q(s, a) = mean of the quantiles, [batch, n_actions]."""
    return model.quantile_net(observations).mean(dim=1)


CLONED = ClonedOutputs(
    optimizer="policy.optimizer",
    outputs=_q_values,
    divergence=lambda model, observations, kept: softmax_kl(kept, _q_values(model, observations), model.clone_temperature),
    n_outputs=lambda model: int(model.action_space.n),
)
