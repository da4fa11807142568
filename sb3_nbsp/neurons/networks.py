"""
Where the neurons of an SB3 policy are: its hidden layers, and the parameters that feed and read each neuron.

A neuron is one output of a hidden ``Linear`` layer, or one channel of a hidden ``Conv2d`` layer. The layers are found by
walking the policy's Sequentials, so any ``net_arch``, activation or normalisation that sits in them is understood.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn


@dataclass(frozen=True)
class Reader:
    """
    The entries of a parameter that read a layer's outputs: its outgoing side.

    Neuron ``n`` is read by the indices ``start + n * span`` to ``start + (n + 1) * span`` of dimension ``dim``
    (``span`` is H x W where a channel was flattened, else 1).
    """

    parameter: th.Tensor
    dim: int
    start: int
    span: int


@dataclass(eq=False)
class NeuronLayer:
    """
    A hidden layer.

    :param name: path of the layer inside the policy, e.g. ``actor.latent_pi.0``
    :param activation: the leaf module whose output is a(N, t)
    :param n_neurons: number of neurons (features of a ``Linear``, channels of a ``Conv2d``)
    :param own: parameters whose dimension 0 counts the neurons: weight rows, bias, affine parameters of a normalisation
    :param readers: the outgoing side
    """

    name: str
    activation: nn.Module
    n_neurons: int
    own: list[th.Tensor]
    readers: list[Reader] = field(default_factory=list)


@dataclass(eq=False)
class Network:
    """
    Hidden layers whose neurons are ranked together.

    :param name: e.g. ``actor`` or ``critic.qf0``
    :param part: ``actor`` (acts), ``critic`` (values) or ``shared``
    :param layers: hidden layers in forward order
    :param output_biases: biases of the output layers
    """

    name: str
    part: str
    layers: list[NeuronLayer] = field(default_factory=list)
    output_biases: list[th.Tensor] = field(default_factory=list)

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return sum(layer.n_neurons for layer in self.layers)


@dataclass(frozen=True)
class _Source:
    """Neurons that make up a stretch of the vector which the next layer reads; it begins at ``start``."""

    layer: NeuronLayer
    start: int = 0


def find_networks(policy: BasePolicy) -> list[Network]:
    """
    Find the hidden layers of an SB3 or sb3-contrib policy.

    :param policy: policy of SAC, TD3, DDPG, TQC, DQN, QRDQN, PPO or A2C
    :return: its networks; a features extractor that feeds several networks is a network of its own
    :raises TypeError: for a policy of another structure
    """
    if hasattr(policy, "actor") and hasattr(policy, "critic"):
        return _actor_critic_networks(policy)
    for name in ("q_net", "quantile_net"):
        if hasattr(policy, name):
            return [_single_network(name, getattr(policy, name))]
    if hasattr(policy, "mlp_extractor"):
        return _on_policy_networks(policy)
    raise TypeError(
        f"Expected a policy with actor and critic (SAC, TD3, TQC), a q_net or quantile_net (DQN, QRDQN) or an "
        f"mlp_extractor (PPO, A2C), got {type(policy).__name__}: its neurons cannot be found."
    )


def _actor_critic_networks(policy: Any) -> list[Network]:
    actor, critic = policy.actor, policy.critic
    networks = []

    network = Network("actor", "actor")
    actor_sources = _walk_extractor(actor.features_extractor, "actor.features_extractor", network)
    if hasattr(actor, "latent_pi"):
        sources = _walk(actor.latent_pi, "actor.latent_pi", network, actor_sources)
        for head in (actor.mu, actor.log_std):
            _read_by_head(head, network, sources)
    else:  # TD3 and DDPG keep hidden and output layers in one Sequential
        _walk(actor.mu, "actor.mu", network, actor_sources, ends_in_output=True)
    networks.append(network)

    if critic.features_extractor is actor.features_extractor:
        sources = actor_sources
    else:
        extractor = Network("critic.features_extractor", "critic")
        sources = _walk_extractor(critic.features_extractor, extractor.name, extractor)
        if extractor.layers:
            networks.append(extractor)
    for i, q_network in enumerate(critic.q_networks):
        network = Network(f"critic.qf{i}", "critic")
        # Features stand before the actions in its input.
        _walk(q_network, network.name, network, sources, ends_in_output=True)
        networks.append(network)
    return networks


def _single_network(name: str, q_net: Any) -> Network:
    network = Network(name, "critic")
    sources = _walk_extractor(q_net.features_extractor, f"{name}.features_extractor", network)
    _walk(getattr(q_net, name), f"{name}.{name}", network, sources, ends_in_output=True)
    return network


def _on_policy_networks(policy: Any) -> list[Network]:
    actor, value = Network("policy", "actor"), Network("value", "critic")
    networks = [actor, value]
    if policy.share_features_extractor:
        shared = Network("features_extractor", "shared")
        pi_sources = vf_sources = _walk_extractor(policy.features_extractor, shared.name, shared)
        if shared.layers:
            networks.insert(0, shared)
    else:
        pi_sources = _walk_extractor(policy.pi_features_extractor, "pi_features_extractor", actor)
        vf_sources = _walk_extractor(policy.vf_features_extractor, "vf_features_extractor", value)
    pi_sources = _walk(policy.mlp_extractor.policy_net, "mlp_extractor.policy_net", actor, pi_sources)
    vf_sources = _walk(policy.mlp_extractor.value_net, "mlp_extractor.value_net", value, vf_sources)
    _read_by_head(policy.action_net, actor, pi_sources)
    if policy.use_sde:
        _read_by_head(policy.log_std, actor, pi_sources)
    _read_by_head(policy.value_net, value, vf_sources)
    return networks


def _walk_extractor(extractor: Any, name: str, network: Network) -> list[_Source]:
    """Add a features extractor's hidden layers to ``network``; return what its output vector is made of."""
    if isinstance(extractor, FlattenExtractor):
        return []
    if isinstance(extractor, NatureCNN):
        return _walk(nn.Sequential(extractor.cnn, extractor.linear), name, network, [])
    if isinstance(extractor, CombinedExtractor):
        sources: list[_Source] = []
        start = 0
        for key, part in extractor.extractors.items():
            if isinstance(part, NatureCNN):
                part_sources = _walk_extractor(part, f"{name}.{key}", network)
                sources += [_Source(source.layer, start + source.start) for source in part_sources]
                start += part.features_dim
            else:
                start += get_flattened_obs_dim(extractor._observation_space[key])  # type: ignore[index]
        return sources
    if any(isinstance(module, nn.Linear | nn.Conv2d) for module in extractor.modules()):
        warnings.warn(
            f"The structure of the features extractor {type(extractor).__name__} is not known: "
            "its neurons are neither scored nor protected. FlattenExtractor, NatureCNN and CombinedExtractor are.",
            stacklevel=2,
        )
    return []


