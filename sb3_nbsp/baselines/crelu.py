"""CReLU: an activation that never falls silent."""

import torch as th
from torch import nn

from sb3_nbsp.common.activation_functions import ACTIVATIONS, ConcatenatedRectifier


class CReLU(nn.Module):
    """
    Concatenated ReLU, an activation function:

        CReLU(x) = [max(x, 0), max(-x, 0)]

    Of the two outputs of a neuron one is active, whatever its input, so that no neuron is dormant and all get gradients.

    .. code-block:: python

        SAC("MlpPolicy", env, policy_kwargs={"net_arch": [128, 128], "activation_fn": CReLU})  # 64 neurons a layer

    The next layer reads twice as many numbers as there are neurons. SB3's networks give it as many as the layer has rows, so
    here a layer of 128 rows has 64 neurons, its first 64 rows, and the next layer reads their 128 outputs; the other rows are
    read by nothing and get gradients of 0. To have as many neurons as a ReLU network, double ``net_arch``; left as it is, all
    layers keep the sizes that they had. For every SB3 algorithm and ours: the networks' shapes, and so files, are as always.

    Source: Shang et al. 2016 (arXiv 1603.05201, definition 2.1); for continual reinforcement learning Abbas et al. 2023 (arXiv
    2303.07507). It has no settings. How the latter chose the layers' sizes was not at hand.
    """

    def forward(self, inputs: th.Tensor) -> th.Tensor:
        """
        :param inputs: [batch, 2 n, ...], of which the first n neurons count
        :return: [batch, 2 n, ...]: their positive parts, then their negative parts
        :raises ValueError: where the size of dimension 1 is odd
        """
        size = inputs.shape[1]
        if size % 2:
            raise ValueError(f"CReLU gives two outputs per neuron: expected layers of an even size in net_arch, got {size}.")
        neurons = inputs[:, : size // 2]
        return th.cat([neurons, -neurons], dim=1).relu()


ACTIVATIONS[CReLU] = lambda module: ConcatenatedRectifier()
