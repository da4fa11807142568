"""
Where the neurons of a policy are: its hidden layers, and the parameters that feed and read each neuron.

A neuron is one output of a ``Linear`` layer, or one channel of a ``Conv1d`` or ``Conv2d`` layer, that another layer reads.
The map is read from one forward pass (:mod:`sb3_nbsp.neurons.forward_graph`), so policies of one's own are understood as
well. What is added into a stream (a residual block) is a neuron of its own, read by whatever reads the stream.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from torch import nn

from sb3_nbsp.neurons import dummy_pass
from sb3_nbsp.neurons.forward_graph import ForwardGraph
from sb3_nbsp.neurons.layers import Network, NeuronLayer, Reader
from sb3_nbsp.neurons.names import parameter_names
from sb3_nbsp.neurons.not_held import warn_of_what_is_left_out, warn_of_what_is_not_held
from sb3_nbsp.neurons.steps import Run, place_steps
from sb3_nbsp.neurons.units import Unit

__all__ = ["Network", "NeuronLayer", "Reader", "find_networks", "networks_of"]


def find_networks(policy: BasePolicy) -> list[Network]:
    """
    Find the hidden layers of an SB3 or sb3-contrib policy, or of one of your own. Warns of parameters that no mask holds.

    :param policy: policy of SAC, TD3, DDPG, TQC, DQN, QRDQN, PPO or A2C, whose networks may be your own
    :return: its networks; a features extractor that feeds several networks is a network of its own
    :raises TypeError: for a policy of another structure
    """
    read = _reading(policy)
    graph = ForwardGraph(policy, parameter_names(policy))
    try:
        with dummy_pass.undisturbed(policy):
            networks = read(policy, graph)
            left_out = _without_unplaced(networks, partial(_run, policy))
    except Exception as error:  # the parent may well train it
        warnings.warn(
            f"No forward pass of {type(policy).__name__} could be run on a sample of its observation space "
            f"({type(error).__name__}: {error}), so none of its neurons is scored or protected.",
            stacklevel=2,
        )
        return []
    warn_of_what_is_not_held(policy, networks, graph)
    warn_of_what_is_left_out(left_out, graph.recorded_before)
    return networks


def networks_of(module: nn.Module, name: str, run: Callable[[], Any], part: str = "actor") -> list[Network]:
    """
    Find the hidden layers of any module.

    :param module: the module
    :param name: its name, the first part of its layers' names
    :param run: a forward pass, which calls the module with tensors whose dimension 0 is the batch
    :param part: see :class:`Network`
    :return: one network
    """
    names = {parameter: f"{name}.{path}" for parameter, path in parameter_names(module).items()}
    graph = ForwardGraph(module, names)
    with dummy_pass.undisturbed(module):
        with graph:
            run()
        networks = _filled(graph, [Network(name, part)], lambda unit: 0)
        calls_it = _run_module(module, run, range(dummy_pass.BATCH)) > 0  # else its steps stand in dimension 0
        left_out = _without_unplaced(networks, partial(_run_module, module, run)) if calls_it else []
        warn_of_what_is_left_out(left_out, graph.recorded_before)
    return networks


def _reading(policy: Any) -> Callable[[Any, ForwardGraph], list[Network]]:
    if hasattr(policy, "actor") and hasattr(policy, "critic"):
        return _actor_critic_networks
    if hasattr(policy, "q_net") or hasattr(policy, "quantile_net"):
        return _single_network
    if hasattr(policy, "mlp_extractor") or (hasattr(policy, "get_distribution") and hasattr(policy, "predict_values")):
        return _on_policy_networks
    raise TypeError(
        f"Expected a policy with actor and critic (SAC, TD3, TQC), a q_net or quantile_net (DQN, QRDQN) or an "
        f"mlp_extractor (PPO, A2C), got {type(policy).__name__}: its neurons cannot be found."
    )


def _actor_critic_networks(policy: Any, graph: ForwardGraph) -> list[Network]:
    observations = dummy_pass.observations(policy)
    with graph:
        policy.actor(observations)
        n_actor = len(graph.units)
        policy.critic(observations, dummy_pass.actions(policy))
    q_networks = list(getattr(policy.critic, "q_networks", []))
    extractor = getattr(policy.critic, "features_extractor", None)
    networks = [
        Network("actor", "actor"),
        Network("critic.features_extractor", "critic"),
        *(Network(f"critic.qf{i}", "critic") for i in range(len(q_networks))),
        Network("critic", "critic"),
    ]
    critics = [extractor, *q_networks]

    def place(unit: Unit) -> int:
        if unit.index < n_actor:
            return 0
        holds = [i for i, part in enumerate(critics) if part is not None and _has(part, unit)]
        return 1 + (holds[0] if holds else len(critics))

    filled = _filled(graph, networks, place)
    return [network for network in filled if network.layers or network.output_biases or network.name in _expected(networks)]


def _expected(networks: list[Network]) -> set[str]:
    """Networks that are there also if they are linear."""
    return {network.name for network in networks} - {"critic.features_extractor", "critic"}


def _single_network(policy: Any, graph: ForwardGraph) -> list[Network]:
    name = "q_net" if hasattr(policy, "q_net") else "quantile_net"
    with graph:
        getattr(policy, name)(dummy_pass.observations(policy))
    return _filled(graph, [Network(name, "critic")], lambda unit: 0)


def _on_policy_networks(policy: Any, graph: ForwardGraph) -> list[Network]:
    observations = dummy_pass.observations(policy)
    with graph:
        distribution = policy.get_distribution(observations)
        values = policy.predict_values(observations)
        acts = graph.layers_before(dummy_pass.outputs_of(distribution))
        judges = graph.layers_before(dummy_pass.outputs_of(values))
    networks = [
        Network("features_extractor", "shared"),
        Network("mlp_extractor", "shared"),
        Network("policy", "actor"),
        Network("value", "critic"),
    ]

    def place(unit: Unit) -> int:
        if unit.index in acts and unit.index in judges:
            return 0 if _has(policy.features_extractor, unit) else 1
        return 3 if unit.index in judges else 2

    return [network for network in _filled(graph, networks, place) if network.part != "shared" or network.layers]


def _run(policy: Any, rows: Sequence[int]) -> None:
    """A pass of all networks on these rows of the made-up observations."""
    observations = dummy_pass.observations(policy, rows)
    if hasattr(policy, "actor") and hasattr(policy, "critic"):
        policy.actor(observations)
        policy.critic(observations, dummy_pass.actions(policy, len(rows)))
    elif hasattr(policy, "q_net") or hasattr(policy, "quantile_net"):
        getattr(policy, "q_net" if hasattr(policy, "q_net") else "quantile_net")(observations)
    else:
        policy.get_distribution(observations)
        policy.predict_values(observations)


def _run_module(module: nn.Module, run: Callable[[], Any], rows: Sequence[int]) -> int:
    """A pass in which the module gets these rows of what it is called with; how often it was called."""
    calls = []

    def exchange(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        calls.append(1)
        return dummy_pass.rows_of(args, rows), dummy_pass.rows_of(kwargs, rows)

    hook = module.register_forward_pre_hook(exchange, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return len(calls)


def _without_unplaced(networks: list[Network], run: Run) -> list[str]:
    """Leave out the layers whose steps cannot be told apart; their names."""
    left_out = place_steps([layer for network in networks for layer in network.layers], run)
    for network in networks:
        network.layers = [layer for layer in network.layers if layer not in left_out]
    return [layer.name for layer in left_out]


def _filled(graph: ForwardGraph, networks: list[Network], place: Callable[[Unit], int]) -> list[Network]:
    """Put each layer into its network, and the biases of those that nothing reads."""
    hidden = set(graph.hidden())
    for unit in graph.units:
        network = networks[place(unit)]
        if unit in hidden:
            network.layers.append(unit.layer)
        else:
            network.output_biases += [parameter for parameter in unit.layer.own if parameter.dim() == 1]
    return networks


def _has(module: nn.Module, unit: Unit) -> bool:
    weight: th.Tensor = unit.layer.own[0]
    return any(parameter is weight for parameter in module.parameters())
