"""What a map of a policy is made of: networks, their hidden layers, and what reads a layer."""

from dataclasses import dataclass, field, replace

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

    def reads(self, n_neurons: int) -> th.Tensor:
        """
        :param n_neurons: of the layer
        :return: which of its neurons it reads, bool [n_neurons]
        """
        found = set(self.neurons or range(n_neurons))
        return th.tensor([neuron in found for neuron in range(n_neurons)])

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


@dataclass(frozen=True)
class Steps:
    """
    Where the steps stand along a dimension of size ``outer * n_steps * inner``.

    :param dim: the dimension; ``None`` where there are no steps: what comes from parameters alone is the same at all of them
    :param outer: how often the steps come one after the other
    :param inner: how many rows one after the other are those of one step
    """

    dim: int | None = 0
    outer: int = 1
    inner: int = 1

    def first(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: [..., n_neurons], with the steps along ``dim``
        :return: [n_steps, ..., n_neurons]; [1, ..., n_neurons] where there are none
        """
        if self.dim is None:
            return values[None]
        if self.outer == self.inner == 1:
            return values.movedim(self.dim, 0)
        return values.unflatten(self.dim, (self.outer, -1, self.inner)).movedim(self.dim + 1, 0)


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
    :param axis: dimension of the neurons in what ``activation`` puts out
    :param entries: which of its entries along ``axis`` are the layer's, where it does not put out one for each neuron (pixels
        that were flattened, several layers side by side)
    :param neurons: of which neuron each of ``entries`` is
    :param steps: where the steps stand in it; one for each call where the calls of a pass differ, used in turn
    :param is_plain: whether its readers get what ``activation`` puts out and nothing else, not a sum or a normalised form
    :param has_other_readers: whether something reads it, too, of which it is not known what it reads
    :param feeds_critic: whether a critic's values come from it
    """

    name: str
    activation: nn.Module | FunctionalActivation
    n_neurons: int
    own: list[th.Tensor]
    readers: list[Reader] = field(default_factory=list)
    axis: int = 1
    entries: tuple[int, ...] = ()
    neurons: tuple[int, ...] = ()
    steps: tuple[Steps, ...] = (Steps(),)
    is_plain: bool = True
    has_other_readers: bool = False
    feeds_critic: bool = False

    @property
    def key(self) -> str:
        """The name as one of a module's buffers, which must not contain dots."""
        return self.name.replace(".", "/")

    @property
    def is_constant(self) -> bool:
        """Whether it comes from parameters alone, and so is the same at all steps."""
        return self.steps[0].dim is None

    @property
    def is_trained(self) -> bool:
        """Whether any of its own parameters is learned, if they are known."""
        return not self.own or any(parameter.requires_grad for parameter in self.own)

    @property
    def is_read(self) -> th.Tensor:
        """Which neurons anything reads, bool [n_neurons]. What nothing reads does nothing."""
        if self.has_other_readers or not self.readers:
            return th.ones(self.n_neurons, dtype=th.bool)
        return th.stack([reader.reads(self.n_neurons) for reader in self.readers]).any(dim=0)

    def per_neuron(self, output: th.Tensor, call: int = 0) -> th.Tensor:
        """
        :param output: what ``activation`` put out
        :param call: how often it had run in the pass before
        :return: [n_steps, n_neurons], averaged over pixels, frames, objects; [1, n_neurons] where the layer is constant
        """
        axis, steps = self.axis % output.dim(), self.steps[call % len(self.steps)]
        if self.entries:
            output = self._by_neuron(output, axis)
        dim = steps.dim if steps.dim is None or steps.dim < axis else steps.dim - 1
        values = replace(steps, dim=dim).first(output.movedim(axis, -1))
        return values.mean(dim=list(range(1, values.dim() - 1))) if values.dim() > 2 else values

    def _by_neuron(self, output: th.Tensor, axis: int) -> th.Tensor:
        entries, neurons = (th.tensor(places, device=output.device) for places in (self.entries, self.neurons))
        total = output.new_zeros([*output.shape[:axis], self.n_neurons, *output.shape[axis + 1 :]])
        total = total.index_add(axis, neurons, output.index_select(axis, entries))
        return total / along(neurons.bincount(minlength=self.n_neurons), output, axis)

    def where(self, neurons: th.Tensor, output: th.Tensor) -> th.Tensor:
        """
        :param neurons: which neurons, bool [n_neurons]
        :param output: what ``activation`` put out
        :return: which of its entries are theirs, bool, to be broadcast to its shape
        """
        axis, found = self.axis % output.dim(), neurons.to(output.device)
        if self.entries:
            entries, of = (th.tensor(places, device=output.device) for places in (self.entries, self.neurons))
            counts = th.zeros(output.shape[axis], dtype=th.long, device=output.device)
            found = counts.index_add(0, entries, found[of].long()) > 0
        return along(found, output, axis)


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


def along(values: th.Tensor, output: th.Tensor, axis: int) -> th.Tensor:
    """
    :param values: one for each entry of a dimension, [n]
    :param output: any tensor
    :param axis: the dimension
    :return: a view of the values that is broadcast over the tensor
    """
    shape = [1] * output.dim()
    shape[axis] = -1
    return values.reshape(shape)
