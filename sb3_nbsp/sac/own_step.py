"""The step of an optimizer that is no plain Adam, from gradients that lie in a flat buffer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th

from sb3_nbsp.common.faster_updates import flush_states, fused, fusible
from sb3_nbsp.protection.optimizer import MaskedOptimizer
from sb3_nbsp.sac.fast_update_conditions import adam_obstacle
from sb3_nbsp.sac.flat_parameters import FlatAdam, FlatParameters
from sb3_nbsp.sac.step_hooks import call_gradient_hooks, hooks_of, take_over


class OwnStep:
    """
    An optimizer's own ``step()``: that of another optimizer than Adam, of an Adam with weight decay, in several groups or
    under a scheduler. Its masks, its hooks and those of parameters are called where torch calls them.

    :param flat: the parameters
    :param optimizer: what trains them, or a ``MaskedOptimizer`` around it
    """

    is_even = True  # it counts its steps by itself

    def __init__(self, flat: FlatParameters, optimizer: th.optim.Optimizer):
        self.flat = flat
        self.optimizer = optimizer
        self.values = flat.values
        self.gradients = th.zeros_like(self.values)
        self._rows = list(zip(flat.parameters, flat.views(self.values), flat.views(self.gradients), strict=True))
        self.is_hooked = any(hooks_of(optimizer, flat.parameters))

    def step(self) -> None:
        """One step from ``gradients``."""
        for p, _, gradient in self._rows:
            p.grad = gradient.clone()  # a hook may keep it, as it may keep what autograd makes
        call_gradient_hooks(self.flat.parameters)
        with th.enable_grad(), fused(fusible(self.optimizer)), self._nothing_further():
            step: Any = self.optimizer.step
            step()
        for p, place, _ in self._rows:
            take_over(p, place)

    def flush(self) -> None:
        """Set denormal numbers in the optimizer's averages to 0."""
        flush_states([self.optimizer])

    @contextmanager
    def _nothing_further(self) -> Iterator[None]:
        """What cloning adds to the actor's is in ``gradients`` already."""
        if not isinstance(self.optimizer, MaskedOptimizer):
            yield
            return
        further, self.optimizer.further_gradients = self.optimizer.further_gradients, None
        try:
            yield
        finally:
            self.optimizer.further_gradients = further

    def release(self) -> None:
        """Give every parameter memory of its own again."""
        self.flat.release()


def step_of(flat: FlatParameters, optimizer: th.optim.Optimizer) -> FlatAdam | OwnStep:
    """
    :param flat: parameters
    :param optimizer: what trains them
    :return: its step: over the flat buffer where it is a plain Adam's
    """
    return FlatAdam(flat, optimizer) if adam_obstacle(optimizer) is None else OwnStep(flat, optimizer)
