"""
Labels: which neuron each entry of a tensor comes from.

A label is the number of a neuron, counted over all layers, or :data:`NOTHING`. A tensor's labels have its own shape, so
whatever moves its entries (flatten, cat, a slice) moves them alike. A sum has several: one tensor of labels for each summand.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch as th
from torch.nn import functional as F

from sb3_nbsp.neurons.layers import Reader

NOTHING = -1
AT_MOST = 8  # different rows that are told apart
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


def rows(labels: th.Tensor, axis: int, at_most: int = AT_MOST) -> list[th.Tensor] | None:
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


def reduced(labels: th.Tensor, dim: int | list[int] | tuple[int, ...], keepdim: bool) -> list[th.Tensor] | None:
    """
    Labels of a mean, sum or extremum along dimensions.

    :return: those of its summands: one where it is over entries of the same neuron, else one for each of the rows of neurons
        that were stacked along the dimensions; ``None`` where it is over the neurons themselves, or over too many rows
    """
    low, high = labels.amin(dim, keepdim), labels.amax(dim, keepdim)
    if th.equal(low, high):
        return [low]
    dims = [one % labels.dim() for one in ([dim] if isinstance(dim, int) else dim)]
    stacked = labels.movedim(dims, list(range(len(dims)))).flatten(0, len(dims) - 1)
    # A NOTHING that came from a clash would be a neuron lost without a word.
    distinct = [one for one in stacked.unique(dim=0) if bool((one != NOTHING).any())]
    if len(distinct) > AT_MOST or any(len(one[one != NOTHING].unique()) < 2 for one in distinct):
        return None
    return [one.reshape(low.shape) for one in distinct]


def padded(labels: th.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> th.Tensor:
    """What ``F.pad`` makes of labels: what it adds is another entry, or nothing."""
    given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
    mode = given.get("mode", "constant")
    value = float(NOTHING) if mode == "constant" else None
    return F.pad(labels.double(), given["pad"], mode, value).long()


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


def placed(labels: th.Tensor, axis: int, first: int, n_neurons: int) -> list[tuple[int, int]] | None:
    """
    :param labels: of an activation
    :param axis: a dimension
    :param first: label of the layer's first neuron
    :param n_neurons: its size
    :return: index along the axis and neuron, for all entries that are the layer's; ``None`` where other dimensions tell
        neurons apart, too
    """
    found = rows(labels, axis, at_most=1)
    if found is None:
        return None
    return [(i, label - first) for i, label in enumerate(found[0].tolist()) if first <= label < first + n_neurons]
