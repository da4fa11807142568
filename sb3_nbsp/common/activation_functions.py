"""
Activation functions without autograd: in place on the way in, and from their outputs on the way back.

Neurons stand in the last dimension but one, samples in the last: [..., n_neurons, samples].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch as th
from torch import nn
from torch.nn import functional as F

# What autograd calls, with a place for the result.
_relu_backward = th.ops.aten.threshold_backward.grad_input
_leaky_backward = th.ops.aten.leaky_relu_backward.grad_input


class Activation(Protocol):
    """h = f(z) and its derivative. Hashable; two that compare equal compute the same."""

    def forward(self, z: th.Tensor) -> th.Tensor:
        """
        :param z: [..., n_neurons, samples]
        :return: f(z), in the place of z
        """

    def backward(self, delta: th.Tensor, h: th.Tensor, out: th.Tensor) -> th.Tensor:
        """
        :param delta: dloss/dh
        :param h: f(z)
        :param out: where dloss/dz goes, in the shape of h; it may be the place of delta or of h
        :return: dloss/dz
        """


@dataclass(frozen=True)
class Rectifier:
    """
    f(z) = z for z > 0, else slope * z; h has the sign of z.

    :param slope: 0 for ReLU, LeakyReLU's ``negative_slope`` (at least 0) for LeakyReLU
    """

    slope: float = 0.0

    def forward(self, z: th.Tensor) -> th.Tensor:
        """f(z), in place."""
        return z.relu_() if self.slope == 0 else F.leaky_relu_(z, self.slope)

    def backward(self, delta: th.Tensor, h: th.Tensor, out: th.Tensor) -> th.Tensor:
        """dloss/dz = dloss/dh where h > 0, else slope * dloss/dh."""
        if self.slope == 0:
            return _relu_backward(delta, h, 0, grad_input=out)
        return _leaky_backward(delta, h, self.slope, True, grad_input=out)


@dataclass(frozen=True)
class ConcatenatedRectifier:
    """f(z) = [max(x, 0), max(-x, 0)] with x the first half of z; the other half counts for nothing."""

    def forward(self, z: th.Tensor) -> th.Tensor:
        """f(z), in place."""
        x, negative = z.chunk(2, dim=-2)
        th.neg(x, out=negative)
        return z.relu_()

    def backward(self, delta: th.Tensor, h: th.Tensor, out: th.Tensor) -> th.Tensor:
        """dloss/dx = dloss/dh where the first part is positive, minus dloss/dh where the second one is; else 0."""
        dx, silent = _relu_backward(delta, h, 0, grad_input=out).chunk(2, dim=-2)
        dx.sub_(silent)
        silent.zero_()
        return out


# By the exact type of a module: what computes the same. Another type may have a forward() of its own.
ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda module: Rectifier(),
    nn.LeakyReLU: lambda module: Rectifier(module.negative_slope),
}
