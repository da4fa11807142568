"""Which torch call puts out a layer's activation: the last function that comes before a weight reads it."""

from collections.abc import Sequence
from dataclasses import replace

import torch as th
from torch import nn

from sb3_nbsp.neurons.flows import SAME, Flow, Site
from sb3_nbsp.neurons.labels import placed
from sb3_nbsp.neurons.units import Unit

ARITHMETIC = set(
    "add sub mul div true_divide neg negative radd rsub rmul rdiv rtruediv iadd isub imul multiply divide".split()
)


def after_function(name: str, flow: Flow, inputs: Sequence[Flow], units: Sequence[Unit], running: nn.Module | None) -> Flow:
    """
    Note whether an elementwise function made a layer's activation of its outputs, and which module ran it. Arithmetic does
    where it joins two functions of the same outputs (x * sigmoid(x)); by a constant it does not.

    What was moved, pooled or put beside other layers is taken where it is, unless its activation was put out before. In a
    stream (one summand comes from another) a neuron is what it adds: there a function is one of the stream, not of the neuron.

    :param name: of the function
    :param flow: of its result
    :param inputs: of its arguments
    :param units: all layers
    :param running: the innermost module
    :return: the flow with its sites
    """
    inside = [unit for unit in units if unit.index in flow.sites and _of(flow, unit)]
    is_alone = len(inside) == 1
    is_function = name not in ARITHMETIC and name not in SAME
    is_stream = len(flow.labels) > 1 and any(one.index in other.comes_from for one in inside for other in inside)
    sites, as_put_out = dict(flow.sites), False
    for unit in inside:
        before, labels = sites[unit.index], _of(flow, unit)
        joins = is_alone and unit.index in flow.bent and sum(bool(one.labels) for one in inputs) > 1
        is_own = is_alone and len(flow.labels) == 1 and _equal(labels[0], unit.labels)
        module = running if running is not None and (before.step == 0 or before.module) and _is_activation(running) else None
        if not (name not in ARITHMETIC or joins) or before.module not in (None, module):
            continue
        if not is_own and (is_stream or not (before.step == 0 or (is_alone and _all_equal(labels, before.labels)))):
            continue
        if not is_own and (name in SAME or place_of(labels, unit) is None):
            unit.is_bent_unseen |= is_function and before.step == 0 and not unit.is_heard
            continue
        sites[unit.index] = Site(unit.step, module, labels)
        as_put_out |= is_own and flow.as_put_out
        unit.site = unit.site if unit.is_heard else sites[unit.index]
    bent = flow.bent | ({unit.index for unit in inside} if is_function else set())
    return replace(flow, sites=sites, as_put_out=as_put_out, bent=bent)


def place_of(labels: Sequence[th.Tensor], unit: Unit) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """
    :param labels: of what a function put out
    :param unit: a layer that it holds
    :return: the neurons' dimension, counted from the end, which entries along it are the layer's, and of which neuron each is;
        ``None`` where not all neurons are there, or they stand along several dimensions
    """
    n_dims = labels[0].dim()
    for axis in sorted(range(-n_dims, 0), key=lambda axis: (axis != unit.layer.axis, -axis)):
        found = [placed(one, axis, unit.first, unit.layer.n_neurons) for one in labels]
        entries = [entry for one in found if one is not None for entry in one]
        if None not in found and {neuron for _, neuron in entries} == set(range(unit.layer.n_neurons)):
            return axis, tuple(i for i, _ in entries), tuple(neuron for _, neuron in entries)
    return None


def _of(flow: Flow, unit: Unit) -> tuple[th.Tensor, ...]:
    """The summands that hold a layer's outputs."""
    low, high = unit.first, unit.first + unit.layer.n_neurons
    return tuple(labels for labels in flow.labels if bool(((labels >= low) & (labels < high)).any()))


def _is_activation(module: nn.Module) -> bool:
    """Whether a module may be nothing but an activation function. PReLU has a parameter."""
    leaf = next(module.children(), None) is None
    return leaf and (type(module).__module__.endswith(".activation") or next(module.parameters(), None) is None)


def _equal(one: th.Tensor, other: th.Tensor) -> bool:
    return one.shape == other.shape and th.equal(one, other)


def _all_equal(some: Sequence[th.Tensor], others: Sequence[th.Tensor]) -> bool:
    return len(some) == len(others) and all(map(_equal, some, others))
