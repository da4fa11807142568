"""Which forward hooks on a model's modules the fast update calls, or computes what they do."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp.common.activation_functions import ACTIVATIONS
from sb3_nbsp.common.added_networks import AddOutput, ReadInput
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.sac.summed_mlp import added_to, hooks_of_kind
from sb3_nbsp.sac.watched_layers import is_watched

OTHER_HOOKS = ("_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Group(NamedTuple):
    """Networks of equal shape, as part of a whole."""

    name: str
    whole: nn.Module
    bodies: Sequence[nn.Module]
    heads: Sequence[nn.Module] = ()  # output layers that stand apart

    @property
    def outputs(self) -> list[tuple[nn.Module, int | None]]:
        """What puts the outputs out, with its number among the heads."""
        return [(head, i) for i, head in enumerate(self.heads)] or [(body, None) for body in self.bodies]


def hook_obstacles(model: SAC) -> Iterator[str]:
    """
    :param model: whose networks are known to be SB3's own MLPs
    :return: what is in the way of an update without autograd: hooks that it does not know, or knows from elsewhere
    """
    actor: Any = model.actor
    critics, targets = list(model.critic.q_networks), list(model.critic_target.q_networks)
    groups = [
        _Group("actor", actor, [actor.latent_pi], [actor.mu, actor.log_std]),
        _Group("critic", model.critic, critics),
        _Group("target critic", model.critic_target, targets),
    ]
    for group in groups:
        if any(_is_hooked(module, group) for module in group.whole.modules()):
            yield f"a hook is registered on a module of the {group.name}"
        elif not _is_sum(group):
            yield f"what is added to the {group.name} is not added to all of its outputs"
        else:
            yield from _part_obstacles(group)
    watched = [layer for mlp in (actor.latent_pi, *critics) for layer in mlp.children() if is_watched(layer)]
    if len(set(watched)) < len(watched):
        yield "an activation that is watched serves several networks"


def _is_hooked(module: nn.Module, group: _Group) -> bool:
    """By a hook that is not known, or not known there."""
    known: set[type] = {LayerWatch} if type(module) in ACTIVATIONS else set()
    known |= {ReadInput} if any(module is body for body in group.bodies) else set()
    known |= {AddOutput} if any(module is output for output, _ in group.outputs) else set()
    unknown = {type(hook) for hook in module._forward_hooks.values()} - known
    return bool(unknown) or any(getattr(module, hooks) for hooks in OTHER_HOOKS)


def _is_sum(group: _Group) -> bool:
    """Whether what reads a network's input adds to each of its outputs, and nothing else does."""
    for output, number in group.outputs:
        body = group.bodies[0] if group.heads else output
        read = [(hook.networks, number) for hook in hooks_of_kind(body, ReadInput)]
        if [(hook.networks, hook.head) for hook in hooks_of_kind(output, AddOutput)] != read:
            return False
    return True


def _part_obstacles(group: _Group) -> Iterator[str]:
    """Why the parts that are added are not known to be what a ``SummedMlp`` adds."""
    for body in group.bodies:
        for part in added_to(body):
            modules = [module for top in (part.body, *part.heads) for module in top.modules()]
            if _structure([part.body, *part.heads]) != _structure([body, *group.heads]):
                yield f"what is added to the {group.name} is of another structure"
            if any(p.requires_grad for module in modules for p in module.parameters()):
                yield f"what is added to the {group.name} is not frozen"
            if any(getattr(module, hooks) for module in modules for hooks in ("_forward_hooks", *OTHER_HOOKS)):
                yield f"a hook is registered on what is added to the {group.name}"
    if len({tuple(part.sign for part in added_to(body)) for body in group.bodies}) > 1:
        yield f"what is added to the networks of the {group.name} differs"


def _structure(modules: Sequence[nn.Module]) -> list[Any]:
    """What two networks that compute the same from the same parameters have in common."""
    parts = [part for module in modules for part in module.modules()]
    kinds = [(type(part), getattr(part, "negative_slope", None), "forward" in vars(part)) for part in parts]
    return [*kinds, *((p.shape, p.dtype, p.device) for module in modules for p in module.parameters())]
