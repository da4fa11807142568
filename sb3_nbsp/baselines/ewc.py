"""EWC: elastic weight consolidation."""

from typing import Any

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch import distributions as td

from sb3_nbsp.baselines.importance import SensitivityPenalty
from sb3_nbsp.baselines.network_outputs import action_distribution, deterministic_actions, sample_gradients
from sb3_nbsp.rehearsal.cloning import distribution_parameters

SMALLEST = 1e-5  # of an actor's importance (Continual World)
EPSILON = 1e-6  # added to the variance (Continual World)


class EWC(SensitivityPenalty):
    """
    Omega_j = E_s[ E_{a ~ pi(s)}[ (d log pi(a|s) / d theta_j)^2 ] ], the diagonal of the policy's Fisher information. See
    :class:`~sb3_nbsp.baselines.quadratic_penalty.QuadraticPenalty`.

    The inner expectation is taken exactly: for a Gaussian sum_k ((d mu_k)^2 + 2 (d sigma_k)^2) / sigma_k^2 (squashing does
    not change it), for categorical actions sum_a pi(a) (d log pi(a))^2. Each sample's is at least 1e-5. Of a critic, and of
    a policy without a distribution (DQN, TD3), it is sum_k (d Q_k)^2: a Gaussian of variance 1 around each output.

    Source: Kirkpatrick et al. 2017 (arXiv 1612.00796, eq. 3) for the penalty, Continual World (Wolczyk et al. 2021,
    ``continualworld/methods/ewc.py``) for SAC's form, the sum over tasks and the strength. (COOM uses 250.)

    :param coef: strength of the penalty
    :param networks: ``actor``, ``critic`` or ``all``
    :param n_samples: samples per task
    :param verbose: 1 prints each task end
    """

    def actor_sensitivities(self, observations: Any, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
        """See :meth:`SensitivityPenalty.actor_sensitivities`."""
        distribution = action_distribution(self.model, observations)
        if distribution is None:
            outputs = deterministic_actions(self.model, observations)
            weights = th.ones_like(outputs)
        else:
            outputs, weights = fisher_terms(distribution)
        return [fisher.clamp_min(SMALLEST) for fisher in _weighted_squares(outputs, weights, parameters)]

    def critic_sensitivities(self, outputs: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
        """See :meth:`SensitivityPenalty.critic_sensitivities`."""
        return _weighted_squares(outputs, th.ones_like(outputs), parameters)


def fisher_terms(distribution: Distribution) -> tuple[th.Tensor, th.Tensor]:
    """
    Quantities o and weights w with E_a[ (d log pi(a|s))^2 ] = sum_k w_k (d o_k)^2.

    :param distribution: an SB3 distribution over a batch of observations
    :return: o and w, both [batch, K]
    """
    outputs = distribution_parameters(distribution)
    own: Any = distribution.distribution
    if isinstance(own, td.Normal):  # mean and standard deviation
        precision = 1 / (own.scale.square() + EPSILON)
        weights = th.cat([precision, 2 * precision], dim=1)
    elif isinstance(own, td.Bernoulli):  # logits
        weights = own.probs * (1 - own.probs)
    else:  # logarithms of probabilities
        weights = outputs.exp()
    return outputs, weights.detach()


def _weighted_squares(outputs: th.Tensor, weights: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
    """sum_k w_k (d o_k / d theta)^2 of each sample: for each parameter [batch, ...]."""
    sums = [p.new_zeros(len(outputs), *p.shape) for p in parameters]
    for output, weight in zip(outputs.unbind(1), weights.unbind(1), strict=True):
        for total, gradient in zip(sums, sample_gradients(output, parameters), strict=True):
            total += weight.reshape(-1, *[1] * (gradient.dim() - 1)) * gradient.square()
    return sums
