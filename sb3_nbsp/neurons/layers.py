"""What a map of a policy is made of: networks, their hidden layers, and what reads a layer."""

from dataclasses import dataclass, field

import torch as th
from torch import nn

from sb3_nbsp.neurons.functional_activation import FunctionalActivation


@dataclass(frozen=True)
class Reader:
    """
    The entries of a parameter that read a layer's outputs: its outgoing side.

    Neuron ``n`` is read by the indices ``start + n * span`` to ``start + (n + 1) * span`` of dimension ``dim``
    (``span`` is H x W where a channel was flattened, else 1). Where neurons stand in another order, or only some of them,
    ``neurons`` tells for each index from ``start`` on which neuron it reads (-1: none), and ``span`` is 0.
    """

    parameter: th.Tensor
    dim: int
    start: int
    span: int
    neurons: tuple[int, ...] = ()

    def spread(self, values: th.Tensor, rest: float) -> th.Tensor:
        """
        :param values: one per neuron, [n_neurons]
        :param rest: the value of what reads no neuron of the layer
        :return: one per index of the dimension, [parameter.shape[dim]]
        """
        result = values.new_full((self.parameter.shape[self.dim],), rest)
        if self.neurons:
            neurons = th.tensor(self.neurons, device=values.device)
            found = th.where(neurons >= 0, values[neurons.clamp(min=0)], rest)
        else:
            found = values.repeat_interleave(self.span)
        result[self.start : self.start + len(found)] = found
        return result

    def indices(self, neurons: th.Tensor) -> th.Tensor:
        """
        :param neurons: indices of neurons, [k]
        :return: the indices of the dimension that read them
        """
        if self.neurons:
            places = th.tensor(self.neurons, device=neurons.device)
            return self.start + th.isin(places, neurons).nonzero()[:, 0]
        return (self.start + neurons[:, None] * self.span + th.arange(self.span, device=neurons.device)).flatten()


@dataclass(eq=False)
class NeuronLayer:
    """
    A hidden layer.

    :param name: path of the layer inside the policy, e.g. ``actor.latent_pi.0``
    :param activation: what puts out a(N, t): the leaf activation module; the layer itself where there is no activation
        function; a :class:`FunctionalActivation` where it is a function that ``forward`` calls. All take forward hooks.
    :param n_neurons: number of neurons (features of a ``Linear``, channels of a ``Conv1d`` or ``Conv2d``)
    :param own: parameters whose dimension 0 counts the neurons: weight rows, bias, affine parameters of a normalisation
    :param readers: the outgoing side
    :param axis: dimension of the neurons in what ``activation`` puts out; the first is the batch
    :param is_plain: whether its readers get what ``activation`` puts out and nothing else, not a sum or a normalised form
    """

    name: str
    activation: nn.Module | FunctionalActivation
    n_neurons: int
    own: list[th.Tensor]
    readers: list[Reader] = field(default_factory=list)
    axis: int = 1
    is_plain: bool = True

    @property
    def key(self) -> str:
        """The name as one of a module's buffers, which must not contain dots."""
        return self.name.replace(".", "/")


@dataclass(eq=False)
class Network:
    """
    Hidden layers whose neurons are ranked together.

    :param name: e.g. ``actor`` or ``critic.qf0``
    :param part: ``actor`` (acts), ``critic`` (values) or ``shared``
    :param layers: hidden layers in forward order
    :param output_biases: biases of the output layers
    """

    name: str
    part: str
    layers: list[NeuronLayer] = field(default_factory=list)
    output_biases: list[th.Tensor] = field(default_factory=list)

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return sum(layer.n_neurons for layer in self.layers)
