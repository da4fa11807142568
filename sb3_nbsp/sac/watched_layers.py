"""What watches hidden layers (``LayerWatch``), called by an update that autograd does not make."""

from collections.abc import Sequence
from typing import Any

import torch as th
from torch import nn

from sb3_nbsp.common.layer_watch import LayerWatch


class WatchedLayers:
    """
    The watches on networks side by side, as they are at the time of a pass.

    :param mlps: networks of equal shape, in which each hidden layer is a linear one and its activation
    """

    def __init__(self, mlps: Sequence[nn.Module]):
        hidden = [list(mlp.children())[1::2] for mlp in mlps]
        self._watches: list[list[dict[int, Any]]] = [[layer._forward_hooks for layer in layers] for layers in hidden]  # live

    def __bool__(self) -> bool:
        return any(watches for by_layer in self._watches for watches in by_layer)

    def show(self, i: int, activations: th.Tensor, gradients: th.Tensor) -> None:
        """
        :param i: number of the hidden layer
        :param activations: what it put out, [n, width, samples]
        :param gradients: of the loss with respect to that, in the same shape
        """
        for k, by_layer in enumerate(self._watches):
            for watch in list(by_layer[i].values()):
                watch.see(activations[k].t(), gradients[k].t())


def is_watched(module: nn.Module) -> bool:
    """
    :param module: any
    :return: whether something watches it
    """
    return any(type(hook) is LayerWatch for hook in module._forward_hooks.values())
