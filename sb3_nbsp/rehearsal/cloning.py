"""Cloning: hold a policy's action distribution and a critic's values on observations of old tasks to what they were."""

from typing import Any

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch import distributions as td
from torch.nn import functional as F


def distribution_parameters(distribution: Distribution) -> th.Tensor:
    """
    What tells one action distribution of a policy from another, in a form that can be stored.

    :param distribution: an SB3 distribution over a batch of observations
    :return: [batch, P]: mean and standard deviation of a Gaussian (before it is squashed), logits of everything else
    :raises TypeError: for a distribution that SB3's PPO does not use
    """
    own: Any = distribution.distribution
    if isinstance(own, list):  # MultiDiscrete
        return th.cat([part.logits for part in own], dim=1)
    if isinstance(own, td.Normal):
        return th.cat([own.loc, own.scale], dim=1)
    if isinstance(own, td.Categorical | td.Bernoulli):
        return own.logits
    raise TypeError(f"Expected a Gaussian, categorical or Bernoulli action distribution; got {type(own).__name__}.")


def kl_to_stored(stored: th.Tensor, distribution: Distribution, hold_spread: bool = True) -> th.Tensor:
    """
    KL(stored || current), summed over the action's dimensions.

    Squashing is the same bijection on both sides and does not change it.

    :param stored: [batch, P], see :func:`distribution_parameters`
    :param distribution: the policy's distribution now
    :param hold_spread: whether gradients reach a Gaussian's standard deviation. Where it is one parameter for all
        observations, old tasks would keep the new task from exploring.
    :return: [batch]
    """
    own: Any = distribution.distribution
    if isinstance(own, list):
        parts = stored.split([part.logits.shape[1] for part in own], dim=1)
        return sum(td.kl_divergence(td.Categorical(logits=a), b) for a, b in zip(parts, own, strict=True))  # type: ignore
    if isinstance(own, td.Normal):
        mean, deviation = stored.chunk(2, dim=1)
        if not hold_spread:
            own = td.Normal(own.loc, own.scale.detach())
        return td.kl_divergence(td.Normal(mean, deviation), own).sum(dim=1)
    if isinstance(own, td.Bernoulli):
        return td.kl_divergence(td.Bernoulli(logits=stored), own).sum(dim=1)
    return td.kl_divergence(td.Categorical(logits=stored), own)


def cloning_loss(
    stored: th.Tensor,
    distribution: Distribution,
    stored_values: th.Tensor,
    values: th.Tensor,
    vf_coef: float,
    hold_spread: bool = True,
) -> th.Tensor:
    """
    mean[ KL(stored || current) ] + vf_coef * mean[ (V(s) - stored V(s))^2 ]  (CLEAR: Rolnick et al. 2019, section 3)

    :param stored: [batch, P], the action distribution's parameters at the old task's end
    :param distribution: the policy's distribution now
    :param stored_values: [batch], the critic's values at the old task's end
    :param values: [batch] or [batch, 1], the critic's values now
    :param vf_coef: weight of the values
    :param hold_spread: see :func:`kl_to_stored`
    """
    return kl_to_stored(stored, distribution, hold_spread).mean() + vf_coef * F.mse_loss(values.flatten(), stored_values)
