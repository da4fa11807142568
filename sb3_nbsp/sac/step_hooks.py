"""
Hooks of others on parameters and optimizers, called by an update that neither autograd nor torch's optimizers make.

Torch calls a parameter's hooks once its gradient is there, and an optimizer's right before and right after its step; so does
this. Penalties, projections of gradients and masks of others learn at the speed of the update without autograd.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch as th
from torch.optim import optimizer as torch_optimizer

from sb3_nbsp.protection.optimizer import base_of


class StepHooks:
    """
    The hooks that hang on an optimizer and on its parameters, as they are at the time of a step. They may change gradients and
    parameters in place, exchange them, or take gradients away; the optimizer's learning rate, betas and eps, too. What else
    they exchange in its options and its state counts from the next step on.

    :param parameters: what the optimizer trains
    :param places: of each where it lies, in a flat buffer
    :param gradients: of each where its gradient lies, in its shape
    :param optimizer: an optimizer, or a ``MaskedOptimizer`` around it
    """

    def __init__(
        self,
        parameters: Sequence[th.Tensor],
        places: Sequence[th.Tensor],
        gradients: Sequence[th.Tensor],
        optimizer: th.optim.Optimizer,
    ):
        self._rows = list(zip(parameters, places, gradients, strict=True))
        self._outer = optimizer
        self._inner = base_of(optimizer)

    def before_masks(self) -> None:
        """Call those on parameters, and those before the step of what is outside, of a ``MaskedOptimizer``."""
        for p, _, gradient in self._rows:
            p.grad = gradient  # it may have been removed or exchanged since the last step
        call_gradient_hooks(p for p, _, _ in self._rows)
        if self._outer is not self._inner:
            self._before(self._outer)
        self._put_back()

    def before_step(self) -> list[th.Tensor]:
        """
        Call those before the step of the optimizer itself.

        :return: the parameters whose gradient was taken away: they rest in this step
        """
        self._before(self._inner)
        self._put_back()
        return [p for p, _, _ in self._rows if p.grad is None]

    def after_step(self) -> None:
        """Call those after the step of the optimizer itself."""
        self._after(self._inner)
        self._put_back()

    def after_masks(self) -> None:
        """Call those after the step of a ``MaskedOptimizer``."""
        if self._outer is not self._inner:
            self._after(self._outer)
            self._put_back()

    def _before(self, optimizer: th.optim.Optimizer) -> None:
        hooks = chain(torch_optimizer._global_optimizer_pre_hooks.values(), optimizer._optimizer_step_pre_hooks.values())
        with th.set_grad_enabled(optimizer is self._outer):  # as torch: a MaskedOptimizer's own step computes none
            for hook in list(hooks):
                result = hook(optimizer, (optimizer,), {})
                if result is not None and not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(
                        f"Expected None, or args and kwargs, from a hook before an optimizer's step, got {result}."
                    )

    def _after(self, optimizer: th.optim.Optimizer) -> None:
        hooks = chain(optimizer._optimizer_step_post_hooks.values(), torch_optimizer._global_optimizer_post_hooks.values())
        with th.set_grad_enabled(optimizer is self._outer):
            for hook in list(hooks):
                hook(optimizer, (optimizer,), {})

    def _put_back(self) -> None:
        """Take over tensors that hooks have put in the place of ours."""
        for p, place, gradient in self._rows:
            take_over(p, place)
            if p.grad is not None and p.grad is not gradient:
                gradient.copy_(p.grad)
                p.grad = gradient


def take_over(parameter: th.Tensor, place: th.Tensor) -> None:
    """
    Take over the values of a tensor that was put in a parameter's place, and put ours there again.

    :param parameter: the parameter
    :param place: where it lies, in a flat buffer
    """
    if parameter.data_ptr() != place.data_ptr():
        place.copy_(parameter.data)
        parameter.data = place


def call_gradient_hooks(parameters: Iterable[th.Tensor]) -> None:
    """
    Call the hooks that wait for gradients.

    :param parameters: whose gradients are there
    """
    for p in parameters:
        for hook in list((p._post_accumulate_grad_hooks or {}).values()):
            hook(p)


def hooks_of(optimizer: th.optim.Optimizer, parameters: Sequence[th.Tensor]) -> Iterator[str]:
    """
    :param optimizer: an optimizer, or a ``MaskedOptimizer`` around it
    :param parameters: what it trains
    :return: what a step of it has to call hooks of: "a parameter", "the optimizer"
    """
    if any(p._post_accumulate_grad_hooks for p in parameters):
        yield "a parameter"
    tables = [torch_optimizer._global_optimizer_pre_hooks, torch_optimizer._global_optimizer_post_hooks]
    for part in (optimizer, base_of(optimizer)):
        tables += [part._optimizer_step_pre_hooks, part._optimizer_step_post_hooks]
    if any(tables):
        yield "the optimizer"
