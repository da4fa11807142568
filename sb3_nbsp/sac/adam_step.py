"""One step of Adam over a flat buffer: in public operations, and fused."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch as th

AdamStep = Callable[[th.Tensor, th.Tensor, th.Tensor, th.Tensor, th.Tensor, Mapping[str, Any]], None]


def plain_adam(
    values: th.Tensor,
    gradients: th.Tensor,
    first: th.Tensor,
    second: th.Tensor,
    step: th.Tensor,
    options: Mapping[str, Any],
) -> None:
    """
    Adam in public operations (Kingma & Ba 2015, algorithm 1)

        m <- m + (1 - beta1) (g - m)
        v <- beta2 v + (1 - beta2) g^2
        p <- p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)

    :param values: p, [n_entries]
    :param gradients: g
    :param first: m
    :param second: v
    :param step: t, from 1 on
    :param options: with ``lr``, ``betas`` and ``eps``
    """
    (beta1, beta2), t = options["betas"], float(step)  # in 32 bits the corrections cost 1e-3 over 100 steps
    first.lerp_(gradients, 1 - beta1)
    second.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
    root = (second.sqrt() / (1 - beta2**t) ** 0.5).add_(options["eps"])
    values.addcdiv_(first, root, value=-options["lr"] / (1 - beta1**t))


def fused_adam(
    values: th.Tensor,
    gradients: th.Tensor,
    first: th.Tensor,
    second: th.Tensor,
    step: th.Tensor,
    options: Mapping[str, Any],
) -> None:
    """The same in one pass over memory; the corrections are in 64 bits there too."""
    beta1, beta2 = options["betas"]
    th._fused_adam_(
        [values],
        [gradients],
        [first],
        [second],
        [],
        [step],
        lr=options["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=options["eps"],
        amsgrad=False,
        maximize=False,
    )


@cache
def best_adam() -> AdamStep:
    """``fused_adam`` where this torch has the kernel (which is no public function) for the CPU, else ``plain_adam``."""
    one = th.ones(1)
    try:
        fused_adam(one.clone(), one, one.clone(), one.clone(), one, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8})
    except (AttributeError, TypeError, RuntimeError):
        return plain_adam
    return fused_adam
