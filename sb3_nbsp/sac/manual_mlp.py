"""
MLPs with ReLU, forward and backward without autograd.

Samples are *columns*: h = W x + b is the matrix product as it is written, and the one-row outputs of the critics cost a
third of what they cost as columns. Several networks of equal shape (the critics) are computed side by side.
"""

from collections.abc import Sequence

import torch as th

_relu_backward = th.ops.aten.threshold_backward.grad_input  # what autograd calls for ReLU, with a place for the result


class Outputs:
    """
    One tensor per layer, [n, width, samples], and the ways in which matrix products look at them. (Nothing but looking at
    a tensor in another way costs as much as arithmetic on a small one, so it is done once.)

    :param layers: the tensors
    """

    def __init__(self, layers: Sequence[th.Tensor]):
        self.layers = list(layers)
        self.transposed = [layer.transpose(1, 2) for layer in layers]
        self.first = layers[0].view(-1, layers[0].shape[2])  # [n * width, samples]
        self.last = layers[-1]

    def columns(self, stop: int) -> "Outputs":
        """The first samples only."""
        return Outputs([layer[:, :, :stop] for layer in self.layers])


class ParallelMlp:
    """
    n MLPs of the same shape: h_l = relu(W_l h_(l-1) + b_l) from h_0 = x, and W_L h_(L-1) + b_L at the end.

    :param weights: by layer, [n, out, in]
    :param biases: by layer, [n, out, 1]
    """

    def __init__(self, weights: Sequence[th.Tensor], biases: Sequence[th.Tensor]):
        self.n = len(weights[0])
        self.weights, self.biases = list(weights), list(biases)
        self.transposed = [weight.transpose(1, 2) for weight in weights]
        # All networks read the same input: side by side, their first layers are one layer.
        self.first_weight, self.first_bias = weights[0].flatten(0, 1), biases[0].flatten(0, 1)  # [n * out, in], [n * out, 1]

    def outputs(self, samples: int) -> Outputs:
        """Room for every layer's output."""
        return Outputs([weight.new_empty(self.n, weight.shape[1], samples) for weight in self.weights])

    def forward(self, x: th.Tensor, outputs: Outputs) -> th.Tensor:
        """
        :param x: [in, samples]
        :param outputs: filled
        :return: the last layer's output, [n, out, samples]
        """
        th.addmm(self.first_bias, self.first_weight, x, out=outputs.first)
        for i in range(1, len(self.weights)):
            h = outputs.layers[i - 1].relu_()
            th.baddbmm(self.biases[i], self.weights[i], h, out=outputs.layers[i])
        return outputs.last

    def backward(self, x: th.Tensor, outputs: Outputs, deltas: Outputs, gradients: "ParallelMlp") -> None:
        """
        The gradients of a loss with respect to weights and biases. With delta_l = dloss / d(W_l h_(l-1) + b_l),
        [n, width_l, samples], and sums over the samples

            dloss/dW_l      = delta_l h_(l-1)^T       [n, out, in]
            dloss/db_l      = delta_l 1               [n, out, 1]
            dloss/dh_(l-1)  = W_l^T delta_l           [n, in, samples]
            delta_(l-1)     = dloss/dh_(l-1) where h_(l-1) > 0, else 0

        :param x: [in, samples], what :meth:`forward` was given
        :param outputs: what it filled
        :param deltas: the last one holds the loss's gradient with respect to the output, the others are filled
        :param gradients: filled
        """
        for i in range(len(self.weights) - 1, 0, -1):
            delta, before = deltas.layers[i], deltas.layers[i - 1]
            th.bmm(delta, outputs.transposed[i - 1], out=gradients.weights[i])
            th.sum(delta, dim=2, keepdim=True, out=gradients.biases[i])
            th.bmm(self.transposed[i], delta, out=before)
            _relu_backward(before, outputs.layers[i - 1], 0, grad_input=before)
        th.mm(deltas.first, x.t(), out=gradients.first_weight)
        th.sum(deltas.first, dim=1, keepdim=True, out=gradients.first_bias)

    def input_gradient(self, outputs: Outputs, chosen: th.Tensor, first: int) -> th.Tensor:
        """
        How the output of one network per sample changes with some of the inputs: of networks with one output,

            delta_(L-1) = W_L^T where h_(L-1) > 0, else 0,   and so on down to   d(output)/dx = W_1^T delta_1

        Each network is gone through with the samples that chose it only: the others' gradients are zero.

        :param outputs: what :meth:`forward` filled
        :param chosen: which network, by sample, [samples]
        :param first: the inputs from this row on are meant
        :return: [in - first, samples]
        """
        result = outputs.last.new_empty(self.first_weight.shape[1] - first, len(chosen))
        for k in range(self.n):
            samples = (chosen == k).nonzero()[:, 0]
            delta = self.transposed[-1][k].expand(-1, len(samples))
            for i in range(len(self.weights) - 2, -1, -1):
                h = outputs.layers[i][k].index_select(1, samples)
                delta = _relu_backward(delta, h, 0, grad_input=h)
                delta = th.mm(self.transposed[i][k] if i else self.transposed[0][k, first:], delta)
            result.index_copy_(1, samples, delta)
        return result
