"""MLPs to which frozen ones are added (``AddedNetworks``), without autograd."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch as th
from torch import nn

from sb3_nbsp.common.activation_functions import Activation
from sb3_nbsp.common.added_networks import AddOutput, ReadInput
from sb3_nbsp.sac.flat_parameters import FlatParameters
from sb3_nbsp.sac.manual_mlp import Outputs, ParallelMlp, parameter_groups

Signed = tuple[float, ParallelMlp]


class SummedMlp(ParallelMlp):
    """
    n MLPs and what is added to each: h(x) + sum_i sign_i h_i(x), in which the h_i are frozen, so that a loss's gradient with
    respect to the parameters is that of h alone.

    :param weights, biases, activation: of h, see :class:`~sb3_nbsp.sac.manual_mlp.ParallelMlp`
    :param frozen: sign and networks of each h_i
    """

    def __init__(
        self,
        weights: Sequence[th.Tensor],
        biases: Sequence[th.Tensor],
        activation: Activation,
        frozen: Sequence[Signed],
    ):
        super().__init__(weights, biases, activation)
        self.frozen = list(frozen)
        self._rooms: dict[int, list[Outputs]] = {}  # by the number of samples

    def forward(self, x: th.Tensor, outputs: Outputs) -> th.Tensor:
        """h(x) + sum_i sign_i h_i(x), see :meth:`ParallelMlp.forward`."""
        result = super().forward(x, outputs)
        n_samples = x.shape[1]
        if n_samples not in self._rooms:
            self._rooms[n_samples] = [mlp.outputs(n_samples) for _, mlp in self.frozen]
        for (sign, mlp), room in zip(self.frozen, self._rooms[n_samples], strict=True):
            result.add_(mlp.forward(x, room), alpha=sign)
        return result

    def input_gradient(self, outputs: Outputs, chosen: th.Tensor, first: int) -> th.Tensor:
        """Of the sum, after :meth:`forward` with as many samples, see :meth:`ParallelMlp.input_gradient`."""
        result = super().input_gradient(outputs, chosen, first)
        for (sign, mlp), room in zip(self.frozen, self._rooms[len(chosen)], strict=True):
            result.add_(mlp.input_gradient(room, chosen, first), alpha=sign)
        return result


class Frozen(NamedTuple):
    """
    What is added to one network.

    :param sign: by which it is multiplied
    :param body: the layers
    :param heads: output layers that stand apart
    """

    sign: float
    body: nn.Module
    heads: list[nn.Module]


def frozen_mlps(mlps: Sequence[nn.Module], heads: Sequence[nn.Module], activation: Activation) -> list[Signed]:
    """
    :param mlps: networks of equal shape, of whose hooks ``hook_obstacles`` says nothing
    :param heads: output layers that stand apart, of the only one
    :param activation: the hidden layers'
    :return: sign and networks of what is added to them
    """
    result = []
    for frozen in zip(*(added_to(mlp, heads) for mlp in mlps), strict=True):
        flat = FlatParameters(parameter_groups([part.body for part in frozen], frozen[0].heads))
        result.append((frozen[0].sign, ParallelMlp(*flat.layers(flat.values, len(mlps)), activation)))
    return result


def hooks_of_kind(module: nn.Module, kind: type) -> list[Any]:
    """
    :param module: any
    :param kind: a type
    :return: the forward hooks of just this type that hang on it
    """
    return [hook for hook in module._forward_hooks.values() if type(hook) is kind]


def added_to(mlp: nn.Module, heads: Sequence[nn.Module]) -> list[Frozen]:
    """
    :param mlp: a network whose hooks of the two kinds belong together
    :param heads: its output layers that stand apart
    :return: all that is added to it
    """
    names = [[hook.name for hook in hooks_of_kind(head, AddOutput)] for head in heads]
    read = [hook.networks for hook in hooks_of_kind(mlp, ReadInput)]
    return [
        Frozen(part.sign, part.body, [part.outputs[of_head[i]] for of_head in names])
        for i, networks in enumerate(read)
        for part in networks.parts
    ]
