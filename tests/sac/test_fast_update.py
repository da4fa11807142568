"""
The gradient step without autograd against SB3's own.

Compared in float64: there, 100 updates of the same mathematics differ by rounding (1e-14), and anything else shows.
"""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import VECTOR, ToyEnv, copied, same
from helpers.fast_updates import NET, ROUNDING, difference, held, held_entries, made, moments, state, trained
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import CReLU
from sb3_nbsp.common.faster_updates import FLUSH_INTERVAL
from sb3_nbsp.sac import flat_parameters as flat
from sb3_nbsp.sac.adam_step import plain_adam

pytestmark = pytest.mark.usefixtures("double_observations")


# The same mathematics

CASES = {
    "256": {"policy_kwargs": {"net_arch": [256, 256]}},
    "400": {"policy_kwargs": {"net_arch": [400, 400]}},
    "64": {"policy_kwargs": {"net_arch": [64]}},
    "different-nets": {"policy_kwargs": {"net_arch": {"pi": [16], "qf": [24, 8, 16]}}},
    "leaky": {"policy_kwargs": {"activation_fn": nn.LeakyReLU, **NET}},
    "crelu": {"policy_kwargs": {"activation_fn": CReLU, **NET}},
    "one-critic": {"policy_kwargs": {"n_critics": 1, **NET}},
    "three-critics": {"policy_kwargs": {"n_critics": 3, **NET}},
    "fixed-ent-coef": {"ent_coef": 0.2},
    "initial-ent-coef": {"ent_coef": "auto_0.1", "target_entropy": -1.5},
    "n-steps": {"n_steps": 3},
    "normalized": {"wrap": lambda env: VecNormalize(env)},
    "four-envs": {"wrap": lambda env: DummyVecEnv([lambda: ToyEnv(VECTOR)] * 4)},
    "target-interval": {"target_update_interval": 3, "tau": 1.0},
    "matrix-observations": {"space": spaces.Box(-1.0, 1.0, (2, 3))},
    "adam-options": {"policy_kwargs": {"optimizer_kwargs": {"betas": (0.8, 0.99), "eps": 1e-5}, **NET}},
    "shared-extractor": {"policy_kwargs": {"share_features_extractor": True, **NET}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_hundred_updates_are_sb3s(case):
    theirs, ours = trained(made(SAC, **CASES[case])), trained(made(fast_update=True, **CASES[case]))
    assert ours.update_path == "fast" and ours._n_updates == 100
    assert difference(theirs, ours) < ROUNDING
    logged = theirs.logger.name_to_value
    assert ours.logger.name_to_value == pytest.approx(logged, rel=1e-10, abs=1e-10) and len(logged) >= 5
    assert not same(copied(theirs.policy.state_dict()), copied(made(SAC, **CASES[case]).policy.state_dict()))


def test_another_negative_slope():
    models = [made(cls, policy_kwargs={"activation_fn": nn.LeakyReLU, **NET}) for cls in (SAC, NBSPSAC)]
    for model in models:
        for module in model.policy.modules():
            if isinstance(module, nn.LeakyReLU):
                module.negative_slope = 0.4
        trained(model)
    assert models[1].update_path == "fast" and difference(*models) < ROUNDING


def test_as_many_random_numbers_are_drawn():
    states = []
    for model in (made(SAC), made(fast_update=True)):
        trained(model, 10)
        states.append((th.get_rng_state(), np.random.get_state()[1:3]))
    assert same(*states)


def test_one_update_per_call_and_schedules():
    kwargs = {"learning_rate": lambda progress: 1e-3 * progress}
    theirs, ours = made(SAC, **kwargs), made(fast_update=True, **kwargs)
    for i in range(40):
        for model in (theirs, ours):
            model._current_progress_remaining = 1 - i / 40
            trained(model, 1, batch_size=32 + i % 3, seed=i)  # batches of other sizes, too
    assert difference(theirs, ours) < ROUNDING
    assert ours.actor.optimizer.param_groups[0]["lr"] == theirs.actor.optimizer.param_groups[0]["lr"]


def test_clamped_standard_deviations_get_no_gradient():
    models = [made(SAC), made(fast_update=True)]
    for model in models:
        with th.no_grad():
            model.actor.log_std.bias.copy_(th.tensor([1.9, -3.0]))  # the first is above 2 for some observations
    theirs, ours = (trained(model, 30) for model in models)
    assert difference(theirs, ours) < 100 * ROUNDING  # tanh of wide noise is near 1, and rounding counts more in 1 - tanh^2
    inputs = theirs.replay_buffer.sample(200).observations
    log_std = theirs.actor.log_std(theirs.actor.latent_pi(inputs))[:, 0]
    assert 0.1 < float((log_std > 2).double().mean()) < 1


@pytest.mark.parametrize("change", [{"tau": 0.005 * 1.01}, {"learning_rate": 3e-4 * 1.001}, {"gamma": 0.99 * 0.999}])
def test_the_comparison_sees_small_changes(change):
    assert difference(trained(made(SAC)), trained(made(fast_update=True, **change))) > 1e6 * ROUNDING


def test_the_comparison_sees_a_missing_update():
    assert difference(trained(made(SAC)), trained(made(fast_update=True), 99)) > 1e6 * ROUNDING


def test_the_comparison_sees_swapped_noise(monkeypatch):
    theirs, ours, draw = trained(made(SAC)), made(fast_update=True), th.Tensor.normal_
    halves: list[th.Tensor] = []

    def draw_for_the_other_half(half):
        """What is drawn first goes to the next observations, what is drawn then to the observations."""
        halves.append(half)
        if len(halves) == 2:
            draw(halves[1]), draw(halves[0]), halves.clear()

    monkeypatch.setattr(th.Tensor, "normal_", draw_for_the_other_half)
    assert difference(theirs, trained(ours)) > 1e6 * ROUNDING


def test_without_the_fused_kernel(monkeypatch):
    monkeypatch.setattr(flat, "best_adam", lambda: plain_adam)
    assert difference(trained(made(SAC)), trained(made(fast_update=True))) < ROUNDING


def test_learning_a_task_in_float32_stays_close():
    settings = {"learning_starts": 50, "seed": 1, "policy_kwargs": NET}
    theirs, ours = (cls("MlpPolicy", ToyEnv(VECTOR), **settings).learn(100) for cls in (SAC, NBSPSAC))
    assert ours.update_path == "fast" and difference(theirs, ours) < 1e-4


def test_two_threads():
    theirs, n = trained(made(SAC), 5), th.get_num_threads()
    try:
        th.set_num_threads(2)
        ours = trained(made(fast_update=True), 5)
    finally:
        th.set_num_threads(n)
    assert difference(theirs, ours) < ROUNDING


# Masks and memory


masks = pytest.mark.parametrize("mask_target", ["update", "gradient"])
sides = pytest.mark.parametrize("mask_sides", ["incoming", "outgoing", "both"])


@masks
@sides
def test_masks_are_the_masked_optimizers(mask_target, mask_sides):
    kwargs = {"mask_target": mask_target, "mask_sides": mask_sides, "mask_output_biases": True}
    slow, fast = (trained(made(fast_update=how, **kwargs), 20) for how in (False, True))
    for model in (slow, fast):
        trained(held(model, [0.0, 0.0, 0.3, 0.7]), 40)
    assert fast.update_path == "fast" and slow.update_path == "sb3" and difference(slow, fast) < ROUNDING
    for model in (slow, fast):
        trained(held(model, [1.0, 0.5]), 20)  # other masks
        model.neuron_masks.reset(), model._apply_masks()
        trained(model, 20)  # none
    assert difference(slow, fast) < ROUNDING


@masks
@sides
def test_what_is_held_does_not_move_at_all(mask_target, mask_sides):
    model = trained(made(double=False, fast_update=True, mask_target=mask_target, mask_sides=mask_sides), 50)
    held(model, [0.0] * 12 + [0.2])
    before, free = held_entries(model), state(model)
    trained(model, 200)
    assert same(held_entries(model), before) and sum(map(len, before)) > 0
    assert any(not same(values, free[name]) for name, values in state(model).items() if name.startswith("policy.actor"))


@pytest.mark.parametrize("replay", [{"replay_mode": "interval", "replay_interval": 3}, {"replay_mode": "share"}])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_old_tasks_are_rehearsed(replay, n_steps):
    models = [made(fast_update=how, n_steps=n_steps, reset_replay_buffer=False, **replay) for how in (False, True)]
    for model in models:
        np.random.seed(0)
        model.replay_buffer.remember(0)
        trained(held(model, [0.0, 0.3]), 40)
    assert len(models[1].replay_buffer.memory) == 300 and difference(*models) < ROUNDING
    without = trained(held(made(fast_update=True, n_steps=n_steps), [0.0, 0.3]), 40)
    assert difference(models[1], without) > 1e6 * ROUNDING


@masks
def test_held_for_so_long_that_momentum_is_gone(mask_target):
    """In gradient mode there is nothing left to undo then; what is freed again starts from there."""
    models = [trained(made(fast_update=how, mask_target=mask_target), 20) for how in (False, True)]
    for model in models:
        held(model, [0.0] * 8 + [0.3])
        for first, _ in moments(model):
            first.mul_(1e-306)
        trained(model, FLUSH_INTERVAL)
    assert models[1]._fast.actor_step._scales_change == (mask_target == "update")
    before = held_entries(models[1])
    for model in models:
        trained(model, 20)
    assert same(held_entries(models[1]), before)
    for model in models:
        trained(held(model, [1.0]), 20)
    assert difference(*models) < ROUNDING


@pytest.mark.parametrize("n_held, gathered", [(3, True), (150, True), (900, False)])
def test_a_step_is_scaled_where_something_is_held(n_held, gathered):
    """In some blocks or in all of them; the last block is no whole one."""
    parameters = flat.FlatParameters([[nn.Parameter(th.randn(1000))]])
    factors = th.ones(1000)
    factors[-n_held:] = th.tensor([0.0, 0.3, 0.7]).repeat(n_held // 3)
    before, change = parameters.values.clone(), th.randn(1000)
    blocks = flat.HeldBlocks(parameters, factors)
    assert (blocks._rows is not None) == gathered
    blocks.note()
    parameters.values.add_(change)
    after = parameters.values.clone()
    blocks.hold()
    assert th.allclose(parameters.values, before + factors * change, atol=1e-6)
    assert th.equal(parameters.values[factors == 0], before[factors == 0])
    assert th.equal(parameters.values[factors == 1], after[factors == 1])
    assert not parameters.blocks.view(-1)[1000:].any()


DENORMAL_CASES = {
    "fast": {"fast_update": True},
    "own-step": {"fast_update": True, "policy_kwargs": {"optimizer_class": th.optim.AdamW, **NET}},
    "autograd": {"policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "sb3": {"fast_update": False},
}


@pytest.mark.parametrize("name", DENORMAL_CASES)
def test_moments_do_not_linger_in_denormal_numbers(name):
    """Arithmetic on them is ten times as slow."""
    model = held(trained(made(double=False, mask_target="gradient", **DENORMAL_CASES[name]), 5), [0.0] * 16)
    for first, _ in moments(model):
        first.mul_(1e-37)
    trained(model, FLUSH_INTERVAL)
    assert model.update_path == (name if name in ("sb3", "autograd") else "fast")
    tiny = th.finfo(th.float32).tiny
    lingering = [int(((values != 0) & (values.abs() < tiny)).sum()) for pair in moments(model) for values in pair]
    assert (sum(lingering) > 0) == (name == "sb3")
