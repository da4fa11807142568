"""
MLPs, forward and backward without autograd.

Samples are *columns*: h = W x + b is the matrix product as it is written, and the one-row outputs of the critics cost a
third of what they cost as columns. Several networks of equal shape (the critics) are computed side by side.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch as th
from torch import nn

from sb3_nbsp.common.activation_functions import Activation, Rectifier

RELU = Rectifier()

Layers = tuple[list[th.Tensor], list[th.Tensor]]  # weights [n, out, in] and biases [n, out, 1], by layer
Show = Callable[[int, th.Tensor, th.Tensor], None]  # of a hidden layer: its number, its outputs, the gradient for them


class Outputs:
    """
    One tensor per layer, [n, width, samples], and the ways in which matrix products look at them. (Nothing but looking at
    a tensor in another way costs as much as arithmetic on a small one, so it is done once.)

    :param layers: the tensors
    :param first: the first of them in the shape in which the first layer is computed
    """

    def __init__(self, layers: Sequence[th.Tensor], first: Sequence[int]):
        self.layers = list(layers)
        self.transposed = [layer.transpose(1, 2) for layer in layers]
        self.first_shape = first
        self.first = layers[0].view(*first, layers[0].shape[2])  # [n * width, samples]
        self.last = layers[-1]

    @cached_property
    def by_network(self) -> list[tuple[th.Tensor, ...]]:
        """Of each network its tensors, [width, samples]."""
        return list(zip(*(layer.unbind() for layer in self.layers), strict=True))

    def columns(self, stop: int) -> "Outputs":
        """The first samples only."""
        return Outputs([layer[:, :, :stop] for layer in self.layers], self.first_shape)


class ParallelMlp:
    """
    n MLPs of the same shape: h_l = f(W_l h_(l-1) + b_l) from h_0 = x, and W_L h_(L-1) + b_L at the end.

    :param weights: by layer, [n, out, in]
    :param biases: by layer, [n, out, 1]
    :param activation: f
    """

    def __init__(self, weights: Sequence[th.Tensor], biases: Sequence[th.Tensor], activation: Activation = RELU):
        self.n = len(weights[0])
        self.activation = activation
        self.weights, self.biases = list(weights), list(biases)
        self.transposed = [weight.transpose(1, 2) for weight in weights]
        self.transposed_by_network = list(zip(*(weight.unbind() for weight in self.transposed), strict=True))
        # All networks read the same input: side by side, their first layers are one layer.
        self.first_weight, self.first_bias = weights[0].flatten(0, 1), biases[0].flatten(0, 1)  # [n * out, in], [n * out, 1]

    def outputs(self, samples: int) -> Outputs:
        """Room for every layer's output."""
        layers = [weight.new_empty(self.n, weight.shape[1], samples) for weight in self.weights]
        return Outputs(layers, self.first_weight.shape[:-1])

    def forward(self, x: th.Tensor, outputs: Outputs) -> th.Tensor:
        """
        :param x: [in, samples]
        :param outputs: filled
        :return: the last layer's output, [n, out, samples]
        """
        self.first_layer(x, outputs.first)
        for i in range(1, len(self.weights)):
            h = self.activation.forward(outputs.layers[i - 1])
            th.baddbmm(self.biases[i], self.weights[i], h, out=outputs.layers[i])
        return outputs.last

    def backward(
        self, x: th.Tensor, outputs: Outputs, deltas: Outputs, gradients: "ParallelMlp", show: Show | None = None
    ) -> None:
        """
        The gradients of a loss with respect to weights and biases. With delta_l = dloss / d(W_l h_(l-1) + b_l),
        [n, width_l, samples], and sums over the samples

            dloss/dW_l      = delta_l h_(l-1)^T       [n, out, in]
            dloss/db_l      = delta_l 1               [n, out, 1]
            dloss/dh_(l-1)  = W_l^T delta_l           [n, in, samples]
            delta_(l-1)     = dloss/dh_(l-1) f'(z_(l-1))    for functions of one number

        :param x: [in, samples], what :meth:`forward` was given
        :param outputs: what it filled
        :param deltas: the last one holds the loss's gradient with respect to the output, the others are filled
        :param gradients: filled
        :param show: is shown h_l and dloss/dh_l of each hidden layer, [n, width_l, samples], the last layer first
        """
        for i in range(len(self.weights) - 1, 0, -1):
            delta, before = deltas.layers[i], deltas.layers[i - 1]
            th.bmm(delta, outputs.transposed[i - 1], out=gradients.weights[i])
            th.sum(delta, dim=2, keepdim=True, out=gradients.biases[i])
            # With one output the product has no sum in it, and costs a third as arithmetic entry by entry.
            product = th.mul if delta.shape[1] == 1 else th.bmm
            product(self.transposed[i], delta, out=before)
            if show is not None:
                show(i - 1, outputs.layers[i - 1], before)
            self.activation.backward(before, outputs.layers[i - 1], before)
        self.first_gradients(x, deltas.first, gradients)

    def first_layer(self, x: th.Tensor, out: th.Tensor) -> None:
        """W_1 x + b_1 of all networks."""
        th.addmm(self.first_bias, self.first_weight, x, out=out)

    def first_gradients(self, x: th.Tensor, delta: th.Tensor, gradients: "ParallelMlp") -> None:
        """The gradients with respect to W_1 and b_1, see :meth:`backward`."""
        th.mm(delta, x.t(), out=gradients.first_weight)
        th.sum(delta, dim=1, keepdim=True, out=gradients.first_bias)

    def input_gradient(self, outputs: Outputs, chosen: th.Tensor, first: int) -> th.Tensor:
        """
        How the output of one network per sample changes with some of the inputs: of networks with one output,

            delta_(L-1) = W_L^T f'(h_(L-1)),   and so on down to   d(output)/dx = W_1^T delta_1

        Each network is gone through with the samples that chose it only: the others' gradients are zero.

        :param outputs: what :meth:`forward` filled
        :param chosen: which network, by sample, [samples]
        :param first: the inputs from this row on are meant
        :return: [in - first, samples]
        """
        result = outputs.last.new_empty(self.first_weight.shape[1] - first, len(chosen))
        for k, (weights, layers) in enumerate(zip(self.transposed_by_network, outputs.by_network, strict=True)):
            samples = (chosen == k).nonzero()[:, 0]
            delta = weights[-1].expand(-1, len(samples))
            for i in range(len(weights) - 2, -1, -1):
                h = layers[i].index_select(1, samples)
                delta = self.activation.backward(delta, h, h)
                delta = th.mm(weights[i] if i else weights[0][first:], delta)
            result.index_copy_(1, samples, delta)
        return result


def parameter_groups(mlps: Sequence[nn.Module], heads: Sequence[nn.Module] = ()) -> list[list[th.Tensor]]:
    """
    The weights from the first layer to the last, then the biases, each with its likes in the other networks.

    :param mlps: networks of equal shape
    :param heads: output layers that stand apart
    """
    linears = [[layer for layer in mlp.modules() if isinstance(layer, nn.Linear)] for mlp in mlps]
    layers = [*zip(*linears, strict=True), *([heads] if heads else [])]
    return [[getattr(linear, name) for linear in layer] for name in ("weight", "bias") for layer in layers]
