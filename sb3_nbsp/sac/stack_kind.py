"""Which agents can be computed in one stack, whatever else a training of theirs has in common."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from sb3_nbsp.sac.fast_update_conditions import adam_obstacle, find_obstacle, named_optimizers
from sb3_nbsp.sac.step_hooks import hooks_of


def find_stack_obstacle(model: Any) -> str | None:
    """
    :param model: an agent
    :return: why a stack cannot compute its gradient steps: what ``find_obstacle`` says, or that a stack makes the steps of
        plain Adams only, and calls nobody's hooks
    """
    return find_obstacle(model) or next(_stack_obstacles(model), None)


def _stack_obstacles(model: Any) -> Iterator[str]:
    for name, network in (("actor", model.actor), ("critic", model.critic), ("target critic", model.critic_target)):
        if any(module._forward_hooks for module in network.modules()):
            yield f"a hook is registered on a module of the {name}"
    for name, optimizer, parameters in named_optimizers(model):
        if (other := adam_obstacle(optimizer)) is not None:
            yield f"the optimizer of the {name} {other}"
        for of in hooks_of(optimizer, parameters):
            yield f"a hook is registered on {of} of the {name}"


def _shapes(model: Any) -> Any:
    return [tuple(p.shape) for p in model.policy.parameters()]


def _activations(model: Any) -> Any:
    """With their slopes."""
    networks: tuple[nn.Module, ...] = model.actor, model.critic
    return [str(module) for network in networks for module in network.modules() if not list(module.parameters())]


KIND: dict[str, Callable[[Any], Any]] = {
    "shapes of the networks": _shapes,
    "activations": _activations,
    "epsilon of the actions' distribution": lambda model: model.actor.action_dist.epsilon,
    "device": lambda model: next(model.policy.parameters()).device,
    "dtype": lambda model: next(model.policy.parameters()).dtype,
    "a learned entropy coefficient (ent_coef)": lambda model: model.ent_coef_optimizer is not None,
}


def kind_of(model: Any) -> list[Any]:
    """
    :param model: an agent
    :return: what is the same for all that can be in one stack
    """
    return [of(model) for of in KIND.values()]
