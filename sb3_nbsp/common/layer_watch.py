"""A hook that shows what a layer puts out while its network learns, called by autograd or by an update without it."""

from collections.abc import Callable
from typing import Any

import torch as th

See = Callable[[th.Tensor, th.Tensor], Any]


class LayerWatch:
    """
    A forward hook for the module that puts out a layer's activations. Of a pass that is learned from it shows the activations
    and dloss/dactivations, once the gradient is there. With autograd a critic's layer is shown in the actor's loss as well:
    what counts is what was shown last before an optimizer's step, which is the same with and without it.

    SAC's update without autograd knows this hook, and calls ``see`` itself. Other forward hooks send it back to autograd.

    :param see: gets both, [batch, ...]. They are to be looked at, at once: their memory is used again.
    """

    def __init__(self, see: See):
        self.see = see

    def __call__(self, module: Any, inputs: Any, output: th.Tensor) -> None:
        """See torch, ``register_forward_hook``."""
        if not output.requires_grad:
            return
        values = output.detach().clone()  # what comes behind the layer may change its output in place

        def show(gradient: th.Tensor) -> None:
            self.see(values, gradient)

        output.register_hook(show)
