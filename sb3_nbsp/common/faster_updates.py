"""Faster updates without other mathematics: a fused Adam, no denormal numbers, convolutions that read their channels last."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from torch import nn
from torch.nn import functional as F

from sb3_nbsp.protection.optimizer import base_of

Fusible = tuple[th.optim.Optimizer, dict[str, Any]]  # an Adam and one of its parameter groups
# By the exact type: those that read gradients, change parameters in place, and keep neither.
KNOWN_OPTIMIZERS: set[type[th.optim.Optimizer]] = {
    th.optim.ASGD,
    th.optim.Adadelta,
    th.optim.Adagrad,
    th.optim.Adam,
    th.optim.AdamW,
    th.optim.Adamax,
    th.optim.NAdam,
    th.optim.RAdam,
    th.optim.RMSprop,
    th.optim.Rprop,
    th.optim.SGD,
}
FLUSH_INTERVAL = 100  # updates between two flushes of denormal numbers
SMALLEST_EPS = 1e-12  # 1e-7 of it, the rounding of float32, is the root of the smallest normal number
DEVICES = ("cpu", "cuda")  # that are known to gain


def fusible(optimizer: th.optim.Optimizer) -> list[Fusible]:
    """The parameter groups of an Adam, on a CPU or a CUDA device, whose user left the choice of implementation to torch."""
    base = base_of(optimizer)
    if type(base) not in (th.optim.Adam, th.optim.AdamW):
        return []
    return [
        (base, group)
        for group in base.param_groups
        if group["fused"] is None
        and group["foreach"] is None
        and not (group["capturable"] or group["differentiable"])
        and all(p.device.type in DEVICES and p.dtype in (th.float32, th.float64) for p in group["params"])
    ]


@contextmanager
def fused(groups: Sequence[Fusible]) -> Iterator[None]:
    """Adam's fused implementation for a while; which one a file names stays as it was."""
    for base, group in groups:
        group["fused"] = True
        for p in group["params"]:  # on a GPU, the fused kernel reads the count of steps there
            if p.is_cuda and base.state.get(p):
                base.state[p]["step"] = base.state[p]["step"].to(p.device)
    try:
        yield
    finally:
        for _, group in groups:
            group["fused"] = None


def flush_denormals(averages: Iterable[th.Tensor], eps: float) -> None:
    """
    Set numbers too small for a full mantissa (below 1e-38 in float32) to 0, on a CPU.

    An optimizer's averages for weights without a gradient (dead or held neurons) decay into such numbers and stay there.
    Arithmetic on them is ten times as slow, and they move nothing: beside eps their root is less than rounding.

    :param averages: moments and the like, of any shapes; those on other devices, or not of 32 or 64 bits, stay as they are
    :param eps: what the optimizer adds to a root of them; below 1e-12 nothing is done
    """
    if eps < SMALLEST_EPS:
        return
    for average in averages:
        if average.device.type == "cpu" and average.dtype in (th.float32, th.float64):
            average.copy_(F.hardshrink(average, th.finfo(average.dtype).tiny))


def flush_states(optimizers: Iterable[th.optim.Optimizer]) -> None:
    """
    :func:`flush_denormals` of all that an optimizer keeps.

    :param optimizers: only those in ``KNOWN_OPTIMIZERS``, masked or not, are changed
    """
    for optimizer in optimizers:
        base = base_of(optimizer)
        if type(base) not in KNOWN_OPTIMIZERS:
            continue
        for group in base.param_groups:
            kept = [value for p in group["params"] for value in base.state.get(p, {}).values()]
            flush_denormals((value for value in kept if isinstance(value, th.Tensor)), group.get("eps", SMALLEST_EPS))


def put_channels_last(policy: nn.Module, device: th.device) -> None:
    """
    Lay the weights of 2-D convolutions out as the kernels read them: only the order in memory changes.

    :param policy: any module
    :param device: where it is; nothing is done elsewhere than on a CPU or a CUDA device
    """
    if device.type in DEVICES and any(isinstance(module, nn.Conv2d) for module in policy.modules()):
        policy.to(memory_format=th.channels_last)  # type: ignore[call-overload]


class FasterUpdates(BaseAlgorithm):
    """
    An algorithm that learns faster than its parent, up to rounding the same (``fast_update=True``), to be mixed in first.

    Of the algorithm it takes ``optimizer_names``.
    """

    fast_update: bool
    optimizer_names: ClassVar[Any]

    def _setup_model(self) -> None:
        super()._setup_model()  # type: ignore[safe-super]
        if self.fast_update:
            put_channels_last(self.policy, self.device)

    def train(self, *args: Any, **kwargs: Any) -> None:
        """See SB3."""
        optimizers = [recursive_getattr(self, name) for name in self.optimizer_names] if self.fast_update else []
        n_before = self._n_updates
        with fused([group for optimizer in optimizers for group in fusible(optimizer)]):
            super().train(*args, **kwargs)  # type: ignore[misc]
        # By the number of updates, which a saved model knows as well. PPO counts epochs, of many steps each.
        if isinstance(self, OnPolicyAlgorithm) or n_before // FLUSH_INTERVAL < self._n_updates // FLUSH_INTERVAL:
            flush_states(optimizers)
