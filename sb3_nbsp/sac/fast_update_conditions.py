"""
Which models the fast update computes exactly as SB3 would: those whose networks are SB3's own MLPs, unchanged.

Whatever is not known to be the same is an obstacle, and the obstacle is named.
"""

from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import nn
from torch.nn.modules import module as torch_module

from sb3_nbsp.common.activation_functions import ACTIVATIONS, Activation, ConcatenatedRectifier, Rectifier
from sb3_nbsp.common.faster_updates import KNOWN_OPTIMIZERS
from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.common.policies import NeuronAccess
from sb3_nbsp.protection.optimizer import MaskedOptimizer, base_of
from sb3_nbsp.sac.hook_obstacles import hook_obstacles
from sb3_nbsp.sac.step_hooks import hooks_of
from sb3_nbsp.sac.watched_layers import is_watched

# Methods that only build or keep a network: whatever else a class of SB3's has, acting or learning may run through.
BUILDING = {
    "__init__",
    "_build",
    "_dummy_schedule",
    "_get_constructor_parameters",
    "_update_features_extractor",
    "init_weights",
    "load",
    "load_from_vector",
    "make_actor",
    "make_critic",
    "make_features_extractor",
    "parameters_to_vector",
    "proba_distribution_net",
    "save",
}
ADAM_OPTIONS = {
    "weight_decay": 0,
    "amsgrad": False,
    "maximize": False,
    "capturable": False,
    "differentiable": False,
    "decoupled_weight_decay": False,
}
DESCRIPTORS = (property, staticmethod, classmethod)

NamedOptimizer = tuple[str, th.optim.Optimizer, list[th.Tensor]]  # name, optimizer, the parameters that it should have


def find_obstacle(model: SAC) -> str | None:
    """
    :return: why the fast update cannot stand for SB3's, e.g. "an activation of the actor is Tanh, none of ReLU, LeakyReLU"; or
        ``None``
    """
    return next(_obstacles(model), None)


def _obstacles(model: SAC) -> Iterator[str]:
    """In an order in which each check may rely on the ones before, and quick ones come first."""
    space = model.observation_space
    if model.use_sde:
        yield "gSDE is used"
    if isinstance(model, OffPolicyContinualAlgorithm) and model.cloning.holds_neurons:
        yield "activations of skill neurons are cloned"
    if not isinstance(space, spaces.Box):
        yield f"the observation space is {type(space).__name__}, not Box"
    if is_image_space(space) and model.policy.normalize_images:
        yield "the observations are images"
    if th.is_autocast_enabled(model.device.type):
        yield "autocast is on"
    if any(hooks for name, hooks in vars(torch_module).items() if name.startswith("_global_") and name.endswith("_hooks")):
        yield "a hook is registered on all modules"
    for thing, standard in [
        (model.policy, SACPolicy),
        (model.actor, Actor),
        (model.critic, ContinuousCritic),
        (model.critic_target, ContinuousCritic),
        (model.actor.action_dist, SquashedDiagGaussianDistribution),
    ]:
        yield from _changed_methods(thing, standard)
    for name, mlp in _mlps(model):
        yield from _structure_obstacles(name, mlp)
    for named_optimizer in named_optimizers(model):
        yield from _optimizer_obstacles(*named_optimizer)
    for name, network in _networks(model):
        yield from _module_obstacles(name, network)
    yield from hook_obstacles(model)
    yield from _parameter_obstacles(model)
    clones = isinstance(model, OffPolicyContinualAlgorithm) and model.cloning.is_wanted
    is_hooked = any(hooks_of(model.actor.optimizer, list(model.actor.parameters())))
    if clones and (is_hooked or any(map(is_watched, model.actor.modules()))):
        yield "a hook on the actor would see the gradient of cloning, which is added after it"


def _changed_methods(thing: Any, standard: type) -> Iterator[str]:
    cls = type(thing)
    yield from changed_class(cls, standard)
    for name in _methods(standard):
        if name in vars(thing):
            yield f"{cls.__name__} has a {name}() of its own"


def changed_class(cls: type, standard: type) -> Iterator[str]:
    """
    :param cls: a class
    :param standard: one of SB3's
    :return: why what the first does is not known to be what the second does
    """
    if not issubclass(cls, standard):
        yield f"{cls.__name__} is no {standard.__name__}"
    for name in _methods(standard):
        known = getattr(standard, name), vars(NeuronAccess).get(name)  # what our own policies add is no obstacle
        if getattr(cls, name, None) not in known:
            yield f"{cls.__name__} has a {name}() of its own"


