"""An optimizer that holds parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import torch as th

MASK_TARGETS = ("update", "gradient")


class MaskedOptimizer(th.optim.Optimizer):
    """
    Wrap any torch optimizer and scale what it does to each parameter entry by a factor f in [0, 1].

    ``mask_target="update"``:   p <- p + f * (base(p, g) - p): the *change* is scaled, whatever the optimizer.
    ``mask_target="gradient"``: p <- base(p, f * g): as published. Adam divides by the gradient's own scale and so
    cancels a constant 0 < f < 1 in the long run (docs/design.md).

    Under both, entries with f = 0 stay exactly as they are: left-over momentum and weight decay are undone.

    The wrapped optimizer keeps its own ``param_groups`` and ``state``; both are shared, and the state dict is
    the wrapped optimizer's: files saved with and without the wrapper are the same.

    :param base: the optimizer to wrap
    :param mask_target: what is scaled
    :raises ValueError: for an unknown ``mask_target``
    """

    def __init__(self, base: th.optim.Optimizer, mask_target: str = "update"):
        if mask_target not in MASK_TARGETS:
            raise ValueError(f"mask_target must be one of {', '.join(MASK_TARGETS)}; got {mask_target!r}.")
        self.base = base
        self.mask_target = mask_target
        self._held: list[th.Tensor] = []
        self._factors: list[th.Tensor] = []
        # Optimizer.__init__ would make param_groups and state of its own; this makes only what hooks need.
        super().__setstate__({"defaults": base.defaults})

    def set_factors(self, factors: Mapping[th.Tensor, th.Tensor]) -> None:
        """
        Replace the factors.

        :param factors: by parameter, in its shape, in [0, 1]; parameters of other optimizers are ignored,
            parameters that are left out are free
        """
        own = [p for group in self.param_groups for p in group["params"]]
        self._held = [p for p in own if p in factors and bool((factors[p] != 1).any())]
        self._place([factors[p] for p in self._held])

    def _place(self, factors: list[th.Tensor]) -> None:
        """Put the factors, and room for the parameters' former values, where the held parameters are."""
        self._factors = [f.to(p) for f, p in zip(factors, self._held, strict=True)]
        # In gradient mode only the entries with f = 0 are put back after the step.
        self._kept = [(f > 0).to(f) if self.mask_target == "gradient" else f for f in self._factors]
        self._before = [th.empty_like(p) for p in self._held]

    @property
    def is_masking(self) -> bool:
        """Whether any parameter is held."""
        return bool(self._held)

    @th.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """
        One optimization step.

        :param closure: reevaluates the model and returns the loss
        """
        if not self._held:
            return self.base.step(closure)
        if self._before[0].device != self._held[0].device:  # the policy was moved
            self._place(self._factors)
        if self.mask_target == "gradient":
            closure = self._mask_gradients(closure)
        held = [p.data for p in self._held]
        th._foreach_copy_(self._before, held)
        loss = self.base.step(closure)
        # lerp(before, after, f) gives `before` exactly at f = 0 and `after` exactly at f = 1.
        th._foreach_lerp_(self._before, held, self._kept)
        th._foreach_copy_(held, self._before)
        return loss

    def _mask_gradients(self, closure: Callable[[], Any] | None) -> Callable[[], Any] | None:
        def scale() -> None:
            pairs = [(p.grad, f) for p, f in zip(self._held, self._factors, strict=True) if p.grad is not None]
            if pairs:
                th._foreach_mul_([gradient for gradient, _ in pairs], [f for _, f in pairs])

        if closure is None:
            scale()
            return None

        def masked() -> Any:
            with th.enable_grad():
                loss = closure()
            scale()
            return loss

        return masked

    def reset_state(self) -> None:
        """Forget moments and step counts, as if the optimizer were new."""
        self.base.state.clear()

    # Everything else is the wrapped optimizer's.

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The wrapped optimizer's parameter groups."""
        return self.base.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The wrapped optimizer's state."""
        return self.base.state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients."""
        self.base.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, all of them free."""
        self.base.add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """The wrapped optimizer's state dict."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the wrapped optimizer's state dict."""
        self.base.load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __repr__(self) -> str:
        return f"MaskedOptimizer({self.base!r}, mask_target={self.mask_target!r}, held parameters: {len(self._held)})"
