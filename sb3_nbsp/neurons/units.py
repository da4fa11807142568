"""A weighted layer as it is met in a forward pass."""

from dataclasses import dataclass, field

import torch as th
from torch import nn

from sb3_nbsp.neurons.flows import OWN, Site
from sb3_nbsp.neurons.functional_activation import Followed
from sb3_nbsp.neurons.layers import NeuronLayer


@dataclass(eq=False)
class Unit:
    """
    A weighted layer, hidden or not.

    :param layer: as it will be
    :param index: its place in the order of the pass
    :param first: label of its first neuron
    :param followed: counts the calls since its own
    :param module: whose weight it is, if a module runs it
    :param is_read: whether anything with weights comes after it
    :param n_calls: how often it ran
    """

    layer: NeuronLayer
    index: int
    first: int
    followed: Followed
    module: nn.Module | None
    is_read: bool = False
    n_calls: int = 0
    labels: th.Tensor = field(default_factory=lambda: th.empty(0))
    step: int | None = 0  # of the torch call that runs now; None: it takes in nothing that came from the layer's latest call
    applied: dict[str, Site] = field(default_factory=dict)  # by the call of a function since its latest call
    latest: Site = OWN  # of the last function
    heard: set[Site] = field(default_factory=set)  # where the weights that read its neurons hear them
    is_recorded_before: bool = False  # whether it is recorded at its own call, though functions of it are heard
    comes_from: frozenset[int] = frozenset()  # the layers from whose latest calls its own comes

    @property
    def weight(self) -> th.Tensor:
        """Its weight."""
        return self.followed.weight
