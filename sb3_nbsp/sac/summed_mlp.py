"""MLPs to which frozen ones are added (``AddedNetworks``), without autograd."""

from collections.abc import Sequence
from typing import Any

import torch as th
from torch import nn

from sb3_nbsp.common.activation_functions import Activation
from sb3_nbsp.common.added_networks import Part, ReadInput
from sb3_nbsp.sac.manual_mlp import Outputs, ParallelMlp, parameter_groups

Signed = tuple[float, ParallelMlp]


class SummedMlp(ParallelMlp):
    """
    n MLPs and what is added to each: h(x) + sum_i sign_i h_i(x), in which the h_i are frozen, so that a loss's gradient with
    respect to the parameters is that of h alone.

    :param weights, biases, activation: of h, see :class:`~sb3_nbsp.sac.manual_mlp.ParallelMlp`
    :param frozen: of each h_i its sign, and its n networks side by side
    """

    def __init__(
        self, weights: Sequence[th.Tensor], biases: Sequence[th.Tensor], activation: Activation, frozen: Sequence[Signed]
    ):
        super().__init__(weights, biases, activation)
        self._frozen = list(frozen)
        self._rooms: list[Outputs] = []  # what each of them put out last

    def forward(self, x: th.Tensor, outputs: Outputs) -> th.Tensor:
        """h(x) + sum_i sign_i h_i(x), see :meth:`ParallelMlp.forward`."""
        result = super().forward(x, outputs)
        if not self._rooms or self._rooms[0].last.shape[2] != x.shape[1]:
            self._rooms = [mlp.outputs(x.shape[1]) for _, mlp in self._frozen]
        for (sign, mlp), room in zip(self._frozen, self._rooms, strict=True):
            result.add_(mlp.forward(x, room), alpha=sign)
        return result

    def input_gradient(self, outputs: Outputs, chosen: th.Tensor, first: int) -> th.Tensor:
        """Of the sum, right after its :meth:`forward`, see :meth:`ParallelMlp.input_gradient`."""
        result = super().input_gradient(outputs, chosen, first)
        for (sign, mlp), room in zip(self._frozen, self._rooms, strict=True):
            result.add_(mlp.input_gradient(room, chosen, first), alpha=sign)
        return result


def hooks_of_kind(module: nn.Module, kind: type) -> list[Any]:
    """
    :param module: any
    :param kind: a type
    :return: the forward hooks of just this type that hang on it
    """
    return [hook for hook in module._forward_hooks.values() if type(hook) is kind]


def added_to(body: nn.Module) -> list[Part]:
    """
    :param body: of a network
    :return: all that is added to the network
    """
    return [part for hook in hooks_of_kind(body, ReadInput) for part in hook.networks.parts]


def frozen_mlps(mlps: Sequence[nn.Module], activation: Activation) -> list[Signed]:
    """
    :param mlps: bodies of networks of equal shape, of whose hooks ``hook_obstacles`` says nothing
    :param activation: the hidden layers'
    :return: what is added to them, with copies of its parameters
    """
    return [(parts[0].sign, _side_by_side(parts, activation)) for parts in zip(*map(added_to, mlps), strict=True)]


def _side_by_side(parts: Sequence[Part], activation: Activation) -> ParallelMlp:
    groups = parameter_groups([part.body for part in parts], parts[0].heads)
    tensors = [th.cat([p.detach() for p in group]) for group in groups]  # [n * out, in], then [n * out]
    weights, biases = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
    n = len(parts)
    weights = [weight.view(n, -1, weight.shape[1]) for weight in weights]
    return ParallelMlp(weights, [bias.view(n, -1, 1) for bias in biases], activation)
