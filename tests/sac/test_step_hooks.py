"""Hooks on parameters and optimizers in the update without autograd, against SB3's SAC in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch as th
from helpers.fast_updates import ROUNDING, difference, held, made, trained
from stable_baselines3 import SAC
from torch.optim import optimizer as torch_optimizer

from sb3_nbsp import NBSPSAC
from sb3_nbsp.protection.optimizer import base_of
from sb3_nbsp.sac.fast_update_conditions import find_obstacle
from sb3_nbsp.sac.stack_kind import find_stack_obstacle

pytestmark = pytest.mark.usefixtures("double_observations")

Hang = Callable[[SAC], Any]  # of a model: what takes the hook off


def pull(model: SAC) -> Any:
    def hook(p: th.Tensor) -> None:
        p.grad.add_(p.detach() - 1.0)

    return model.critic.qf0[0].weight.register_post_accumulate_grad_hook(hook)


def pull_entropy(model: SAC) -> Any:
    return model.log_ent_coef.register_post_accumulate_grad_hook(lambda p: p.grad.add_(0.5) and None)


def clip(model: SAC) -> Any:
    own = list(model.actor.parameters())
    return model.actor.optimizer.register_step_pre_hook(lambda *_: th.nn.utils.clip_grad_norm_(own, 0.01) and None)


def exchange_gradient(model: SAC) -> Any:
    def hook(*_: Any) -> None:
        model.actor.mu.weight.grad = th.ones_like(model.actor.mu.weight)

    return base_of(model.actor.optimizer).register_step_pre_hook(hook)


def shrink(model: SAC) -> Any:
    def hook(optimizer: th.optim.Optimizer, *_: Any) -> None:
        for p in optimizer.param_groups[0]["params"]:
            p.data.mul_(0.99)

    return model.critic.optimizer.register_step_post_hook(hook)


def exchange_parameter(model: SAC) -> Any:
    def hook(*_: Any) -> None:
        model.critic.qf1[2].bias.data = model.critic.qf1[2].bias.data + 0.01

    return base_of(model.critic.optimizer).register_step_post_hook(hook)


def forget_moments(model: SAC) -> Any:
    return model.actor.optimizer.register_step_post_hook(lambda optimizer, *_: optimizer.state.clear())


def lower_rate(model: SAC) -> Any:
    def hook(optimizer: th.optim.Optimizer, *_: Any) -> None:
        optimizer.param_groups[0]["lr"] *= 0.9

    return model.actor.optimizer.register_step_pre_hook(hook)


def of_all_optimizers(model: SAC) -> Any:
    own = list(model.critic.parameters())

    def hook(optimizer: th.optim.Optimizer, *_: Any) -> None:
        if base_of(model.critic.optimizer) is optimizer:
            th.nn.utils.clip_grad_norm_(own, 0.01)

    return torch_optimizer.register_optimizer_step_pre_hook(hook)


HOOKS = [
    pull, pull_entropy, clip, exchange_gradient, shrink, exchange_parameter, forget_moments, lower_rate, of_all_optimizers
]  # fmt: skip


@pytest.mark.parametrize("hang", HOOKS, ids=lambda hang: hang.__name__)
def test_what_a_hook_does_is_done(hang: Hang) -> None:
    theirs, ours, without = made(SAC), made(fast_update=True), made(SAC)
    for model in (theirs, ours, without):
        trained(model, 5)
        handle = hang(model) if model is not without else None
        trained(model, 40)
        if handle is not None:
            handle.remove()
        trained(model, 5)
    assert ours.update_path == "fast" and difference(theirs, ours) < 10 * ROUNDING
    assert difference(theirs, without) > 1e-4, "the hook changes something"


def with_autograd(model: SAC) -> Any:
    def hook(optimizer: th.optim.Optimizer, *_: Any) -> None:
        parameters = optimizer.param_groups[0]["params"]
        th.stack([p.square().sum() for p in parameters]).sum().mul(0.01).backward()

    return model.actor.optimizer.register_step_pre_hook(hook)


def remove_gradients(model: SAC) -> Any:
    return model.critic.optimizer.register_step_post_hook(lambda optimizer, *_: optimizer.zero_grad())


@pytest.mark.parametrize("hang", [with_autograd, remove_gradients, pull, clip], ids=lambda hang: hang.__name__)
def test_gradients_of_others_between_steps_are_no_part_of_the_next(hang: Hang) -> None:
    """A callback that logs gradient norms, say."""
    theirs, ours = made(SAC), made(fast_update=True)
    for model in (theirs, ours):
        hang(model)
        for n in range(5):
            trained(model, 4, seed=n)
            for optimizer in (model.actor.optimizer, model.critic.optimizer):
                optimizer.zero_grad()
            th.stack([p.sum() for p in model.actor.parameters()]).sum().mul(100).backward()
    assert ours.update_path == "fast" and difference(theirs, ours) < 10 * ROUNDING


def test_what_a_hook_must_not_return_is_refused_as_by_torch() -> None:
    for model in (made(SAC), made(fast_update=True)):
        model.actor.optimizer.register_step_pre_hook(lambda *_: 1)
        with pytest.raises(RuntimeError, match="None"):
            trained(model, 1)


def test_a_parameter_without_a_gradient_rests() -> None:
    """As with torch's Adam, which counts its steps by parameter: from then on torch's makes the steps."""

    def hook(model: SAC) -> Any:
        def take_away(*_: Any) -> None:
            model.actor.mu.weight.grad = None

        return model.actor.optimizer.register_step_pre_hook(take_away)

    theirs, ours = trained(made(SAC), 5), trained(made(), 5)
    for model in (theirs, ours):
        before = model.actor.mu.weight.detach().clone()
        handle = hook(model)
        trained(model, 3)
        assert th.equal(model.actor.mu.weight, before)
        handle.remove()
        trained(model, 5)
    assert ours.update_path == "fast" and difference(theirs, ours) < ROUNDING


@pytest.mark.parametrize("target", ["update", "gradient"])
def test_hooks_stand_around_masks_as_with_autograd(target: str) -> None:
    def hang(model: NBSPSAC) -> None:
        def add(factor: float) -> Callable[..., None]:
            def hook(optimizer: th.optim.Optimizer, *_: Any) -> None:
                for p in optimizer.param_groups[0]["params"]:
                    p.grad.add_(factor)

            return hook

        def grow(factor: float) -> Callable[..., None]:
            def hook(optimizer: th.optim.Optimizer, *_: Any) -> None:
                for p in optimizer.param_groups[0]["params"]:
                    p.data.mul_(factor)

            return hook

        outer, inner = model.critic.optimizer, base_of(model.critic.optimizer)
        outer.register_step_pre_hook(add(0.1)), inner.register_step_pre_hook(add(0.2))
        outer.register_step_post_hook(grow(1.001)), inner.register_step_post_hook(grow(0.99))

    models = [held(made(mask_target=target, fast_update=how), [0.0, 0.3, 0.0]) for how in (False, True)]
    for model in models:
        hang(model)
        trained(model, 30)
    assert models[1].update_path == "fast" and difference(*models) < ROUNDING


@pytest.mark.parametrize(("hang", "what"), [(pull, "a parameter of the critic"), (clip, "the optimizer of the actor")])
def test_a_stack_of_agents_calls_no_hooks(hang: Hang, what: str) -> None:
    model = made(double=False)
    assert find_stack_obstacle(model) is None
    handle = hang(model)
    assert find_obstacle(model) is None and find_stack_obstacle(model) == f"a hook is registered on {what}"
    handle.remove()
    assert find_stack_obstacle(model) is None
