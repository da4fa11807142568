"""An optimizer that holds parameters."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch as th
from torch.utils.hooks import RemovableHandle

MaskTarget = Literal["update", "gradient"]
# Of parameters: what is to be added to the gradient of each, in its shape, or None for nothing
FurtherGradients = Callable[[list[th.Tensor]], Sequence[th.Tensor | None]]


class MaskedOptimizer(th.optim.Optimizer):
    """
    Wrap any torch optimizer and scale what it does to each parameter entry by a factor f in [0, 1].

    ``mask_target="update"``:   p <- p + f * (base(p, g) - p): the *change* is scaled, whatever the optimizer.
    ``mask_target="gradient"``: p <- base(p, f * g): as published. Adam divides by the gradient's own scale and so
    cancels a constant 0 < f < 1 in the long run (docs/design.md).

    Under both, entries with f = 0 stay exactly as they are: left-over momentum and weight decay are undone.

    The wrapped optimizer keeps its own ``param_groups`` and ``state``; both are shared, and the state dict is
    the wrapped optimizer's: files saved with and without the wrapper are the same.

    An algorithm may set ``further_gradients`` for a time: what it returns for the parameters is added to their gradients right
    before each step.

    :param base: the optimizer to wrap
    :param mask_target: what is scaled
    :param before_clipping: mask the gradients as soon as they are there, for algorithms that clip the gradients' norm
        before the step: what is held must not use up the norm. Under ``update`` this concerns entries with f = 0.
    :raises ValueError: for an unknown ``mask_target``
    :raises TypeError: if ``base`` is no optimizer
    """

    def __init__(self, base: th.optim.Optimizer, mask_target: MaskTarget = "update", before_clipping: bool = False):
        if mask_target not in get_args(MaskTarget):
            raise ValueError(f"mask_target must be one of {', '.join(get_args(MaskTarget))}; got {mask_target!r}.")
        if not isinstance(base, th.optim.Optimizer):
            raise TypeError(f"base must be an optimizer of torch, got {base!r}.")
        self.base = base
        self.mask_target = mask_target
        self.before_clipping = before_clipping
        self.further_gradients: FurtherGradients | None = None
        self._hooks: list[RemovableHandle] = []
        self._held: list[th.Tensor] = []
        self._factors: list[th.Tensor] = []
        # Optimizer.__init__ would make param_groups and state of its own; this makes only what hooks need.
        th.optim.Optimizer.__setstate__(self, {"defaults": base.defaults})

    def set_factors(self, factors: Mapping[th.Tensor, th.Tensor]) -> None:
        """
        Replace the factors.

        :param factors: by parameter, in its shape, in [0, 1]; parameters of other optimizers are ignored,
            parameters that are left out are free
        :raises ValueError: for factors of another shape or range, or other than 1 for a parameter that is a single number
        :raises TypeError: for a key that is no parameter (a name, a layer, a copy of one), or factors that are no tensor
        """
        _check_keys(factors)
        own = [p for group in self.param_groups for p in group["params"] if p in factors]
        for p in own:
            _check_factors(factors[p], p)
        self._held = [p for p in own if bool((factors[p] != 1).any())]
        self._place([factors[p] for p in self._held])

    def _place(self, factors: list[th.Tensor]) -> None:
        """Put the factors, and room for the held rows before and after a step, where the parameters are."""
        self._factors = [f.to(p) for f, p in zip(factors, self._held, strict=True)]
        # Only rows with a held entry are touched: a fifth of them, where a fifth of the neurons is held.
        self._rows = [(f != 1).reshape(len(f), -1).any(dim=1).nonzero()[:, 0] for f in self._factors]
        # In gradient mode only the entries with f = 0 are put back after the step.
        kept = [(f > 0).to(f) if self.mask_target == "gradient" else f for f in self._factors]
        self._kept = [f[rows] for f, rows in zip(kept, self._rows, strict=True)]
        self._before = [th.empty_like(f) for f in self._kept]
        self._after = [th.empty_like(f) for f in self._kept]
        self._hook(kept)

    def _hook(self, kept: list[th.Tensor]) -> None:
        """Have gradients masked where they arise, if they are clipped before the step."""
        while self._hooks:
            self._hooks.pop().remove()
        if self.before_clipping:
            factors = self._factors if self.mask_target == "gradient" else [(f > 0).to(f) for f in kept]
            for p, f in zip(self._held, factors, strict=True):
                self._hooks.append(p.register_post_accumulate_grad_hook(partial(_scale_gradient, f)))

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
        if self.further_gradients is not None:
            self._add(self.further_gradients)
        if not self._held:
            return self.base.step(closure)
        if self._before[0].device != self._held[0].device:  # the policy was moved
            self._place(self._factors)
        if self.mask_target == "gradient" and not self.before_clipping:
            closure = self._mask_gradients(closure)
        for p, rows, before in zip(self._held, self._rows, self._before, strict=True):
            th.index_select(p.data, 0, rows, out=before)
        loss = self.base.step(closure)
        held = [p.data for p in self._held]  # an optimizer may have put others in their place
        # lerp(before, after, f) gives `before` exactly at f = 0 and `after` exactly at f = 1.
        for p, rows, after in zip(held, self._rows, self._after, strict=True):
            th.index_select(p, 0, rows, out=after)
        th._foreach_lerp_(self._before, self._after, self._kept)
        for p, rows, values in zip(held, self._rows, self._before, strict=True):
            p.index_copy_(0, rows, values)
        return loss

    def _add(self, further_gradients: FurtherGradients) -> None:
        """Add gradients of a term that the algorithm's loss does not have, masked like the loss's own."""
        parameters = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        masked_before = self.mask_target == "gradient" and self.before_clipping
        factors = dict(zip(self._held, self._factors, strict=True)) if masked_before else {}
        for p, gradient in zip(parameters, further_gradients(parameters), strict=True):
            if gradient is not None:
                gradient = gradient * factors[p] if p in factors else gradient
                p.grad = gradient if p.grad is None else p.grad.add_(gradient)

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
        # A scheduler puts its own `step` on the instance, which cannot be pickled; torch's optimizers leave it out too.
        return {name: value for name, value in self.__dict__.items() if name not in ("step", "_hooks", "further_gradients")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_hooks": [], "further_gradients": None})  # hooks are not copied with a parameter
        self._place(self._factors)

    def __repr__(self) -> str:
        return f"MaskedOptimizer({self.base!r}, mask_target={self.mask_target!r}, held parameters: {len(self._held)})"


def _check_keys(factors: Mapping[th.Tensor, th.Tensor]) -> None:
    """What is no parameter is none of any optimizer: it would hold nothing, and nobody would know."""
    if not isinstance(factors, Mapping):
        raise TypeError(f"factors must be a dict of tensors by parameter; got {type(factors).__name__}.")
    for key in factors:
        if not isinstance(key, th.nn.Parameter) and not (isinstance(key, th.Tensor) and key.is_leaf and key.requires_grad):
            got = repr(key) if isinstance(key, str) else f"{type(key).__name__}, which is none"
            raise TypeError(
                f"factors must be given by parameter, the object itself; got {got}. Take parameters from the policy, or "
                "factors from NeuronMasks.parameter_factors(): copies (.data, detach(), state_dict()) are others."
            )


def _check_factors(factors: th.Tensor, parameter: th.Tensor) -> None:
    if not isinstance(factors, th.Tensor):
        raise TypeError(f"Expected a tensor of factors in its parameter's shape, got {type(factors).__name__}.")
    if parameter.dim() == 0 and bool((factors != 1).any()):
        raise ValueError("Expected a parameter with rows to hold, got one of a single number. Make it of shape (1,).")
    if factors.shape != parameter.shape:
        raise ValueError(
            f"Expected factors in their parameter's shape {tuple(parameter.shape)}, got {tuple(factors.shape)}. Spread them "
            "first, e.g. factors[:, None].expand_as(parameter) for the rows of a weight."
        )
    if not bool(((factors >= 0) & (factors <= 1)).all()):
        found = f"{float(factors.min())} to {float(factors.max())}"
        raise ValueError(f"Expected factors in [0, 1], got {found}. 0 holds an entry, 1 leaves it free.")


def _scale_gradient(factors: th.Tensor, parameter: th.Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.mul_(factors.to(parameter.grad.device))  # the policy may have been moved


def base_of(optimizer: th.optim.Optimizer) -> th.optim.Optimizer:
    """The optimizer inside a ``MaskedOptimizer``, or the optimizer itself."""
    return optimizer.base if isinstance(optimizer, MaskedOptimizer) else optimizer


def check_masked(name: str, optimizer: Any) -> MaskedOptimizer:
    """
    :param name: how a model calls it
    :param optimizer: what a model has under that name
    :raises TypeError: for another than a :class:`MaskedOptimizer`, which no mask reaches
    """
    if not isinstance(optimizer, MaskedOptimizer):
        raise TypeError(
            f"{name} must be the optimizer that obeys the masks; {type(optimizer).__name__} has taken its place. Choose it "
            "with policy_kwargs=dict(optimizer_class=..., optimizer_kwargs=...) where the model is made."
        )
    return optimizer
