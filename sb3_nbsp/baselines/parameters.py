"""What the baselines take hold of in any SB3 model: its parameters by network, its optimizers, a policy as it was when new."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Annotated, Any, Literal, get_args

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr

from sb3_nbsp.base.arguments import AtLeast, Whole, check_values
from sb3_nbsp.baselines.crelu import CReLU
from sb3_nbsp.neurons.layers import NeuronLayer
from sb3_nbsp.neurons.networks import find_networks

Networks = Literal["actor", "critic", "all"]
# Beginnings of the parameters' names inside a policy. Target networks match none of them. What is shared has several names.
ACTOR_PARTS = ("actor.", "mlp_extractor.policy_net.", "action_net.", "pi_features_extractor.", "log_std")
CRITIC_PARTS = ("critic.", "mlp_extractor.value_net.", "value_net.", "vf_features_extractor.")
# The one network of a value-based algorithm acts and values; a shared features extractor serves both.
COMMON_PARTS = ("q_net.", "quantile_net.", "features_extractor.")
WITH_TARGETS = ("actor", "critic", "q_net", "quantile_net")

COUNT = Annotated[int, Whole(1, "units")]


def check_networks(networks: Networks) -> Networks:
    """
    :param networks: what a user asked for
    :return: the same
    :raises ValueError: for anything but ``actor``, ``critic`` and ``all``
    """
    if networks not in get_args(Networks):
        raise ValueError(f"networks must be one of {', '.join(get_args(Networks))}; got {networks!r}.")
    return networks


def check_coef(coef: Any) -> float:
    """
    :param coef: what a user asked for
    :return: the same, as a float
    :raises ValueError: for anything but a finite number, 0 or more
    """
    if not AtLeast(0).allows(coef):
        raise ValueError(f"coef must be {AtLeast(0)}; got {coef!r}. (YAML takes 1e4 for text: write 1.0e+4.)")
    return float(coef)


def check_count(name: str, value: int) -> int:
    """
    :param name: an argument's name
    :param value: what a user asked for
    :return: the same
    :raises ValueError: for anything but a whole number, 1 or more
    """
    check_values({name: COUNT}, {name: value})
    return value


def learned_parameters(model: BaseAlgorithm, networks: Networks = "all") -> dict[str, th.nn.Parameter]:
    """
    Find the parameters that learn; those of target networks do not.

    :param model: SAC, TQC, TD3, DDPG, DQN, QRDQN, PPO, A2C, or one of ours
    :param networks: ``actor``, ``critic`` or ``all``. What serves both (a shared features extractor, the one network of a
        value-based algorithm) belongs to each of them.
    :return: parameters by their name inside the policy
    :raises TypeError: for a policy of another structure
    """
    parts = _parts(model.policy, networks)
    named = [(names, p) for p, names in _names(model.policy).items() if p.requires_grad]
    found = {names[0]: p for names, p in named if any(name.startswith(parts) for name in names)}
    if not found:
        raise TypeError(
            f"Expected a policy with actor and critic (SAC, TD3, TQC), a q_net or quantile_net (DQN, QRDQN) or an "
            f"mlp_extractor (PPO, A2C), got {type(model.policy).__name__}: its parameters cannot be told apart."
        )
    return found


def _parts(policy: Any, networks: Networks) -> tuple[str, ...]:
    actor, critic = ACTOR_PARTS if networks != "critic" else (), CRITIC_PARTS if networks != "actor" else ()
    common: tuple[str, ...] = COMMON_PARTS
    if getattr(policy, "share_features_extractor", True) is False and networks == "critic":
        # PPO without a shared one: the actor's has this name, too, and the critic's another.
        common = tuple(part for part in common if part != "features_extractor.")
    return (*common, *actor, *critic)


def _names(policy: th.nn.Module) -> dict[th.nn.Parameter, list[str]]:
    """All names of each parameter; the first is the one that ``named_parameters()`` gives."""
    names: dict[th.nn.Parameter, list[str]] = {}
    for name, p in policy.named_parameters(remove_duplicate=False):
        names.setdefault(p, []).append(name)
    return names


def of_target(name: str) -> str:
    """
    :param name: of a parameter or module inside a policy
    :return: that of what follows it in the target network, where there is one; "" where nothing can
    """
    network, _, rest = name.partition(".")
    return f"{network}_target.{rest}" if network in WITH_TARGETS else ""


def set_with_targets(policy: th.nn.Module, values: dict[str, th.Tensor]) -> None:
    """
    Set parameters, and what follows them in target networks at once.

    :param policy: the policy, changed in place
    :param values: by the parameters' names
    """
    everything = dict(policy.named_parameters(remove_duplicate=False))
    names = _names(policy)
    for name, value in values.items():
        for target in (name, *map(of_target, names[everything[name]])):
            if target in everything:
                everything[target].data.copy_(value)


def check_rows_are_neurons(model: BaseAlgorithm, method: str) -> None:
    """
    :param model: any SB3 model
    :param method: a method that looks at what neurons put out and changes what feeds them
    :raises ValueError: with CReLU, where what feeds a neuron puts out two numbers, and other rows nothing
    """
    if any(isinstance(module, CReLU) for module in model.policy.modules()):
        raise ValueError(
            f"{method} expects layers in which each row of the weights gives one output; with CReLU half of the rows give "
            "two and the others are not read. Use one of the two, or another activation_fn."
        )


def optimizers(model: BaseAlgorithm) -> Iterator[th.optim.Optimizer]:
    """All optimizers of a model, that of the entropy coefficient too."""
    for name in model._get_torch_save_params()[0]:
        if name.endswith("optimizer"):
            yield recursive_getattr(model, name)


def neuron_layers(model: BaseAlgorithm) -> list[NeuronLayer]:
    """Every layer of neurons of a model's policy."""
    return [layer for network in find_networks(model.policy) for layer in network.layers]


