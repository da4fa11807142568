"""UPGD: a gradient step that spares weights of high utility and perturbs those of low utility."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch as th

from sb3_nbsp.base.arguments import AtLeast
from sb3_nbsp.common.faster_updates import KNOWN_OPTIMIZERS


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
        found = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        utilities = [self._follow(p, group) for p, group in found]
        if not found:
            return loss
        largest = th.stack([utility.max() for utility in utilities]).max()
        largest = largest.clamp_min(th.finfo(largest.dtype).tiny)
        for (p, group), utility in zip(found, utilities, strict=True):
            state = self.state[p]
            mean, square = (state[name] / (1 - beta ** state["step"]) for name, beta in _moments(group))
            free = 1 - th.sigmoid(utility / largest)
            change = free * (mean / (square.sqrt() + group["eps"]) + group["sigma"] * th.randn_like(p))
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-2 * group["lr"])
        return loss

    def _follow(self, p: th.Tensor, group: dict[str, Any]) -> th.Tensor:
        """Move the averages on; the utility of each weight, in the parameter's shape."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["step"] = 0
            state.update({name: th.zeros_like(p) for name in ("exp_avg", "exp_avg_sq", "utility")})
        state["step"] += 1
        (mean, beta), (square, beta_2) = _moments(group)
        state[mean].lerp_(p.grad, 1 - beta)
        state[square].lerp_(p.grad.square(), 1 - beta_2)
        state["utility"].lerp_(-p.grad * p, 1 - group["beta_utility"])
        return state["utility"] / (1 - group["beta_utility"] ** state["step"])


KNOWN_OPTIMIZERS.add(UPGD)


def _is_number(value: Any) -> bool:
    return AtLeast(-math.inf).allows(value)


def _moments(group: dict[str, Any]) -> tuple[tuple[str, float], tuple[str, float]]:
    return ("exp_avg", group["betas"][0]), ("exp_avg_sq", group["betas"][1])
