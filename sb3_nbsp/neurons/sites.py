"""Which torch call puts out a layer's activation: the last function that comes before a weight reads it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch as th
from torch import nn

from sb3_nbsp.neurons.flows import MOVES, UNSEEN, Flow, Place, Site
from sb3_nbsp.neurons.functional_activation import tensors_in
from sb3_nbsp.neurons.labels import Labels, placed
from sb3_nbsp.neurons.units import Unit

ARITHMETIC = set(
    "add sub mul div true_divide neg negative radd rsub rmul rdiv rtruediv iadd isub imul multiply divide".split()
)


def after_function(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], flow: Flow, units: Sequence[Unit], running: nn.Module | None
) -> Flow:
    """
    Note of which layers a call put out the activation, and which module ran it.

    :param name: of a function that works element by element, or moves entries
    :param args: its arguments
    :param kwargs: its arguments
    :param flow: of its result
    :param units: all layers
    :param running: the innermost module
    :return: the flow with its sites
    """
    inside = [unit for unit in units if unit.index in flow.sites and _of(flow, unit)]
    sites, as_put_out = dict(flow.sites), name in MOVES and flow.as_put_out
    # relu(h) is the same wherever it is written.
    given = [(id(tensor), tensor._version) for tensor in tensors_in((args, kwargs))]
    others = [value for value in (*args, *kwargs.items()) if not any(True for _ in tensors_in(value))]
    called = f"{name} {given} {others}"
    for unit in inside:
        labels, latest = _of(flow, unit), max(flow.sites[unit.index], key=lambda site: site.step)
        module = running if _is_activation(running) and (latest.step == 0 or latest.module) else None
        how = _makes_activation(name, unit, flow, inside, module)
        if how is None:
            continue
        site = UNSEEN
        if how != "unseen":
            assert unit.step is not None
            site = Site(unit.step, module, name, None if how == "own" else place_of(labels, unit), labels)
            site = unit.applied.setdefault(called, site)
        sites[unit.index] = frozenset([site])
        as_put_out |= how == "own" and flow.as_put_out
        unit.latest = unit.latest if unit.heard else site
    return replace(flow, sites=sites, as_put_out=as_put_out)


def _makes_activation(
    name: str, unit: Unit, flow: Flow, inside: Sequence[Unit], module: nn.Module | None
) -> Literal["own", "moved", "unseen"] | None:
    """
    What a call is to a layer whose outputs went into it.

    - "own": its activation function, of the layer's outputs where the layer put them;
    - "moved": the same, where they were pooled or flattened, or stand beside those of other layers; also the call that puts
      several functions of them side by side, as ``cat([relu(h), relu(-h)])``;
    - "unseen": the same, but it cannot be recorded: some of the layer's outputs are missing, or they are of an earlier call;
    - ``None``: none. It is arithmetic, but not of several functions of the same outputs (``x * sigmoid(x)``); or it comes
      behind the module that put the activation out, or behind a function and a move; or it is one of a stream.
    """
    before, labels = flow.sites[unit.index], _of(flow, unit)
    latest = max(before, key=lambda site: site.step)
    if name in MOVES:
        joins = len(before) > 1 and len(flow.labels) == 1 and unit.step is not None
        return "moved" if joins and place_of(labels, unit) is not None else None
    is_alone = len(inside) == 1
    joins = is_alone and len(before) > 1
    if not joins and (name in ARITHMETIC or latest.module not in (None, module)):
        return None
    if is_alone and _all_equal(flow.labels, [unit.labels]):
        return "unseen" if unit.step is None else "own"
    # In a stream, where one summand comes from another, a neuron is what it adds.
    is_stream = len(flow.labels) > 1 and any(one.index in other.comes_from for one in inside for other in inside)
    if is_stream or not (latest.step == 0 or (is_alone and _all_equal(labels, latest.labels))):
        return None
    if place_of(labels, unit) is None or unit.step is None:
        return "unseen" if latest.step == 0 else None
    return "moved"


def place_of(labels: Sequence[th.Tensor], unit: Unit) -> Place | None:
    """
    :param labels: of what a function put out
    :param unit: a layer that it holds
    :return: where its neurons stand; ``None`` where not all are there, or they stand along several dimensions
    """
    n_dims = labels[0].dim()
    for axis in sorted(range(-n_dims, 0), key=lambda axis: (axis != unit.layer.axis, -axis)):
        found = [placed(one, axis, unit.first, unit.layer.n_neurons) for one in labels]
        entries = [entry for one in found if one is not None for entry in one]
        if None not in found and {neuron for _, neuron in entries} == set(range(unit.layer.n_neurons)):
            neurons = tuple(neuron for _, neuron in entries)
            if labels[0].shape[axis] == len(entries) and neurons == tuple(range(unit.layer.n_neurons)):
                return axis, (), ()
            return axis, tuple(i for i, _ in entries), neurons
    return None


def _of(flow: Flow, unit: Unit) -> Labels:
    """The summands that hold a layer's outputs."""
    low, high = unit.first, unit.first + unit.layer.n_neurons
    return tuple(labels for labels in flow.labels if bool(((labels >= low) & (labels < high)).any()))


def _is_activation(module: nn.Module | None) -> bool:
    """Whether a module may be nothing but an activation function. PReLU has a parameter."""
    if module is None or next(module.children(), None) is not None:
        return False
    return type(module).__module__.endswith(".activation") or next(module.parameters(), None) is None


def _all_equal(some: Sequence[th.Tensor], others: Sequence[th.Tensor]) -> bool:
    return len(some) == len(others) and all(a.shape == b.shape and th.equal(a, b) for a, b in zip(some, others, strict=True))
