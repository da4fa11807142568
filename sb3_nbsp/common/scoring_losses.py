"""
The losses of the algorithms, on scored steps: how the networks run while their neurons are scored.

Each is what the algorithm's own ``train()`` minimises, written once more as a function of a model and of
:class:`~sb3_nbsp.neurons.rollout.ScoringSteps`. Only the network whose neurons are scored runs inside the recorder. They are
never trained on: learning is SB3's ``train()`` and, for SAC, ``sac/fast_update.py``.

Here is what soft actor-critics share; each algorithm's own losses stand in its folder.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

from sb3_nbsp.base.arrays import rows_as_tensors
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps

# (model, T steps, rows [batch], recorder) -> the loss of one part of the model, a scalar
ScoringLoss = Callable[[Any, ScoringSteps, np.ndarray, ActivationRecorder], th.Tensor]


def soft_actor_loss(
    model: Any,
    steps: ScoringSteps,
    rows: np.ndarray,
    recorder: ActivationRecorder,
    q_value: Callable[[th.Tensor, th.Tensor], th.Tensor],
) -> th.Tensor:
    """
    mean[ alpha log pi(a|s) - Q(s, a) ], a ~ pi(s) (Haarnoja et al. 2018, eq. 7)

    :param q_value: what the actor maximises, of observations and actions, [batch]
    """
    observations = rows_as_tensors(steps.observations, rows, model.device)
    with recorder:
        actions, log_prob = model.actor.action_log_prob(observations)
    return (entropy_coefficient(model) * log_prob - q_value(observations, actions)).mean()


def next_action(model: Any, steps: ScoringSteps, rows: np.ndarray) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
    """Next observations, actions there and their log-probabilities [batch]."""
    observations = rows_as_tensors(steps.next_observations, rows, model.device)
    return observations, *model.actor.action_log_prob(observations)


def discounted_target(model: Any, steps: ScoringSteps, rows: np.ndarray, next_value: th.Tensor) -> th.Tensor:
    """
    r + gamma (1 - d) V(s')

    :param next_value: V(s'), [batch, ...]
    :return: in its shape
    """
    shape = (-1,) + (1,) * (next_value.dim() - 1)
    rewards, dones = (rows_as_tensors(v, rows, model.device).reshape(shape) for v in (steps.rewards, steps.dones))
    return rewards + model.gamma * (1 - dones) * next_value


def entropy_coefficient(model: Any) -> th.Tensor:
    """alpha as it is now."""
    return model.ent_coef_tensor if model.log_ent_coef is None else model.log_ent_coef.detach().exp()


def state_action(model: Any, steps: ScoringSteps, rows: np.ndarray) -> tuple[Any, th.Tensor]:
    """Observations and actions of the steps, [batch, ...]."""
    return rows_as_tensors(steps.observations, rows, model.device), rows_as_tensors(steps.actions, rows, model.device)
