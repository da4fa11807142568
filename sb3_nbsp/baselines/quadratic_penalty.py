"""What L2, EWC and MAS share: a quadratic penalty that holds parameters near where they were at the last task's end."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch as th
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import check_coef, check_networks, learned_parameters


class QuadraticPenalty(TaskBoundaryCallback):
    """
    Add to the loss, from the second task on,

        coef * sum_j Omega_j (theta_j - theta*_j)^2

    with theta* the parameters at the end of the last task and Omega the sum of the importances of all tasks so far
    (Continual World, Wolczyk et al. 2021, appendix on regularisation methods; ``continualworld/methods/regularization.py``).
    A task met again counts like a new one, as in its CW20.

    The gradient 2 coef Omega (theta - theta*) is added where gradients arise, at the end of the backward pass: as for any
    term of the loss, it is there before gradients are clipped, whatever the optimizer, and optimizers stay as they are.
    ``fast_update`` of :class:`~sb3_nbsp.NBSPSAC` computes with autograd from the second task on.

    :param coef: strength of the penalty
    :param networks: which parameters are held: ``actor`` (Continual World's choice), ``critic`` or ``all``
    :param verbose: 1 prints each task end
    """

    def __init__(self, coef: float, networks: str = "actor", verbose: int = 0):
        super().__init__(verbose)
        self.coef = check_coef(coef)
        self.networks = check_networks(networks)

    @abstractmethod
    def importances(self, task: str, parameters: dict[str, th.nn.Parameter]) -> dict[str, th.Tensor]:
        """
        :param task: the task that has just ended
        :param parameters: the parameters that are held, by name
        :return: Omega of this task alone, each in its parameter's shape
        """

    def initial_state(self) -> dict[str, Any]:
        """No importances, no anchors."""
        return {"importances": {}, "anchors": {}}

    def on_task_end(self, task: str) -> None:
        """Add the task's importances and move the anchors to where the parameters are."""
        parameters = learned_parameters(self.model, self.networks)
        sums = self.state["importances"]
        for name, new in self.importances(task, parameters).items():
            sums[name] = sums.get(name, 0.0) + new.cpu()
        self.state["anchors"] = {name: p.detach().cpu().clone() for name, p in parameters.items()}

    def hook(self) -> Iterator[RemovableHandle]:
        """See :meth:`TaskBoundaryCallback.hook`."""
        parameters = learned_parameters(self.model, self.networks)
        for name, anchor in self.state["anchors"].items():
            p = parameters[name]
            scale = 2.0 * self.coef * self.state["importances"][name].to(p)
            yield p.register_post_accumulate_grad_hook(partial(_pull, scale, anchor.to(p)))

    def penalty(self) -> float:
        """The term that is added to the loss, at the present parameters."""
        parameters = learned_parameters(self.model, self.networks)
        total = 0.0
        for name, anchor in self.state["anchors"].items():
            distance = parameters[name].detach().cpu() - anchor
            total += float((self.state["importances"][name] * distance.square()).sum())
        return self.coef * total


def _pull(scale: th.Tensor, anchor: th.Tensor, parameter: th.Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.addcmul_(scale, parameter.detach() - anchor)
