"""MAS: memory aware synapses."""

from collections.abc import Iterator
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import distributions as td
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.importance import mean_importances
from sb3_nbsp.baselines.network_outputs import action_distribution, deterministic_actions, sample_gradients
from sb3_nbsp.baselines.parameters import Networks, check_coef, check_count, check_networks, learned_parameters
from sb3_nbsp.baselines.quadratic_penalty import add_task, no_penalty, penalty_hooks, penalty_value
from sb3_nbsp.baselines.task_samples import visited
from sb3_nbsp.rehearsal.cloning import distribution_parameters


class MAS(TaskBoundaryCallback):
    """
    Add to the loss, from the second task on, coef * sum_j Omega_j (theta_j - theta*_j)^2 (see
    :mod:`~sb3_nbsp.baselines.quadratic_penalty`), where each task adds to Omega

        Omega_j = E_s[ | d ||F(s)||^2 / d theta_j | ] with F what a network puts out.

    F is mu and log sigma of a Gaussian before it is squashed, the logarithms of the probabilities of categorical actions
    (our choice; Continual World has continuous ones only), all critics' outputs, or what a policy without a distribution
    puts out (DQN, TD3).

    The samples are drawn from the finished task's part of the replay buffer, as Continual World does (10 batches of 256).
    Where there is none (PPO), the policy is run on the task for as many env steps, which do not count as training's.

    PPO's ``log_std`` belongs to the actor and is held with it: how far the policy explores, too.

    Source: Aljundi et al. 2018 (arXiv 1711.09601; its form for the norm of the output), Continual World (Wolczyk et al. 2021,
    ``continualworld/methods/mas.py``) for SAC's form, the sum over tasks and the strength.

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
        return mean_importances(self.model, samples, self.networks, actor_sensitivities, norm_sensitivities)

    def hook(self) -> Iterator[RemovableHandle]:
        """Add the penalty's gradient."""
        return penalty_hooks(self.state, learned_parameters(self.model, self.networks), self.coef)

    def penalty(self) -> float:
        """The term that is added to the loss, at the present parameters."""
        return penalty_value(self.state, learned_parameters(self.model, self.networks), self.coef)


def actor_sensitivities(model: BaseAlgorithm, observations: Any, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
    """
    | d ||F(s)||^2 / d theta | of each sample, with F what the policy puts out.

    :param model: any SB3 model
    :param observations: [batch, ...], as the policy takes them
    :param parameters: what to differentiate by
    :return: for each parameter [batch, ...]
    """
    distribution = action_distribution(model, observations)
    if distribution is None:
        outputs = deterministic_actions(model, observations)
    elif isinstance(distribution.distribution, td.Normal):
        outputs = th.cat([distribution.distribution.loc, distribution.distribution.scale.log()], dim=1)
    else:
        outputs = distribution_parameters(distribution)
    return norm_sensitivities(outputs, parameters)


def norm_sensitivities(outputs: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
    """
    | d ||F||^2 / d theta | of each sample.

    :param outputs: F, [batch, K]
    :param parameters: what to differentiate by
    :return: for each parameter [batch, ...]
    """
    norms = outputs.square().sum(dim=1)
    return [gradient.abs() for gradient in sample_gradients(norms, parameters)]
