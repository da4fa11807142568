"""A hook that shows what a layer puts out while its network learns, called by autograd or by an update without it."""

from collections.abc import Callable
from typing import Any

import torch as th

See = Callable[[th.Tensor, th.Tensor], None]


class LayerWatch:
    """
    A forward hook for the module that puts out a layer's activations. Of each pass that is learned from it shows the
    activations and dloss/dactivations once the gradient is there, before the optimizer's step.

    SAC's update without autograd knows this hook, and calls ``see`` itself. Any other forward hook sends it back to autograd.

    :param see: gets both, [batch, ...]. They are to be looked at, at once: their memory is used again.
    """

    def __init__(self, see: See):
        self.see = see

    def __call__(self, module: Any, inputs: Any, output: th.Tensor) -> None:
        """See torch, ``register_forward_hook``."""
        if output.requires_grad:
            values = output.detach()  # the hook must not hold what it hangs on
            output.register_hook(lambda gradient: self.see(values, gradient))
