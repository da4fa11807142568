"""Frozen networks whose outputs are added to those of one that learns, by autograd or by an update without it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch as th
from torch import nn
from torch.utils.hooks import RemovableHandle


class Part(NamedTuple):
    """
    One frozen network.

    :param sign: 1 or -1, by which its outputs are multiplied
    :param body: what gets the input
    :param outputs: by name, what gives the outputs from the body's; empty where the body's are the outputs
    """

    sign: float
    body: nn.Module
    outputs: Mapping[str, nn.Module]


@dataclass(eq=False)
class AddedNetworks:
    """
    What is added to a network h, as hooks on its modules: h(x) + sum over the parts of sign part(x).

    SAC's update without autograd knows these hooks, and adds the parts itself.

    :param parts: frozen, of the network's structure
    """

    parts: Sequence[Part]
    latents: list[th.Tensor] = field(default_factory=list)  # the bodies' outputs in the pass that is under way

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "latents": []}  # which autograd may know, and which cannot be copied then

    def hang(self, body: nn.Module, outputs: Mapping[str, nn.Module]) -> Iterator[RemovableHandle]:
        """
        :param body: of the network that learns
        :param outputs: what gives its outputs, by the names of the parts'; empty where the body does
        :return: what takes the hooks off
        """
        yield body.register_forward_hook(ReadInput(self))
        for name, module in outputs.items() or [("", body)]:
            yield module.register_forward_hook(AddOutput(self, name))


@dataclass(frozen=True)
class ReadInput:
    """Hook on a body: the parts' bodies get what it got."""

    networks: AddedNetworks

    def __call__(self, module: nn.Module, inputs: tuple[th.Tensor, ...], output: Any) -> None:
        """See torch, ``register_forward_hook``."""
        self.networks.latents = [part.body(inputs[0]) for part in self.networks.parts]


@dataclass(frozen=True)
class AddOutput:
    """Hook on an output: what the parts put out is added."""

    networks: AddedNetworks
    name: str

    def __call__(self, module: nn.Module, inputs: Any, output: th.Tensor) -> th.Tensor:
        """See torch, ``register_forward_hook``."""
        for part, latent in zip(self.networks.parts, self.networks.latents, strict=True):
            output = output + part.sign * (part.outputs[self.name](latent) if self.name else latent)
        return output
