"""EWC: elastic weight consolidation."""

from collections.abc import Iterator
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import Distribution
from torch import distributions as td
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.importance import mean_importances
from sb3_nbsp.baselines.network_outputs import action_distribution, deterministic_actions, sample_gradients
from sb3_nbsp.baselines.parameters import Networks, check_coef, check_count, check_networks, learned_parameters
from sb3_nbsp.baselines.quadratic_penalty import add_task, no_penalty, penalty_hooks, penalty_value
from sb3_nbsp.baselines.task_samples import visited
from sb3_nbsp.rehearsal.cloning import distribution_parameters

SMALLEST = 1e-5  # of an actor's importance (Continual World)
EPSILON = 1e-6  # added to the variance (Continual World)


class EWC(TaskBoundaryCallback):
    """
    Add to the loss, from the second task on, coef * sum_j Omega_j (theta_j - theta*_j)^2 (see
    :mod:`~sb3_nbsp.baselines.quadratic_penalty`), where each task adds to Omega

        Omega_j = E_s[ E_{a ~ pi(s)}[ (d log pi(a|s) / d theta_j)^2 ] ],

    the diagonal of the policy's Fisher information.

    The inner expectation is taken exactly: for a Gaussian sum_k ((d mu_k)^2 + 2 (d sigma_k)^2) / sigma_k^2 (squashing does
    not change it), for categorical actions sum_a pi(a) (d log pi(a))^2. Each sample's is at least 1e-5. Of a critic, and of
    a policy without a distribution (DQN, TD3), it is sum_k (d Q_k)^2: a Gaussian of variance 1 around each output.

    The samples are drawn from the finished task's part of the replay buffer, as Continual World does (10 batches of 256).
    Where there is none (PPO), the policy is run on the task for as many env steps, which do not count as training's.

    PPO's ``log_std`` belongs to the actor and is held with it: how far the policy explores, too.

    Source: Kirkpatrick et al. 2017 (arXiv 1612.00796, eq. 3) for the penalty, Continual World (Wolczyk et al. 2021,
    ``continualworld/methods/ewc.py``) for SAC's form, the sum over tasks and the strength. (COOM uses 250.)

    :param coef: strength of the penalty
    :param networks: which parameters are held: ``actor`` (Continual World's choice), ``critic`` or ``all``
    :param n_samples: samples per task
    :param verbose: 1 prints each task end
    """

    def __init__(self, coef: float = 1e4, networks: Networks = "actor", n_samples: int = 2560, verbose: int = 0):
        super().__init__(verbose)
        self.coef = check_coef(coef)
        self.networks = check_networks(networks)
        self.n_samples = check_count("n_samples", n_samples)

    def initial_state(self) -> dict[str, Any]:
        """No importances, no anchors."""
        return no_penalty()

    def on_task_end(self, task: str) -> None:
        """Add the task's importances, and move the anchors to where the parameters are."""
        add_task(self.state, learned_parameters(self.model, self.networks), self.importances(task))

    def importances(self, task: str) -> dict[str, th.Tensor]:
        """
        :param task: the task that has just ended
        :return: Omega of this task alone, by the parameters' names, each in its parameter's shape
        """
        self.model.policy.set_training_mode(False)
        samples = visited(self.model, task, self.state["steps"], self.n_samples)
        return mean_importances(self.model, samples, self.networks, actor_fisher, critic_fisher)

    def hook(self) -> Iterator[RemovableHandle]:
        """Add the penalty's gradient."""
        return penalty_hooks(self.state, learned_parameters(self.model, self.networks), self.coef)

    def penalty(self) -> float:
        """The term that is added to the loss, at the present parameters."""
        return penalty_value(self.state, learned_parameters(self.model, self.networks), self.coef)


def actor_fisher(model: BaseAlgorithm, observations: Any, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
    """
    E_{a ~ pi(s)}[ (d log pi(a|s) / d theta)^2 ] of each sample, at least 1e-5.

    :param model: any SB3 model
    :param observations: [batch, ...], as the policy takes them
    :param parameters: what to differentiate by
    :return: for each parameter [batch, ...]
    """
    distribution = action_distribution(model, observations)
    if distribution is None:
        fisher = critic_fisher(deterministic_actions(model, observations), parameters)
    else:
        fisher = _weighted_squares(*fisher_terms(distribution), parameters)
    return [values.clamp_min(SMALLEST) for values in fisher]


def critic_fisher(outputs: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
    """
    sum_k (d Q_k / d theta)^2 of each sample.

    :param outputs: [batch, K]
    :param parameters: what to differentiate by
    :return: for each parameter [batch, ...]
    """
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
