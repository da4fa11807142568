"""The MLPs of many agents, forward and backward without autograd, and without a number that Python would have to read."""

from collections.abc import Sequence

import torch as th

from sb3_nbsp.common.activation_functions import Activation
from sb3_nbsp.sac.manual_mlp import Outputs, ParallelMlp


class BatchedMlp(ParallelMlp):
    """
    P * n MLPs of the same shape: n of each of P agents, agent after agent. Those of one agent read the same input.

    Inputs are [P, in, samples]; see :class:`~sb3_nbsp.sac.manual_mlp.ParallelMlp` for the rest.

    :param weights: by layer, [P * n, out, in]
    :param biases: by layer, [P * n, out, 1]
    :param activation: f
    :param n_agents: P
    """

    def __init__(self, weights: Sequence[th.Tensor], biases: Sequence[th.Tensor], activation: Activation, n_agents: int):
        super().__init__(weights, biases, activation)
        # Side by side, the first layers of an agent's networks are one layer.
        self.first_weight = weights[0].reshape(n_agents, -1, weights[0].shape[2])  # [P, n * out, in]
        self.first_bias = biases[0].reshape(n_agents, -1, 1)

    def first_layer(self, x: th.Tensor, out: th.Tensor) -> None:
        """W_1 x + b_1 of all networks, [P, n * out, samples]."""
        th.baddbmm(self.first_bias, self.first_weight, x, out=out)

    def first_gradients(self, x: th.Tensor, delta: th.Tensor, gradients: ParallelMlp) -> None:
        """The gradients with respect to W_1 and b_1."""
        th.bmm(delta, x.transpose(1, 2), out=gradients.first_weight)
        th.sum(delta, dim=2, keepdim=True, out=gradients.first_bias)

    def weighted_input_gradient(self, outputs: Outputs, deltas: Outputs, shares: th.Tensor, first: int) -> th.Tensor:
        """
        How a weighted sum of an agent's outputs changes with some of its inputs: with networks of one output and shares c,

            delta_(L-1) = c W_L^T f'(h_(L-1)),   and so on down to   d(sum_i c_i output_i)/dx = sum_i W_1^T delta_1

        Unlike :meth:`input_gradient` it goes through every network with every sample: where a share is 0, zeros are computed.
        That is twice the arithmetic for two critics, and none of the small operations, of which small networks have more.

        :param outputs: what :meth:`forward` filled
        :param deltas: room, overwritten
        :param shares: c, [P * n, 1, samples]
        :param first: the inputs from this one on are meant
        :return: [P, in - first, samples]
        """
        above = th.mul(self.transposed[-1], shares, out=deltas.layers[-2])
        for i in range(len(self.weights) - 2, 0, -1):
            self.activation.backward(above, outputs.layers[i], above)
            above = th.bmm(self.transposed[i], above, out=deltas.layers[i - 1])
        self.activation.backward(above, outputs.layers[0], above)
        return th.bmm(self.first_weight[:, :, first:].transpose(1, 2), deltas.first)
