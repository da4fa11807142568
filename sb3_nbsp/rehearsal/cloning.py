"""Cloning: hold what a network puts out on observations of old tasks to what it was. The losses, as pure functions."""

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
        return sum(_categorical_kl(a, b.logits) for a, b in zip(parts, own, strict=True))  # type: ignore
    if isinstance(own, td.Normal):
        mean, deviation = stored.chunk(2, dim=1)
        if not hold_spread:
            own = td.Normal(own.loc, own.scale.detach())
        return td.kl_divergence(td.Normal(mean, deviation), own).sum(dim=1)
    if isinstance(own, td.Bernoulli):
        return _bernoulli_kl(stored, own.logits).sum(dim=1)
    return _categorical_kl(stored, own.logits)


# torch's own divergences of these two are infinite as soon as a probability is rounded to 0 or 1, as those of a policy that
# has grown sure are; in logits they are finite.


def _categorical_kl(stored: th.Tensor, logits: th.Tensor) -> th.Tensor:
    """sum over actions of p0 (log p0 - log p)"""
    old = td.Categorical(logits=stored)
    return (old.probs * (old.logits - logits)).sum(dim=-1)


def _bernoulli_kl(stored: th.Tensor, logits: th.Tensor) -> th.Tensor:
    """p0 (log p0 - log p) + (1 - p0) (log (1 - p0) - log (1 - p)), with log p = -softplus(-logit)"""
    probability = stored.sigmoid()
    yes = F.softplus(-logits) - F.softplus(-stored)
    no = F.softplus(logits) - F.softplus(stored)
    return probability * yes + (1 - probability) * no


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


def gaussian_kl(
    old_mean: th.Tensor, old_std: th.Tensor, mean: th.Tensor, std: th.Tensor
) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
    """
    KL(old || new) of Gaussians, and its derivatives, for each dimension by itself:

        KL        = log(s / s0) + (s0^2 + (m - m0)^2) / (2 s^2) - 1/2
        dKL/dm    = (m - m0) / s^2
        dKL/dlogs = 1 - (s0^2 + (m - m0)^2) / s^2,    with which KL = log(s / s0) - dKL/dlogs / 2

    :param old_mean: m0, of any shape
    :param old_std: s0
    :param mean: m
    :param std: s
    :return: KL, dKL/dm and dKL/dlogs, in that shape
    """
    precision = std.square().reciprocal_()
    moved = mean - old_mean
    d_log_std = 1 - moved.square().addcmul_(old_std, old_std).mul_(precision)
    divergence = (std / old_std).log_().sub_(d_log_std, alpha=0.5)
    return divergence, moved.mul_(precision), d_log_std


def softmax_kl(old_values: th.Tensor, values: th.Tensor, temperature: float) -> th.Tensor:
    """
    KL( softmax(Q0 / tau) || softmax(Q / tau) )  (policy distillation: Rusu et al. 2015, equation 3)

    It tells actions apart by how much better they are than others, in units of tau; what all actions share does not count.

    :param old_values: Q0, [batch, n_actions]
    :param values: Q
    :param temperature: tau, above 0
    :return: [batch]
    """
    old, new = (F.log_softmax(q / temperature, dim=1) for q in (old_values, values))
    return F.kl_div(new, old, reduction="none", log_target=True).sum(dim=1)
