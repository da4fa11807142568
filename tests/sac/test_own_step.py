"""Optimizers of other kinds in the update without autograd, against SB3's SAC in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch as th
from helpers import same
from helpers.fast_updates import NET, ROUNDING, difference, held, held_entries, made, state, trained
from stable_baselines3 import SAC
from test_fast_update_state import COPIES
from test_step_hooks import HOOKS, Hang

from sb3_nbsp.baselines import UPGD
from sb3_nbsp.sac.fast_update_conditions import find_obstacle
from sb3_nbsp.sac.flat_parameters import FlatParameters
from sb3_nbsp.sac.own_step import OwnStep
from sb3_nbsp.sac.stack_kind import find_stack_obstacle

pytestmark = pytest.mark.usefixtures("double_observations")


class KeepsParameters(th.optim.SGD):
    """Changes the tensors that it was given, wherever the parameters lie by now."""

    def __init__(self, params: Any, lr: float):
        super().__init__(params, lr=lr)
        self.kept = [(p, p.data) for p in self.param_groups[0]["params"]]

    def step(self, closure: Any = None) -> None:
        for p, data in self.kept:
            data.sub_(p.grad, alpha=self.param_groups[0]["lr"])


class KeepsGradients(th.optim.SGD):
    """Steps along the last gradient, of which it keeps the tensor."""

    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            p.data.sub_(self.state[p].get("last", p.grad), alpha=self.param_groups[0]["lr"])
            self.state[p]["last"] = p.grad


class Exchanges(th.optim.SGD):
    """Puts new tensors in the parameters' place."""

    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            p.data = p.data - self.param_groups[0]["lr"] * p.grad


def net(cls: type[th.optim.Optimizer], **options: Any) -> dict[str, Any]:
    return {"policy_kwargs": {"optimizer_class": cls, "optimizer_kwargs": options, **NET}}


OPTIMIZERS = {
    "adamw": net(th.optim.AdamW),
    "sgd": net(th.optim.SGD, momentum=0.9),
    "rmsprop": net(th.optim.RMSprop, eps=1e-3),
    "adagrad": net(th.optim.Adagrad, eps=1e-3),
    "weight decay": net(th.optim.Adam, weight_decay=0.1),
    "amsgrad": net(th.optim.Adam, amsgrad=True),
    "maximize": net(th.optim.Adam, maximize=True),
    "upgd": net(UPGD, sigma=0.1),
    "nadam": net(th.optim.NAdam),
    "rprop": net(th.optim.Rprop),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_its_steps_are_those_of_sb3(case: str) -> None:
    theirs, ours = trained(made(SAC, **OPTIMIZERS[case])), trained(made(fast_update=True, **OPTIMIZERS[case]))
    assert ours.update_path == "fast" and difference(theirs, ours) < 10 * ROUNDING
    assert isinstance(ours._fast.actor_step, OwnStep) and not isinstance(ours._fast.ent_coef_step, OwnStep)
    assert ours.logger.name_to_value == pytest.approx(theirs.logger.name_to_value, rel=1e-9, abs=1e-9)
    assert difference(theirs, trained(made(SAC, **OPTIMIZERS[case]), 90)) > 1e-5, "it learns"


@pytest.mark.parametrize("target", ["update", "gradient"])
@pytest.mark.parametrize("case", OPTIMIZERS)
def test_masks_hold_it(case: str, target: str) -> None:
    models = [trained(made(fast_update=how, mask_target=target, **OPTIMIZERS[case]), 10) for how in (False, True)]
    for model in models:
        held(model, [0.0, 0.0, 0.3])
    before = held_entries(models[1])
    for model in models:
        trained(model, 30)
    assert models[1].update_path == "fast" and difference(*models) < 10 * ROUNDING
    assert same(held_entries(models[1]), before)


@pytest.mark.parametrize("hang", HOOKS, ids=lambda hang: hang.__name__)
def test_hooks_are_called(hang: Hang) -> None:
    models = [made(SAC, **OPTIMIZERS["sgd"]), made(fast_update=True, **OPTIMIZERS["sgd"])]
    for model in models:
        trained(model, 5)
        handle = hang(model)
        trained(model, 20)
        handle.remove()
        trained(model, 5)
    assert models[1].update_path == "fast" and difference(*models) < 10 * ROUNDING


def test_averages_of_weights_without_a_gradient_end_at_zero() -> None:
    """They would decay into denormal numbers and stay there, where a step takes ten times as long."""
    flat = FlatParameters([[th.nn.Parameter(th.ones(3))]])
    optimizer = th.optim.AdamW(flat.parameters)
    own = OwnStep(flat, optimizer)
    own.gradients.fill_(1e-3)
    own.step()
    own.gradients.zero_()
    for _ in range(1000):  # 0.9^1000 = 1e-46, less than any number in float32
        own.step()
    average = optimizer.state[flat.parameters[0]]["exp_avg"]
    assert average.any() and (average < th.finfo(th.float32).tiny).all()
    own.flush()
    assert not average.any()


@pytest.mark.parametrize("cls", [Exchanges, KeepsGradients, KeepsParameters])
def test_what_an_unknown_optimizer_keeps_is_not_known(cls: type[th.optim.Optimizer]) -> None:
    reason = f"the optimizer of the actor is {cls.__name__}, of which it is not known what it keeps"
    with pytest.raises(ValueError, match=reason):
        made(fast_update=True, **net(cls))
    model = trained(made(double=False, **net(cls)), 1)
    assert (model.update_path, model.update_obstacle) == ("autograd", reason)


def change_zero_grad(model: SAC) -> None:
    model.actor.optimizer.zero_grad = lambda set_to_none=True: None


def exchange_alphas(model: SAC) -> None:
    model.ent_coef_optimizer = UPGD([model.log_ent_coef])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_zero_grad, "the optimizer of the actor has a zero_grad() of its own"),
        (exchange_alphas, "the optimizer of the entropy coefficient is UPGD, not Adam"),
    ],
)
def test_what_else_sb3_would_do_otherwise(change: Callable[[SAC], None], reason: str) -> None:
    theirs, ours = trained(made(SAC), 5), trained(made(), 5)
    for model in (theirs, ours):
        change(model)
        trained(model, 10)
    assert ours.update_path == "autograd" and ours.update_obstacle == reason
    assert difference(theirs, ours) < ROUNDING


