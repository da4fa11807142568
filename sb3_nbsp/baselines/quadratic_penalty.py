"""
The quadratic penalty that L2, EWC and MAS have: it holds parameters near where they were at the last task's end.

    coef * sum_j Omega_j (theta_j - theta*_j)^2

with theta* the parameters at the end of the last task and Omega the sum of the importances of all tasks so far (Continual
World, Wolczyk et al. 2021, appendix on regularisation methods; ``continualworld/methods/regularization.py``). A task met
again counts like a new one, as in its CW20.

Functions of a method's state, in which ``importances`` is Omega and ``anchors`` is theta*: both by the parameters' names,
CPU tensors in the parameters' shapes.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch as th
from torch.utils.hooks import RemovableHandle

Parameters = Mapping[str, th.Tensor]  # by name inside the policy


def no_penalty() -> dict[str, Any]:
    """What a method's state holds before any task has ended."""
    return {"importances": {}, "anchors": {}}


def add_task(state: dict[str, Any], parameters: Parameters, importances: Parameters) -> None:
    """
    Add a task's importances and move the anchors to where the parameters are.

    :param state: of a method; changed in place
    :param parameters: what is held, at the task's end
    :param importances: of this task alone, each in its parameter's shape
    """
    sums = state["importances"]
    for name, new in importances.items():
        sums[name] = sums.get(name, 0.0) + new.cpu()
    state["anchors"] = {name: p.detach().cpu().clone() for name, p in parameters.items()}


def penalty_hooks(state: dict[str, Any], parameters: Parameters, coef: float) -> Iterator[RemovableHandle]:
    """
    Add the penalty's gradient, 2 coef Omega (theta - theta*), where gradients arise: at the end of the backward pass. As for
    any term of the loss, it is there before gradients are clipped, whatever the optimizer, and optimizers stay as they are.

    :param state: of a method
    :param parameters: what is held
    :param coef: strength of the penalty
    :return: a handle for each parameter; none before the first task has ended
    """
    for name, anchor in state["anchors"].items():
        p = parameters[name]
        scale = 2.0 * coef * state["importances"][name].to(p)
        yield p.register_post_accumulate_grad_hook(partial(_add_gradient, scale, anchor.to(p)))


def _add_gradient(scale: th.Tensor, anchor: th.Tensor, parameter: th.Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.addcmul_(scale, parameter.detach() - anchor)


def penalty_value(state: dict[str, Any], parameters: Parameters, coef: float) -> float:
    """
    :param state: of a method
    :param parameters: what is held
    :param coef: strength of the penalty
    :return: coef * sum_j Omega_j (theta_j - theta*_j)^2, the term that is added to the loss
    """
    total = 0.0
    for name, anchor in state["anchors"].items():
        distance = parameters[name].detach().cpu() - anchor
        total += float((state["importances"][name] * distance.square()).sum())
    return coef * total
