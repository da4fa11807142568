"""A weighted layer as it is met in a forward pass."""

from dataclasses import dataclass, field

import torch as th
from torch import nn

from sb3_nbsp.neurons.flows import Site
from sb3_nbsp.neurons.layers import NeuronLayer

OWN = Site(0, None, ())


@dataclass(eq=False)
class Unit:
    """
    A weighted layer, hidden or not.

    :param layer: as it will be
    :param index: its place in the order of the pass
    :param first: label of its first neuron
    :param module: whose weight it is, if a module runs it
    :param is_read: whether anything with weights comes after it
    :param n_calls: how often it ran
    """

    layer: NeuronLayer
    index: int
    first: int
    module: nn.Module | None
    is_read: bool = False
    n_calls: int = 0
    labels: th.Tensor = field(default_factory=lambda: th.empty(0))
    step: int = 0  # torch calls since its own that took in what came from it
    site: Site = OWN  # where a(N, t) is put out
    comes_from: frozenset[int] = frozenset()  # the layers before it
    is_heard: bool = False  # whether a weight read its neurons one by one
    is_bent_unseen: bool = False  # whether a function was applied to its outputs where they cannot be recorded