def trained_layers(model: BaseAlgorithm, layers: list[NeuronLayer]) -> Iterator[tuple[th.optim.Optimizer, list[NeuronLayer]]]:
    """
    :param model: whose optimizers
    :param layers: of its policy
    :return: each optimizer that trains any of them, and these
    """
    for optimizer in optimizers(model):
        own = {p for group in optimizer.param_groups for p in group["params"]}
        trained = [layer for layer in layers if layer.own[0] in own]
        if trained:
            yield optimizer, trained


def reset_moments(model: BaseAlgorithm, parameter: th.Tensor, dim: int = 0, indices: th.Tensor | None = None) -> None:
    """
    Forget what the optimizers have gathered of a parameter's gradients.

    :param model: whose optimizers
    :param parameter: the parameter
    :param dim: dimension that ``indices`` count
    :param indices: the part in question: its moments become 0, while the optimizer's step count, one for the whole
        parameter, goes on. Default: all of it, as if the parameter were new.
    """
    for optimizer in optimizers(model):
        if parameter not in optimizer.state:
            continue
        if indices is None:
            del optimizer.state[parameter]
            continue
        for value in optimizer.state[parameter].values():
            if isinstance(value, th.Tensor) and value.shape == parameter.shape:
                value.index_fill_(dim, indices, 0.0)


def fresh_parameters(model: BaseAlgorithm) -> dict[str, th.Tensor]:
    """
    Draw a policy's parameters anew, each as its policy class initialises it.

    :param model: any SB3 model
    :return: values by the parameters' names inside the policy
    """
    arguments: dict[str, Any] = deepcopy(model.policy_kwargs)  # policies write into them
    if isinstance(model, OnPolicyAlgorithm):
        arguments["use_sde"] = model.use_sde
    policy: Any = model.policy_class
    new = policy(model.observation_space, model.action_space, model.lr_schedule, **arguments).to(model.device)
    return {name: p.detach() for name, p in new.named_parameters()}
