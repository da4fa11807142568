"""Which forward hooks on a model's modules the fast update calls, or computes what they do."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp.common.activation_functions import ACTIVATIONS
from sb3_nbsp.common.added_networks import AddOutput, ReadInput
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.sac.summed_mlp import added_to, hooks_of_kind
from sb3_nbsp.sac.watched_layers import is_watched

OTHER_HOOKS = ("_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Networks(NamedTuple):
    """Networks of equal shape, as part of a whole."""

    name: str
    whole: nn.Module
    mlps: Sequence[nn.Module]
    heads: Sequence[nn.Module] = ()  # output layers that stand apart


def hook_obstacles(model: SAC) -> Iterator[str]:
    """
    :param model: whose networks are known to be SB3's own MLPs
    :return: what is in the way of an update without autograd: hooks that it does not know, or knows from elsewhere
    """
    actor: Any = model.actor
    critics, targets = list(model.critic.q_networks), list(model.critic_target.q_networks)
    networks = [
        _Networks("actor", actor, [actor.latent_pi], [actor.mu, actor.log_std]),
        _Networks("critic", model.critic, critics),
        _Networks("target critic", model.critic_target, targets),
    ]
    for group in networks:
        if any(_is_hooked(module, group) for module in group.whole.modules()):
            yield f"a hook is registered on a module of the {group.name}"
    yield from chain.from_iterable(map(_sum_obstacles, networks))
    watched = [layer for mlp in (actor.latent_pi, *critics) for layer in mlp.children() if is_watched(layer)]
    if len(set(watched)) < len(watched):
        yield "an activation that is watched serves several networks"


def _is_hooked(module: nn.Module, group: _Networks) -> bool:
    """By a hook that is not known, or not known there."""
    known: set[type] = {LayerWatch} if type(module) in ACTIVATIONS else set()
    known |= {ReadInput} if any(module is mlp for mlp in group.mlps) else set()
    known |= {AddOutput} if any(module is output for output in group.heads or group.mlps) else set()
    unknown = {type(hook) for hook in module._forward_hooks.values()} - known
    return bool(unknown) or any(getattr(module, hooks) for hooks in OTHER_HOOKS)


def _sum_obstacles(group: _Networks) -> Iterator[str]:
    """Why what is added to networks of equal shape is not known to be what a ``SummedMlp`` adds."""
    for mlp in group.mlps:
        read = [hook.networks for hook in hooks_of_kind(mlp, ReadInput)]
        if any([hook.networks for hook in hooks_of_kind(output, AddOutput)] != read for output in group.heads or [mlp]):
            yield f"what is added to the {group.name} is not added to all of its outputs"
            return
        for part in added_to(mlp, group.heads):
            frozen = [part.body, *part.heads]
            if _structure(frozen) != _structure([mlp, *group.heads]):
                yield f"what is added to the {group.name} is of another structure"
            if any(getattr(m, hooks) for top in frozen for m in top.modules() for hooks in ("_forward_hooks", *OTHER_HOOKS)):
                yield f"a hook is registered on what is added to the {group.name}"
    if len({tuple(part.sign for part in added_to(mlp, group.heads)) for mlp in group.mlps}) > 1:
        yield f"what is added to the networks of the {group.name} differs"


def _structure(modules: Sequence[nn.Module]) -> list[Any]:
    """What two networks that compute the same from the same parameters have in common."""
    parts = [part for module in modules for part in module.modules()]
    kinds = [(type(part), getattr(part, "negative_slope", None), "forward" in vars(part)) for part in parts]
    return [*kinds, *((p.shape, p.dtype, p.device) for module in modules for p in module.parameters())]
