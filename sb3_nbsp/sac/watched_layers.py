"""What watches hidden layers (``LayerWatch``), called by an update that autograd does not make."""

from collections.abc import Sequence
from typing import Any

import torch as th
from torch import nn

from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.sac.manual_mlp import Show


def is_watched(module: nn.Module) -> bool:
    """
    :param module: any
    :return: whether something watches it
    """
    return any(type(hook) is LayerWatch for hook in module._forward_hooks.values())


def watches_of(mlps: Sequence[nn.Module]) -> Show | None:
    """
    :param mlps: networks of equal shape, in which each hidden layer is a linear one and its activation
    :return: what shows a layer of theirs to those that watch it; ``None`` where nobody does
    """
    hidden = [list(mlp.children())[1::2] for mlp in mlps]
    if not any(is_watched(layer) for layers in hidden for layer in layers):
        return None

    def show(i: int, activations: th.Tensor, gradients: th.Tensor) -> None:
        for k, layers in enumerate(hidden):
            watches: list[Any] = list(layers[i]._forward_hooks.values())  # as they are now
            for watch in watches:
                watch.see(activations[k].t(), gradients[k].t())

    return show
