"""MAS: memory aware synapses."""

from typing import Any

import torch as th
from torch import distributions as td

from sb3_nbsp.baselines.importance import SensitivityPenalty
from sb3_nbsp.baselines.network_outputs import action_distribution, deterministic_actions, sample_gradients
from sb3_nbsp.rehearsal.cloning import distribution_parameters


class MAS(SensitivityPenalty):
    """
    Omega_j = E_s[ | d ||F(s)||^2 / d theta_j | ] with F what a network puts out. See
    :class:`~sb3_nbsp.baselines.quadratic_penalty.QuadraticPenalty`.

    F is mu and log sigma of a Gaussian before it is squashed, the logarithms of the probabilities of categorical actions
    (our choice; Continual World has continuous ones only), all critics' outputs, or what a policy without a distribution
    puts out (DQN, TD3).

    Source: Aljundi et al. 2018 (arXiv 1711.09601; its form for the norm of the output), Continual World (Wolczyk et al. 2021,
    ``continualworld/methods/mas.py``) for SAC's form, the sum over tasks and the strength.

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
        elif isinstance(distribution.distribution, td.Normal):
            outputs = th.cat([distribution.distribution.loc, distribution.distribution.scale.log()], dim=1)
        else:
            outputs = distribution_parameters(distribution)
        return self.critic_sensitivities(outputs, parameters)

    def critic_sensitivities(self, outputs: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
        """See :meth:`SensitivityPenalty.critic_sensitivities`."""
        norms = outputs.square().sum(dim=1)
        return [gradient.abs() for gradient in sample_gradients(norms, parameters)]
