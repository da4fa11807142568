"""Say which trainable parameters of a policy no mask can hold."""

import warnings

import torch as th
from torch import nn

from sb3_nbsp.neurons.forward_graph import ForwardGraph
from sb3_nbsp.neurons.layers import Network
from sb3_nbsp.neurons.names import module_names

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def warn_of_what_is_not_held(policy: nn.Module, networks: list[Network], graph: ForwardGraph) -> None:
    """
    Warn once of all trainable parameters that belong to no neuron and read none, by module.

    :param policy: an SB3 policy
    :param networks: its networks
    :param graph: the forward pass that they were read from
    """
    held = {id(parameter) for parameter in _held(networks)}
    # The standard deviation of PPO's actions is one parameter for all observations: it is no neuron's.
    exempt = {id(getattr(policy, "log_std", None))} if hasattr(policy, "action_net") else set()
    free = {id(p) for p in graph.names if p.requires_grad} - held - exempt
    unclear = [graph.names[p] for p in graph.names if p in graph.readings.unclear and id(p) not in free]
    parts = _described(policy, free)
    if unclear:
        parts.append(f"the columns of {', '.join(unclear)}, which read neurons that cannot be told apart")
    if parts:
        warnings.warn(
            f"Parts of this policy are neither scored nor protected: {', '.join(parts)}. Their parameters "
            "change freely while later tasks are learned. Held are Linear, Conv1d and Conv2d layers that other such layers "
            "read through elementwise functions, normalisation, concatenation and addition.",
            stacklevel=3,
        )


def warn_of_what_is_left_out(unplaced: list[str], recorded_before: list[str]) -> None:
    """
    Warn of layers whose neurons cannot be scored, and of those that are scored on what they put out before their activation.

    :param unplaced: names of the former
    :param recorded_before: of the latter
    """
    if unplaced:
        warnings.warn(
            f"The neurons of {', '.join(unplaced)} are neither scored nor protected: which rows of their outputs belong "
            "to which step of the batch cannot be told. Keep the steps in one dimension of their own or folded with others in "
            "a fixed order, as in x.reshape(n_steps * n_objects, n_features).",
            stacklevel=3,
        )
    if recorded_before:
        warnings.warn(
            f"The activations of {', '.join(recorded_before)} are recorded before the activation function, which takes only "
            "some of the layer's outputs at a time or mixes them with others, or is not all that is read: neurons that are "
            "never active may count as active. Let all that reads the layer read one function of its outputs as a whole where "
            "that matters.",
            stacklevel=3,
        )


def _held(networks: list[Network]) -> list[th.Tensor]:
    layers = [layer for network in networks for layer in network.layers]
    readers = [reader.parameter for layer in layers for reader in layer.readers]
    own = [parameter for layer in layers for parameter in layer.own]
    return [*own, *readers, *(bias for network in networks for bias in network.output_biases)]


def _described(policy: nn.Module, free: set[int]) -> list[str]:
    """Modules whose parameters are all free, as "GRUCell rnn"; single parameters of others."""
    found: list[str] = []
    named: set[int] = set()
    for path, module in module_names(policy):
        parameters = [p for p in module.parameters() if p.requires_grad and id(p) not in named]
        inside = {id(p) for p in parameters}
        is_one = not list(module.children()) or type(module).__module__.startswith("torch.nn.modules")
        if path and inside and inside <= free and is_one and not isinstance(module, CONTAINERS):
            found.append(f"{type(module).__name__} {path}")
            named |= inside
        else:
            own = {name: p for name, p in module.named_parameters(recurse=False) if id(p) in free - named}
            found += [f"{f'{path}.' if path else ''}{name}" for name in own]
            named |= {id(p) for p in own.values()}
    return found