@cache
def _methods(standard: type) -> tuple[str, ...]:
    """What SB3's classes define, and where it is a module of torch, how that is called."""
    own = [cls for cls in standard.__mro__ if cls.__module__.startswith("stable_baselines3.")]
    names = {name for cls in own for name, value in vars(cls).items() if callable(value) or isinstance(value, DESCRIPTORS)}
    return tuple(sorted((names | {"__call__"} if issubclass(standard, nn.Module) else names) - BUILDING))


def _networks(model: SAC) -> list[tuple[str, nn.Module]]:
    return [("actor", model.actor), ("critic", model.critic), ("target critic", model.critic_target)]


def _mlps(model: SAC) -> list[tuple[str, nn.Module]]:
    """Each stack of layers that ends in a linear one; the actor's ends in two heads that stand apart."""
    critics = [("critic", q_network) for q_network in model.critic.q_networks]
    return [("actor", model.actor.latent_pi), *critics, *(("target critic", q) for q in model.critic_target.q_networks)]


def _structure_obstacles(name: str, mlp: nn.Module) -> Iterator[str]:
    if type(mlp) is not nn.Sequential:
        yield f"a network of the {name} is {type(mlp).__name__}, not Sequential"
    layers = list(mlp.children())
    if len(layers) < 2:
        yield f"the {name} has no hidden layer"
    for i, layer in enumerate(layers):
        if i % 2 and type(layer) not in ACTIVATIONS:
            known = ", ".join(kind.__name__ for kind in ACTIVATIONS)
            yield f"an activation of the {name} is {type(layer).__name__}, none of {known}"
        if not i % 2 and type(layer) is not nn.Linear:
            yield f"a layer of the {name} is {type(layer).__name__}, not Linear"
    if (len(layers) % 2 == 0) != (name == "actor"):  # whose heads stand apart
        yield f"the last layer of the {name} is {type(layers[-1]).__name__}"
    found = _activations(mlp)
    if len(found) > 1:
        yield f"activations of the {name} differ: {', '.join(sorted({str(layer) for layer in layers[1::2]}))}"
    if any(isinstance(activation, Rectifier) and activation.slope < 0 for activation in found):
        yield f"an activation of the {name} has a negative slope below 0"
    if ConcatenatedRectifier() in found and any(layer.out_features % 2 for layer in layers[:-1] if type(layer) is nn.Linear):
        yield f"a layer of the {name} has an odd size, of which CReLU takes no half"


def _activations(mlp: nn.Module) -> set[Activation]:
    return {ACTIVATIONS[type(layer)](layer) for layer in mlp.children() if type(layer) in ACTIVATIONS}


def activation_of(mlp: nn.Module) -> Activation:
    """
    :param mlp: a stack of layers that :func:`find_obstacle` finds nothing wrong with
    :return: the one that all its hidden layers have
    """
    (activation,) = _activations(mlp)
    return activation