def decay(model: SAC) -> Callable[[], Any]:
    model.critic.optimizer.param_groups[0]["weight_decay"] = 0.1
    return lambda: model.critic.optimizer.param_groups[0].update(weight_decay=0)


def exchange(model: SAC) -> Callable[[], Any]:
    old = model.actor.optimizer
    model.actor.optimizer = th.optim.SGD(model.actor.parameters(), lr=1e-3)
    return lambda: setattr(model.actor, "optimizer", old)


def schedule(model: SAC) -> Callable[[], Any]:
    th.optim.lr_scheduler.StepLR(model.actor.optimizer, step_size=1)
    return lambda: delattr(model.actor.optimizer, "step")


def split(model: SAC) -> Callable[[], Any]:
    """Two groups, of which the second learns at another rate."""
    old, (first, *others) = model.critic.optimizer, model.critic.parameters()
    model.critic.optimizer = th.optim.Adam([{"params": [first]}, {"params": others, "betas": (0.5, 0.9)}], lr=3e-4)
    return lambda: setattr(model.critic, "optimizer", old)


@pytest.mark.parametrize("change", [decay, exchange, schedule, split], ids=lambda change: change.__name__)
def test_an_adam_changes_and_changes_back(change: Callable[[SAC], Callable[[], Any]]) -> None:
    models = [trained(made(fast_update=how), 5) for how in (False, "auto")]
    undo = [change(model) for model in models]
    for model in models:
        trained(model, 20)
    fast: Any = models[1]._fast
    assert [isinstance(step, OwnStep) for step in fast._steps].count(True) == 1 and difference(*models) < ROUNDING
    for undone, model in zip(undo, models, strict=True):
        undone()
        trained(model, 5)
    assert models[1].update_path == "fast" and difference(*models) < ROUNDING


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_goes_on_as_the_original_would(way: str) -> None:
    model = held(trained(made(double=False, fast_update=True, **OPTIMIZERS["rmsprop"]), 10), [0.0, 0.3])
    new = COPIES[way](model)
    assert same(state(new), state(model))
    assert same(state(trained(model, 20)), state(trained(new, 20))) and new.update_path == "fast"


def test_a_stack_of_agents_computes_plain_adams_only() -> None:
    model = made(double=False, **OPTIMIZERS["adamw"])
    assert find_obstacle(model) is None
    assert find_stack_obstacle(model) == "the optimizer of the actor is AdamW, not Adam"
    assert find_stack_obstacle(made(double=False)) is None
