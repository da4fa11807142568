"""L2: all parameters are equally important."""

from collections.abc import Iterator
from typing import Any

import torch as th
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import Networks, check_coef, check_networks, learned_parameters
from sb3_nbsp.baselines.quadratic_penalty import add_task, no_penalty, penalty_hooks, penalty_value


class L2(TaskBoundaryCallback):
    """
    Add to the loss, from the second task on, coef * sum_j Omega_j (theta_j - theta*_j)^2 with Omega_j = 1 for every task: see
    :mod:`~sb3_nbsp.baselines.quadratic_penalty`.

    PPO's ``log_std`` belongs to the actor and is held with it: how far the policy explores, too.

    Source: the control of Kirkpatrick et al. 2017 (arXiv 1612.00796, figure 2); strength of Continual World's CW20 runs.

    :param coef: strength of the penalty
    :param networks: which parameters are held: ``actor`` (Continual World's choice), ``critic`` or ``all``
    :param verbose: 1 prints each task end
    """

    def __init__(self, coef: float = 1e5, networks: Networks = "actor", verbose: int = 0):
        super().__init__(verbose)
        self.coef = check_coef(coef)
        self.networks = check_networks(networks)

    def initial_state(self) -> dict[str, Any]:
        """No importances, no anchors."""
        return no_penalty()

    def on_task_end(self, task: str) -> None:
        """Add a 1 to every importance, and move the anchors to where the parameters are."""
        held = learned_parameters(self.model, self.networks)
        add_task(self.state, held, {name: th.ones_like(p) for name, p in held.items()})

    def hook(self) -> Iterator[RemovableHandle]:
        """Add the penalty's gradient."""
        return penalty_hooks(self.state, learned_parameters(self.model, self.networks), self.coef)

    def penalty(self) -> float:
        """The term that is added to the loss, at the present parameters."""
        return penalty_value(self.state, learned_parameters(self.model, self.networks), self.coef)
