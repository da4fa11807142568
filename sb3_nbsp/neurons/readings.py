"""Which parameters read, scale or shift which neurons."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch as th
from torch import nn

from sb3_nbsp.neurons.flows import ALIGNED, OWN, Flow
from sb3_nbsp.neurons.labels import reader_of, rows
from sb3_nbsp.neurons.units import Unit


class Readings:
    """
    Notes them in the layers while a forward pass runs.

    :param units: all layers that were met so far
    """

    def __init__(self, units: Sequence[Unit]):
        self.units = units
        self.unclear: set[th.Tensor] = set()  # weights that read neurons in a way that is not understood

    def read(self, parameter: th.Tensor, flow: Flow, axis: int, dim: int, n_inputs: int | None = None) -> None:
        """Note that a parameter reads what flows in along an axis."""
        for index in flow.layers:
            self.units[index].is_read = True
        self.unclear |= flow.raw
        if flow.mixed:
            self._read_unclearly(parameter, flow.mixed)
        for labels in flow.labels:
            found = rows(labels, axis) if n_inputs in (None, labels.shape[axis]) else None
            if found is None:
                self._read_unclearly(parameter, flow.sites)
                continue
            for row in found:
                spread = row if n_inputs is None else row.repeat_interleave(parameter.shape[0] // n_inputs)
                for unit in self._in(spread):
                    reader = reader_of(parameter, dim, spread, unit.first, unit.layer.n_neurons)
                    unit.heard |= flow.sites.get(unit.index, frozenset([OWN]))
                    unit.layer.is_plain &= flow.as_put_out and len(flow.labels) == 1
                    if not any(_same(reader, other) for other in unit.layer.readers):
                        unit.layer.readers.append(reader)

    def _read_unclearly(self, parameter: th.Tensor, layers: Iterable[int]) -> None:
        self.unclear.add(parameter)
        for index in layers:
            self.units[index].layer.has_other_readers = True

    def _in(self, row: th.Tensor) -> list[Unit]:
        firsts = th.tensor([unit.first for unit in self.units], device=row.device)
        return [self.units[i] for i in (th.bucketize(row[row >= 0], firsts, right=True) - 1).unique().tolist()]

    def scaled(self, parameters: list[nn.Parameter], flow: Flow, name: str) -> None:
        """Note to which neurons the parameters of a normalisation belong, or others that scale and shift."""
        for parameter in parameters:
            axis = 1 if name in ("batch_norm", "group_norm", "instance_norm") else -parameter.dim()
            if parameter.dim() == 0 or (name not in ALIGNED and parameter.dim() != 1):
                continue
            for labels in flow.labels:
                found = rows(labels, axis, at_most=1) if labels.dim() >= abs(axis) else None
                if found is None or len(found[0]) != len(parameter):
                    continue
                for unit in self._in(found[0]):
                    reader = reader_of(parameter, 0, found[0], unit.first, unit.layer.n_neurons)
                    if (reader.start, reader.span, len(parameter)) == (0, 1, unit.layer.n_neurons):
                        unit.layer.own += [parameter] if all(p is not parameter for p in unit.layer.own) else []
                    elif not any(_same(reader, other) for other in unit.layer.readers):
                        unit.layer.readers.append(reader)

    def opaque(self, inputs: Iterable[Flow]) -> frozenset[int]:
        """
        Neurons go into a call with parameters that is not understood (a gated cell, attention).

        :return: indices of the layers that they, or what they came from, belong to
        """
        for flow in inputs:
            self.unclear |= flow.raw
            for index in flow.mixed.union(flow.sites):
                self.units[index].layer.has_other_readers = True
                self.units[index].heard |= flow.sites.get(index, frozenset())
        layers: frozenset[int] = frozenset().union(*(flow.layers for flow in inputs))
        for index in layers:
            self.units[index].is_read = True
        return layers


def _same(one: Any, other: Any) -> bool:
    places = (one.dim, one.start, one.span, one.neurons) == (other.dim, other.start, other.span, other.neurons)
    return one.parameter is other.parameter and places
