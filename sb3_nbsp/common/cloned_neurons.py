"""
Cloning of skill neurons: on old observations their activations are held, instead of what the network puts out.

The paper's "experience replay targeting these neurons", read literally. Only the acting network's neurons count: the actor's
of SAC and TQC (a critic's would need old actions, too), those of DQN's and QR-DQN's one network.
"""

from collections.abc import Sequence
from typing import Any

import torch as th

from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.layers import Network, NeuronLayer
from sb3_nbsp.neurons.skill_neurons import SkillNeurons


def check_acting_neurons(model: Any) -> None:
    """
    :param model: an off-policy NBSP model, set up, whose skill neurons shall be cloned
    :raises ValueError: where the network that acts has none
    """
    acting = _acting(model.neuron_masks.networks)
    if acting and not any(network is other for network in acting for other in model.protection.networks):
        raise ValueError(
            'clone_target="skill_neurons" clones those of the network that acts, and '
            f'mask_networks="{model.mask_networks}" leaves it without any. Use mask_networks="all" or "actor", or '
            'clone_target="outputs".'
        )
    if not acting_layers(model):
        raise ValueError(
            'clone_target="skill_neurons" needs hidden neurons in the network that acts, and none was found there. Use '
            'clone_target="outputs", or give it hidden layers with net_arch.'
        )


def acting_layers(model: Any) -> list[NeuronLayer]:
    """The hidden layers of the network that acts."""
    return [layer for network in _acting(model.protection.networks) for layer in network.layers]


def _acting(networks: Sequence[Network]) -> list[Network]:
    """DQN's one network acts, too."""
    return [network for network in networks if network.part == "actor"] or list(networks)


def activations(model: Any, observations: Any) -> th.Tensor:
    """
    :param model: an off-policy NBSP model
    :param observations: as its policy takes them, [batch, ...]
    :return: activations of the acting network's hidden neurons, differentiable, [batch, n_neurons]
    """
    layers = acting_layers(model)
    with ActivationRecorder(layers, keep_graph=True) as recorder:
        model.cloned_outputs.outputs(model, observations)
    found = [layer.per_neuron(recorder.outputs[layer.name][0]) for layer in layers]
    n = max(map(len, found))  # what comes from parameters alone has one row
    return th.cat([values.expand(n, -1) for values in found], dim=1)


def only_skill_neurons(model: Any, task: str, values: th.Tensor) -> th.Tensor:
    """
    :param model: an off-policy NBSP model
    :param task: a task's name
    :param values: activations of the acting network's hidden neurons, [batch, n_neurons]
    :return: the same with NaN for neurons that are none of the task's skill neurons
    """
    skill = SkillNeurons.from_dict(model.skill_neuron_records[task])
    chosen = th.cat([skill.chosen(layer.name) for layer in acting_layers(model)])
    return values.masked_fill(~chosen.to(values.device), th.nan)


def mean_square(kept: th.Tensor, now: th.Tensor) -> th.Tensor:
    """
    mean over the skill neurons of (a - a_old)^2

    :param kept: a_old, NaN for other neurons, [batch, n_neurons]
    :param now: a
    :return: [batch]; 0 where nothing is kept
    """
    held = ~kept.isnan()
    squares = th.where(held, now - kept.nan_to_num(), 0.0).square()
    return squares.sum(dim=1) / held.sum(dim=1).clamp(min=1)
