"""
Labels: which neuron each entry of a tensor comes from.

A label is the number of a neuron, counted over all layers, or :data:`NOTHING`. A tensor's labels have its own shape, so
whatever moves its entries (flatten, cat, a slice) moves them alike. A sum has several: one tensor of labels for each summand.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch as th

from sb3_nbsp.neurons.layers import Reader

NOTHING = -1
Labels = tuple[th.Tensor, ...]


def together(labels: Iterable[th.Tensor], shape: th.Size) -> Labels:
    """
    :param labels: of the summands, in shapes that broadcast to ``shape``
    :return: each in that shape, none twice
    """
    result: list[th.Tensor] = []
    for one in labels:
        one = one.broadcast_to(shape)
        if not any(th.equal(one, other) for other in result):
            result.append(one)
    return tuple(result)


def moved(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], labels_of: Callable[..., Labels]
) -> list:
    """
    Do with labels what a function does with tensors, for functions that only move entries.

    :param labels_of: the labels of a tensor
    :return: what the function returns, once for each summand
    """
    keyword = next(iter(kwargs)) if not args else None
    first = kwargs[keyword] if keyword is not None else args[0]
    several = isinstance(first, list | tuple)
    parts = [labels_of(part) for part in (first if several else [first])]
    tensors = first if several else [first]
    results = []
    for i in range(max(map(len, parts))):
        new = [
            part[i] if i < len(part) else th.full(tensor.shape, NOTHING, device=tensor.device)
            for part, tensor in zip(parts, tensors, strict=True)
        ]
        value = new if several else new[0]
        results.append(function(**{**kwargs, keyword: value}) if keyword is not None else function(value, *args[1:], **kwargs))
    return results


def rows(labels: th.Tensor, axis: int, at_most: int = 8) -> list[th.Tensor] | None:
    """
    :param labels: any shape
    :param axis: a dimension
    :param at_most: how many different rows
    :return: the different rows along the dimension; ``None`` if they are too many
    """
    flat = labels.movedim(axis, -1).reshape(-1, labels.shape[axis])
    if bool((flat == flat[0]).all()):
        return [flat[0]]
    distinct = flat.unique(dim=0)
    return list(distinct) if len(distinct) <= at_most else None


def reduced(labels: th.Tensor, dim: Any, keepdim: bool) -> th.Tensor:
    """
    Labels of a mean, sum or extremum along dimensions: :data:`NOTHING` where it is one over several neurons.
    """
    low, high = labels.amin(dim, keepdim), labels.amax(dim, keepdim)
    return th.where(low == high, low, NOTHING)


def reader_of(parameter: th.Tensor, dim: int, row: th.Tensor, first: int, n_neurons: int) -> Reader:
    """
    :param parameter: what reads
    :param dim: along which dimension
    :param row: labels of what its indices read
    :param first: label of the layer's first neuron
    :param n_neurons: its size; at least one of its neurons is read
    """
    places = ((row >= first) & (row < first + n_neurons)).nonzero()[:, 0]
    start, end = int(places[0]), int(places[-1]) + 1
    neurons = row[start:end] - first
    span = (end - start) // n_neurons
    in_order = th.arange(n_neurons, device=row.device).repeat_interleave(span)
    if th.equal(neurons, in_order):
        return Reader(parameter, dim, start, span)
    inside = (neurons >= 0) & (neurons < n_neurons)
    return Reader(parameter, dim, start, 0, tuple(th.where(inside, neurons, NOTHING).tolist()))