def optimizers_of(model: SAC) -> dict[str, th.optim.Optimizer]:
    """
    :param model: a SAC model
    :return: those of ``actor``, ``critic`` and, where it is learned, of the entropy coefficient, ``ent_coef``
    """
    optimizers = {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
    if model.ent_coef_optimizer is not None:
        optimizers["ent_coef"] = model.ent_coef_optimizer
    return optimizers


def named_optimizers(model: SAC) -> list[NamedOptimizer]:
    """
    :param model: a SAC model
    :return: its optimizers as obstacles call them, each with what it should train
    """
    log_ent_coef = [] if model.log_ent_coef is None else [model.log_ent_coef]
    trained = {"actor": model.actor.parameters(), "critic": model.critic.parameters(), "ent_coef": log_ent_coef}
    names = {"ent_coef": "entropy coefficient"}
    return [(names.get(name, name), opt, list(trained[name])) for name, opt in optimizers_of(model).items()]


def _optimizer_obstacles(name: str, optimizer: th.optim.Optimizer, parameters: list[th.Tensor]) -> Iterator[str]:
    base = base_of(optimizer)
    if type(base) not in KNOWN_OPTIMIZERS or type(optimizer) not in (type(base), MaskedOptimizer):
        yield f"the optimizer of the {name} is {_type(optimizer)}, of which it is not known what it keeps"
    if any("zero_grad" in vars(part) for part in (base, optimizer)):
        yield f"the optimizer of the {name} has a zero_grad() of its own"
    if name == "entropy coefficient" and (other := adam_obstacle(optimizer)) is not None:  # SB3 has no other there
        yield f"the optimizer of the {name} {other}"
    if {id(p) for group in optimizer.param_groups for p in group["params"]} != {id(p) for p in parameters}:
        yield f"the optimizer of the {name} has other parameters than the {name}"
    if not all(p.requires_grad for p in parameters):
        yield f"parameters of the {name} have requires_grad=False"
    if any(p._backward_hooks for p in parameters):  # which hand on another gradient than they get
        yield f"a hook is registered on a parameter of the {name}"


def adam_obstacle(optimizer: th.optim.Optimizer) -> str | None:
    """
    :param optimizer: an optimizer, or a ``MaskedOptimizer`` around it
    :return: why its step is not that of a plain Adam on all its parameters alike, e.g. "is AdamW, not Adam"; or ``None``
    """
    return next(_adam_obstacles(optimizer), None)


def _adam_obstacles(optimizer: th.optim.Optimizer) -> Iterator[str]:
    base = base_of(optimizer)
    if type(base) is not th.optim.Adam or type(optimizer) not in (th.optim.Adam, MaskedOptimizer):
        yield f"is {_type(optimizer)}, not Adam"
    if isinstance(optimizer, MaskedOptimizer) and optimizer.before_clipping:
        yield "masks gradients before they are clipped"
    if any("step" in vars(part) for part in (base, optimizer)):
        yield "has a step() that was changed, e.g. by a scheduler"
    if len(base.param_groups) > 1:
        yield "has several parameter groups"
    group = base.param_groups[0]
    for option, value in ADAM_OPTIONS.items():
        if group.get(option, value) != value:
            yield f"has {option}={group[option]}"
    if len({float(base.state[p]["step"]) if base.state.get(p) else 0.0 for p in group["params"]}) > 1:
        yield "made more steps for some parameters than for others"


def _type(optimizer: th.optim.Optimizer) -> str:
    return type(base_of(optimizer) if type(optimizer) is MaskedOptimizer else optimizer).__name__


def _module_obstacles(name: str, network: nn.Module) -> Iterator[str]:
    if type(network.features_extractor) is not FlattenExtractor:
        yield f"the features extractor of the {name} is {type(network.features_extractor).__name__}, not FlattenExtractor"
    for head in (network.mu, network.log_std) if isinstance(network, Actor) else ():
        if type(head) is not nn.Linear:
            yield f"a head of the actor is {type(head).__name__}, not Linear"
    for module in network.modules():
        if "forward" in vars(module):
            yield f"a module of the {name} has a forward() of its own"
        if isinstance(module, nn.Linear) and module.bias is None:
            yield f"a layer of the {name} has no bias"


def _parameter_obstacles(model: SAC) -> Iterator[str]:
    by_network = [list(network.parameters()) for _, network in _networks(model)]
    parameters = list(chain.from_iterable(by_network))
    kinds = {(p.device, p.dtype) for p in parameters}
    known = [device.type in ("cpu", "cuda") and dtype in (th.float32, th.float64) for device, dtype in kinds]
    if len(kinds) > 1 or not all(known):
        found = ", ".join(sorted(f"{dtype} on {device}" for device, dtype in kinds))
        yield f"parameters are {found}; all must be float32 or all float64, on the CPU or on one CUDA device"
    n_layers = sum(isinstance(layer, nn.Linear) for _, mlp in _mlps(model) for layer in mlp.children())
    if not len({p.data_ptr() for p in parameters}) == len(parameters) == 2 * (n_layers + 2):  # and two heads
        yield "parameters are shared between layers, or belong to none"
    if any(p.is_shared() and not p.is_cuda for p in parameters):
        yield "parameters lie in memory that is shared between processes"
    shapes = {tuple(p.shape for p in q.parameters()) for name, q in _mlps(model) if name != "actor"}
    if len(shapes) > 1 or len(by_network[1]) != len(by_network[2]):
        yield "the critics have different shapes"
    if len(set().union(*(_activations(mlp) for name, mlp in _mlps(model) if name != "actor"))) > 1:
        yield "the critics have different activations"
