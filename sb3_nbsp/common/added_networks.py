"""Frozen networks whose outputs are added to those of one that learns, by autograd or by an update without it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch as th
from torch import nn
from torch.utils.hooks import RemovableHandle


class Part(NamedTuple):
    """
    One frozen network.

    :param sign: 1 or -1, by which its outputs are multiplied
    :param body: what gets the input; its parameters have ``requires_grad=False``, and stay what they are
    :param heads: output layers behind the body; none where the body's output is the network's
    """

    sign: float
    body: nn.Module
    heads: Sequence[nn.Module] = ()


@dataclass(frozen=True, eq=False)
class AddedNetworks:
    """
    What is added to a network h, as hooks on its modules: h(x) + sum over the parts of sign part(x).

    SAC's update without autograd knows these hooks, and adds the parts itself.

    :param parts: frozen, of the network's structure
    """

    parts: tuple[Part, ...]
    latents: list[th.Tensor] = field(default_factory=list)  # the bodies' outputs in the pass that is under way

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": self.parts, "latents": []}  # which autograd may know, and which cannot be copied then

    def hang(self, body: nn.Module, heads: Sequence[nn.Module] = ()) -> Iterator[RemovableHandle]:
        """
        :param body: of the network that learns
        :param heads: its output layers, in the order of the parts'
        :return: what takes the hooks off
        """
        yield body.register_forward_hook(ReadInput(self))
        if not heads:
            yield body.register_forward_hook(AddOutput(self))
        for i, head in enumerate(heads):
            yield head.register_forward_hook(AddOutput(self, i))


@dataclass(frozen=True)
class ReadInput:
    """Hook on a body: the parts' bodies get what it got."""

    networks: AddedNetworks

    def __call__(self, module: nn.Module, inputs: tuple[th.Tensor, ...], output: Any) -> None:
        """See torch, ``register_forward_hook``."""
        self.networks.latents[:] = [part.body(inputs[0]) for part in self.networks.parts]


@dataclass(frozen=True)
class AddOutput:
    """
    Hook on an output: what the parts put out is added.

    :param head: number of the head that it hangs on; ``None`` for a body
    """

    networks: AddedNetworks
    head: int | None = None

    def __call__(self, module: nn.Module, inputs: Any, output: th.Tensor) -> th.Tensor:
        """See torch, ``register_forward_hook``."""
        for part, latent in zip(self.networks.parts, self.networks.latents, strict=True):
            output = output + part.sign * (latent if self.head is None else part.heads[self.head](latent))
        return output
