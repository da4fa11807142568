"""The optimizer that holds parameters, against the optimizer that it wraps."""

import copy
import io
import pickle

import pytest
import torch as th
from helpers import copied, same
from stable_baselines3.common.utils import update_learning_rate
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from sb3_nbsp.protection import MaskedOptimizer


class Exchanging(SGD):
    """Puts new tensors in the parameters' place."""

    def step(self, closure=None):
        with th.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data = p.data - group["lr"] * p.grad
        return loss


BASES = {
    "exchanging": (Exchanging, {"lr": 0.01}),
    "adam": (Adam, {"lr": 0.01}),
    "adam-foreach": (Adam, {"lr": 0.01, "foreach": True}),
    "amsgrad": (Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    "adamw": (AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "sgd": (SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    "rmsprop": (RMSprop, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
}
TARGETS = ("update", "gradient")
all_bases = pytest.mark.parametrize("name", BASES)
all_targets = pytest.mark.parametrize("target", TARGETS)


def parameters() -> list[nn.Parameter]:
    generator = th.Generator().manual_seed(0)
    return [nn.Parameter(th.randn(4, 3, generator=generator)), nn.Parameter(th.randn(4, generator=generator))]


def base(name: str, params: list[nn.Parameter]) -> Optimizer:
    cls, kwargs = BASES[name]
    return cls(params, **kwargs)


def factors(params: list[nn.Parameter]) -> dict[nn.Parameter, th.Tensor]:
    """Held, half held and free entries in both parameters."""
    rows = th.tensor([0.0, 0.3, 1.0, 0.0])
    return {params[0]: rows[:, None].expand(4, 3).clone(), params[1]: rows}


def set_gradients(params: list[nn.Parameter], step: int) -> None:
    generator = th.Generator().manual_seed(step)
    for p in params:
        p.grad = (th.randn(p.shape, generator=generator) + 0.2).to(p.dtype)


def run(optimizer: Optimizer, params: list[nn.Parameter], n: int, first: int = 0) -> None:
    for step in range(first, first + n):
        set_gradients(params, step)
        optimizer.step()


def values(params: list[nn.Parameter]) -> list[th.Tensor]:
    return [p.detach().clone() for p in params]


def held_part(params: list[nn.Parameter]) -> list[th.Tensor]:
    return [p.detach()[[0, 3]].clone() for p in params]


def free_part(params: list[nn.Parameter]) -> list[th.Tensor]:
    return [p.detach()[2].clone() for p in params]


def masked(name: str, target: str = "update", warm: int = 20) -> tuple[MaskedOptimizer, list[nn.Parameter]]:
    """With momentum built up before any mask."""
    params = parameters()
    optimizer = MaskedOptimizer(base(name, params), target)
    run(optimizer, params, warm, first=10_000)
    optimizer.set_factors(factors(params))
    return optimizer, params


@all_bases
@all_targets
def test_held_entries_do_not_move_at_all(name, target):
    optimizer, params = masked(name, target)
    held, all_before = held_part(params), values(params)
    run(optimizer, params, 1000)
    assert same(held_part(params), held)
    assert all((p[[1, 2]] != before[[1, 2]]).all() for p, before in zip(params, all_before, strict=True))


@all_bases
@all_targets
def test_held_entries_do_not_move_over_saving_and_loading(name, target):
    optimizer, params = masked(name, target)
    held = held_part(params)
    run(optimizer, params, 50)
    file = io.BytesIO()
    th.save(optimizer.state_dict(), file)
    file.seek(0)

    new_params = [nn.Parameter(p.detach().clone()) for p in params]
    new = MaskedOptimizer(base(name, new_params), target)
    new.load_state_dict(th.load(file, weights_only=True))
    new.set_factors(factors(new_params))
    run(new, new_params, 50, first=50)
    run(optimizer, params, 50, first=50)
    assert same(held_part(new_params), held)
    assert same(values(new_params), values(params))  # it goes on as if it had not been interrupted


@all_bases
@all_targets
def test_setting_factors_before_loading_the_state_is_the_same(name, target):
    optimizer, params = masked(name, target)
    held = held_part(params)
    optimizer.load_state_dict(copied(optimizer.state_dict()))
    run(optimizer, params, 50)
    assert same(held_part(params), held)


@all_bases
@all_targets
def test_without_factors_it_is_the_base_bit_for_bit(name, target):
    plain_params, params = parameters(), parameters()
    plain, wrapped = base(name, plain_params), MaskedOptimizer(base(name, params), target)
    run(plain, plain_params, 50)
    run(wrapped, params, 50)
    assert not wrapped.is_masking
    assert same(values(params), values(plain_params)) and same(wrapped.state_dict(), plain.state_dict())


@all_bases
@all_targets
def test_factors_of_one_are_no_mask(name, target):
    plain_params, params = parameters(), parameters()
    plain, wrapped = base(name, plain_params), MaskedOptimizer(base(name, params), target)
    wrapped.set_factors({p: th.ones_like(p) for p in params})
    assert not wrapped.is_masking
    run(plain, plain_params, 10)
    run(wrapped, params, 10)
    assert same(values(params), values(plain_params))


@all_bases
def test_free_entries_equal_the_base_bit_for_bit(name):
    optimizer, params = masked(name)
    plain_params = parameters()
    plain = base(name, plain_params)
    run(plain, plain_params, 20, first=10_000)
    run(plain, plain_params, 200)
    run(optimizer, params, 200)
    assert same(free_part(params), free_part(plain_params))


@all_bases
def test_each_step_is_scaled_by_the_factor(name):
    optimizer, params = masked(name)
    scale = [f for _, f in factors(params).items()]
    for step in range(30):
        twins = [nn.Parameter(p.detach().clone()) for p in params]
        twin = base(name, twins)
        twin.load_state_dict(copied(optimizer.state_dict()))
        before = values(params)
        run(twin, twins, 1, first=step)
        run(optimizer, params, 1, first=step)
        for p, b, t, f in zip(params, before, twins, scale, strict=True):
            th.testing.assert_close(p - b, f * (t - b), atol=1e-6, rtol=1e-4)


@all_bases
def test_gradient_mode_is_the_base_on_scaled_gradients(name):
    optimizer, params = masked(name, "gradient")
    plain_params = [nn.Parameter(p.detach().clone()) for p in params]
    plain = base(name, plain_params)
    plain.load_state_dict(copied(optimizer.state_dict()))
    scale = list(factors(params).values())
    for step in range(100):
        set_gradients(plain_params, step)
        for p, f in zip(plain_params, scale, strict=True):
            p.grad *= f
        plain.step()
    run(optimizer, params, 100)
    moving = th.tensor([1, 2])
    assert same([p[moving] for p in values(params)], [p[moving] for p in values(plain_params)])


def moved_by(cls: type[Optimizer], target: str, factor: float, **kwargs) -> float:
    """How far a parameter comes in 1,000 steps down a slope, in shares of the way that it makes unmasked."""
    ways = []
    for f in (factor, 1.0):
        p = nn.Parameter(th.zeros(1, dtype=th.float64))
        optimizer = MaskedOptimizer(cls([p], lr=1e-3, **kwargs), target)
        optimizer.set_factors({p: th.full((1,), f, dtype=th.float64)})
        for step in range(1000):
            p.grad = th.tensor([1.0 + 0.5 * (-1) ** step], dtype=th.float64)
            optimizer.step()
        ways.append(float(p.detach()))
    return ways[0] / ways[1]


@pytest.mark.known_answer
@pytest.mark.parametrize("factor", [0.2, 0.02])
def test_adam_cancels_a_constant_factor_on_gradients_only(factor):
    assert moved_by(Adam, "gradient", factor) == pytest.approx(1.0, abs=1e-3)
    assert moved_by(Adam, "update", factor) == pytest.approx(factor, rel=1e-6)
    assert moved_by(SGD, "gradient", factor) == pytest.approx(factor, rel=1e-6)
    assert moved_by(SGD, "update", factor) == pytest.approx(factor, rel=1e-6)


def test_new_factors_replace_the_old_ones():
    optimizer, params = masked("adam")
    optimizer.set_factors({params[1]: th.zeros(4)})
    before = values(params)
    run(optimizer, params, 3)
    assert th.equal(params[1], before[1]) and (params[0] != before[0]).all()
    optimizer.set_factors({})
    run(optimizer, params, 3)
    assert not optimizer.is_masking and (params[1] != before[1]).all()


def test_factors_of_other_optimizers_are_ignored():
    optimizer, _ = masked("adam")
    optimizer.set_factors({nn.Parameter(th.zeros(2)): th.zeros(2)})
    assert not optimizer.is_masking


@all_targets
def test_parameters_without_gradient(target):
    optimizer, params = masked("sgd", target)
    before = values(params)
    params[0].grad, params[1].grad = None, th.ones(4)
    optimizer.step()
    assert th.equal(params[0], before[0]) and not th.equal(params[1], before[1])


@all_bases
@all_targets
def test_closure(name, target):
    """A closure does what backward() before the step does."""

    def loss(params):
        return sum(((p - 3) ** 2).sum() for p in params)

    optimizer, params = masked(name, target)
    other, other_params = masked(name, target)
    held, losses = held_part(params), []
    for _ in range(5):

        def closure():
            optimizer.zero_grad()
            value = loss(params)
            value.backward()
            return value

        losses.append(float(optimizer.step(closure).detach()))
        other.zero_grad()
        loss(other_params).backward()
        other.step()
    assert same(values(params), values(other_params)) and same(held_part(params), held)
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_it_is_a_torch_optimizer():
    optimizer, _ = masked("adam")
    assert isinstance(optimizer, Optimizer)
    assert optimizer.param_groups is optimizer.base.param_groups and optimizer.state is optimizer.base.state
    assert optimizer.defaults["lr"] == 0.01 and "Adam" in repr(optimizer)


def test_unknown_target_is_refused():
    with pytest.raises(ValueError, match="mask_target must be one of update, gradient; got 'weights'"):
        MaskedOptimizer(base("adam", parameters()), "weights")


def test_sb3s_learning_rate_update_reaches_the_base():
    optimizer, params = masked("sgd")
    update_learning_rate(optimizer, 0.0)
    params_before = values(params)
    assert optimizer.base.param_groups[0]["lr"] == 0.0
    run(optimizer, params, 2)
    assert same(values(params), params_before)


@all_targets
def test_learning_rate_schedulers(target):
    optimizer, params = masked("adamw", target)
    held = held_part(params)
    scheduler = th.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    for step in range(3):
        run(optimizer, params, 1, first=step)
        scheduler.step()
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.01 / 8)
    assert same(held_part(params), held)


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
@all_bases
@all_targets
def test_a_copy_goes_on_by_itself(name, target, duplicate):
    optimizer, params = masked(name, target)
    before, held = values(params), held_part(params)
    new, new_params = duplicate((optimizer, params))
    run(new, new_params, 20)
    assert same(values(params), before)  # the original is left alone
    run(optimizer, params, 20)
    assert same(values(new_params), values(params)) and same(held_part(new_params), held)
    assert new.param_groups[0]["params"][0] is new_params[0]


def test_copy_of_a_module_that_carries_its_optimizer():
    """As SB3's actor and critic do."""
    net = nn.Linear(3, 2)
    net.optimizer = MaskedOptimizer(Adam(net.parameters(), lr=0.1))
    net.optimizer.set_factors({net.bias: th.zeros(2)})
    twin, bias = copy.deepcopy(net), net.bias.detach().clone()
    weight = net.weight.detach().clone()
    for _ in range(3):
        twin.optimizer.zero_grad()
        twin(th.ones(1, 3)).sum().backward()
        twin.optimizer.step()
    assert th.equal(twin.bias, bias) and not th.equal(twin.weight, weight) and th.equal(net.weight, weight)


def test_pickles_after_a_scheduler_was_attached():
    """A torch optimizer does."""
    optimizer, params = masked("adam")
    th.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    new, new_params = pickled((optimizer, params))
    held = held_part(new_params)
    run(new, new_params, 3)
    assert same(held_part(new_params), held)


def test_zero_grad():
    optimizer, params = masked("adam")
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    set_gradients(params, 0)
    optimizer.zero_grad(set_to_none=False)
    assert all((p.grad == 0).all() for p in params)


@all_targets
def test_added_groups_are_free(target):
    optimizer, params = masked("sgd", target)
    extra = nn.Parameter(th.ones(2))
    optimizer.add_param_group({"params": [extra], "lr": 1.0})
    held = held_part(params)
    run(optimizer, [*params, extra], 3)
    assert len(optimizer.base.param_groups) == 2 and (extra != 1).all() and same(held_part(params), held)
    optimizer.set_factors({extra: th.zeros(2)})
    before = extra.detach().clone()
    run(optimizer, [*params, extra], 3)
    assert th.equal(extra, before)


def test_reset_state_is_a_new_optimizer():
    optimizer, params = masked("adam")
    optimizer.set_factors({})
    optimizer.reset_state()
    fresh_params = [nn.Parameter(p.detach().clone()) for p in params]
    fresh = base("adam", fresh_params)
    run(optimizer, params, 5)
    run(fresh, fresh_params, 5)
    assert same(values(params), values(fresh_params)) and same(optimizer.state_dict(), fresh.state_dict())


@all_targets
def test_half_precision_and_double(target):
    for dtype in (th.float64, th.bfloat16):
        p = nn.Parameter(th.linspace(0.1, 1, 6).to(dtype))
        optimizer = MaskedOptimizer(SGD([p], lr=0.1, momentum=0.9), target)
        optimizer.set_factors({p: th.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 1.0])})
        before = p.detach().clone()
        run(optimizer, [p], 5)
        assert th.equal(p[:2], before[:2]) and (p[2:] != before[2:]).all()
