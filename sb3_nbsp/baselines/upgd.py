"""UPGD: a gradient step that spares weights of high utility and perturbs those of low utility."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch as th

from sb3_nbsp.base.arguments import AtLeast
from sb3_nbsp.common.faster_updates import FLUSH_INTERVAL, KNOWN_OPTIMIZERS, flush_states


class UPGD(th.optim.Optimizer):
    """
    Utility-based perturbed gradient descent in its adaptive form, an optimizer: no task boundaries, no old data. With g the
    gradient, w a weight, and moving averages that are corrected for their start as Adam's are:

        u <- beta_utility u + (1 - beta_utility) (-g w)         utility: what the loss would rise without w, to first order
        s  = sigmoid(u / max u)                                 max over all weights of the optimizer
        w <- (1 - lr weight_decay) w - 2 lr (1 - s) (m / (sqrt(v) + eps) + xi),    xi ~ N(0, sigma^2)

    with Adam's m and v. The factor 2 is the authors': a weight of utility 0 has s = 1/2 and learns at Adam's rate.

    .. code-block:: python

        SAC("MlpPolicy", env, policy_kwargs={"optimizer_class": UPGD})

    For every SB3 algorithm and ours; its state is saved with the model like any optimizer's. SAC's entropy coefficient keeps
    its own Adam.

    Source: Elsayed and Mahmood 2024 (arXiv 2404.00781); the paper's text was not at hand, the update is that of the authors'
    ``core/run/rl/adaupgd.py`` (repository ``mohmdelsayed/upgd``), and so are the defaults, those of their PPO runs. max u
    is that of the corrected averages, as the formula has it; theirs, of the uncorrected ones, is smaller at first. Where no
    weight has a utility above 0 the authors' quotient changes its sign or is not defined: here weights of utility 0 keep
    s = 1/2, others get s = 0.

    :param params: parameters, or groups of them
    :param lr: learning rate
    :param betas: of m and v
    :param eps: see above
    :param weight_decay: see above
    :param beta_utility: of u, in [0, 1)
    :param sigma: size of the perturbation, relative to a step of Adam
    :raises ValueError: for a value out of range
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 1e-3,
        beta_utility: float = 0.999,
        sigma: float = 1e-3,
    ):
        shares = {"betas[0]": betas[0], "betas[1]": betas[1], "beta_utility": beta_utility}
        if wrong := [f"{name}={value!r}" for name, value in shares.items() if not (_is_number(value) and 0 <= value < 1)]:
            raise ValueError(f"Expected values in [0, 1), got {', '.join(wrong)}.")
        sizes = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "sigma": sigma}
        if wrong := [f"{name}={value!r}" for name, value in sizes.items() if not (_is_number(value) and value >= 0)]:
            raise ValueError(f"Expected values of 0 or more, got {', '.join(wrong)}.")
        super().__init__(params, {**sizes, "betas": betas, "beta_utility": beta_utility})

    @th.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """
        One optimization step.

        :param closure: reevaluates the model and returns the loss
        """
        loss = None
        if closure is not None:
            with th.enable_grad():
                loss = closure()
        found = [(with_gradient, group) for group in self.param_groups if (with_gradient := _with_gradient(group))]
        if not found:
            return loss
        moments = [self._follow(parameters, group) for parameters, group in found]
        largest = th.stack([u.max() for _, _, utilities in moments for u in utilities]).max()
        dtypes = {p.dtype for parameters, _ in found for p in parameters}
        divisors = {dtype: largest.to(dtype).clamp_min(th.finfo(dtype).tiny) for dtype in dtypes}
        for (parameters, group), (changes, squares, utilities) in zip(found, moments, strict=True):
            th._foreach_sqrt_(squares)
            th._foreach_add_(squares, group["eps"])
            th._foreach_div_(changes, squares)
            th._foreach_add_(changes, [th.randn_like(p) for p in parameters], alpha=group["sigma"])
            th._foreach_mul_(changes, [th.sigmoid(-u / divisors[u.dtype]) for u in utilities])  # 1 - s
            th._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            th._foreach_add_(parameters, changes, alpha=-2 * group["lr"])
        if self.state[found[0][0][0]]["step"] % FLUSH_INTERVAL == 0:
            flush_states([self])
        return loss

    def _follow(self, parameters: list[th.Tensor], group: dict[str, Any]) -> list[tuple[th.Tensor, ...]]:
        """Move the averages on; m, v and u, corrected, each as new tensors in the parameters' shapes."""
        states = [self.state[p] for p in parameters]
        for p, state in zip(parameters, states, strict=True):
            if not state:
                state["step"] = 0
                state.update({name: th.zeros_like(p) for name in ("exp_avg", "exp_avg_sq", "utility")})
            state["step"] += 1
        gradients = [p.grad for p in parameters if p.grad is not None]
        rises = th._foreach_mul(gradients, parameters)
        th._foreach_neg_(rises)
        beta_1, beta_2 = group["betas"]
        averages = []
        for name, now, beta in (
            ("exp_avg", gradients, beta_1),
            ("exp_avg_sq", th._foreach_mul(gradients, gradients), beta_2),
            ("utility", rises, group["beta_utility"]),
        ):
            kept = [state[name] for state in states]
            th._foreach_lerp_(kept, now, 1 - beta)
            averages.append(th._foreach_div(kept, [1 - beta ** state["step"] for state in states]))
        return averages


KNOWN_OPTIMIZERS.add(UPGD)


def _is_number(value: Any) -> bool:
    return AtLeast(-math.inf).allows(value)


def _with_gradient(group: dict[str, Any]) -> list[th.Tensor]:
    return [p for p in group["params"] if p.grad is not None and p.numel()]