def _walk(
    chain: nn.Module, name: str, network: Network, sources: list[_Source], ends_in_output: bool = False
) -> list[_Source]:
    """
    Add the hidden layers of a Sequential to ``network``; return what its output is made of.

    :param ends_in_output: the last weighted layer is an output layer, also where a squashing function follows it
    """
    leaves = list(_leaves(chain, name))
    weighted = [path for path, module in leaves if isinstance(module, nn.Linear | nn.Conv2d)]
    pending: NeuronLayer | None = None  # a weighted layer whose activation has not come yet
    for path, module in leaves:
        if isinstance(module, nn.Linear | nn.Conv2d):
            _read(module, sources)
            if ends_in_output and path == weighted[-1]:
                network.output_biases += [p for p in _parameters(module) if p.dim() == 1]
                return []
            pending = NeuronLayer(path, module, module.weight.shape[0], _parameters(module))
            sources = []
        elif _is_normalization(module):  # it belongs to the neurons that it scales
            layer = pending or (sources[0].layer if len(sources) == 1 else None)
            if layer is not None:
                layer.own += [p for p in _parameters(module) if p.shape[0] == layer.n_neurons]
        elif pending is not None and not isinstance(module, nn.Flatten | nn.Dropout | nn.Identity):
            pending.activation = module
            network.layers.append(pending)
            sources, pending = [_Source(pending)], None
    if pending is not None:
        network.output_biases += [p for p in pending.own if p.dim() == 1]
    return sources


def _is_normalization(module: nn.Module) -> bool:
    # An activation may have parameters too (PReLU).
    return bool(_parameters(module)) and not type(module).__module__.endswith(".activation")


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _leaves(child, f"{name}.{child_name}")


def _parameters(module: nn.Module) -> list[th.Tensor]:
    return list(module.parameters(recurse=False))


def _read(module: nn.Linear | nn.Conv2d, sources: list[_Source]) -> None:
    """Note that ``module`` reads the sources."""
    for source in sources:
        # A convolution's channels are flattened to H x W entries each. Only a convolution that is the sole
        # source can be: what CombinedExtractor concatenates are vectors.
        flattened = isinstance(module, nn.Linear) and source.layer.own[0].dim() == 4
        span = module.weight.shape[1] // source.layer.n_neurons if flattened else 1
        source.layer.readers.append(Reader(module.weight, 1, source.start, span))


def _read_by_head(head: nn.Module | nn.Parameter, network: Network, sources: list[_Source]) -> None:
    if isinstance(head, nn.Parameter):  # gSDE: log_std has one row per latent feature
        for source in sources:
            source.layer.readers.append(Reader(head, 0, source.start, 1))
    else:
        for _, module in _leaves(head, ""):
            if isinstance(module, nn.Linear):
                _read(module, sources)
                network.output_biases += [module.bias] if module.bias is not None else []
