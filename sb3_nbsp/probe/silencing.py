"""Silence neurons: what an agent can no longer do without them is what they do."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch as th
from torch import nn

from sb3_nbsp.neurons.networks import Network, NeuronLayer

Neurons = Mapping[str, th.Tensor]  # by layer name, bool [n_neurons]


@contextmanager
def silenced(layers: Iterable[NeuronLayer], neurons: Neurons) -> Iterator[None]:
    """
    Inside the block the outputs of some neurons are 0, whatever they read (a channel: all its pixels; a feature: that of all
    tokens).

    :param layers: see :func:`~sb3_nbsp.neurons.networks.find_networks`
    :param neurons: which ones, by layer name, bool [n_neurons]; layers that are left out stay whole
    :raises ValueError: for a layer that is not there, or another number of neurons than it has
    """
    by_name = {layer.name: layer for layer in layers}
    for name, mask in neurons.items():
        if name not in by_name or mask.shape != (by_name[name].n_neurons,):
            known = ", ".join(f"{layer.name} ({layer.n_neurons})" for layer in by_name.values())
            raise ValueError(f"Expected a mask over the neurons of one of {known}; got {name} with {tuple(mask.shape)}.")
    with ExitStack() as hooks:
        for name, mask in neurons.items():
            handle = by_name[name].activation.register_forward_hook(partial(_silence, by_name[name], mask))
            hooks.callback(handle.remove)
        yield


def _silence(layer: NeuronLayer, mask: th.Tensor, module: nn.Module, inputs: tuple[Any, ...], output: th.Tensor) -> th.Tensor:
    where = layer.where(mask, output)
    is_in_place = any(output is value for value in inputs)  # what comes next may take it from there
    return output.masked_fill_(where, 0.0) if is_in_place else output.masked_fill(where, 0.0)


def acting_networks(networks: Iterable[Network]) -> list[Network]:
    """
    :param networks: of a policy
    :return: those that choose the actions: actor and shared extractor, or the Q-network where there is no actor
    """
    networks = list(networks)
    return [network for network in networks if network.part != "critic"] or networks


def lowest(scores: Mapping[str, th.Tensor], chosen: Neurons) -> dict[str, th.Tensor]:
    """
    :param scores: by layer name, [n_neurons]
    :param chosen: by layer name, bool
    :return: as many neurons as are chosen, all layers together: those with the lowest scores
    """
    return _first(th.cat(list(scores.values())).argsort(stable=True), chosen)


def random_like(chosen: Neurons, generator: th.Generator, among: Neurons | None = None) -> dict[str, th.Tensor]:
    """
    :param chosen: by layer name, bool
    :param generator: source of randomness
    :param among: which neurons may be drawn, by layer name, bool; default: all. At least as many as are chosen.
    :return: as many neurons as are chosen, all layers together: random ones
    """
    order = th.randperm(sum(len(mask) for mask in chosen.values()), generator=generator)
    if among is not None:
        order = order[th.cat([among[name] for name in chosen])[order]]
    return _first(order, chosen)


def _first(order: th.Tensor, chosen: Neurons) -> dict[str, th.Tensor]:
    sizes = [len(mask) for mask in chosen.values()]
    result = th.zeros(sum(sizes), dtype=th.bool)
    result[order[: sum(int(mask.sum()) for mask in chosen.values())]] = True
    return dict(zip(chosen, result.split(sizes), strict=True))
