"""Cloning inside SAC's gradient step: its gradient, on every path, and what is held stays held."""

import numpy as np
import pytest
import torch as th
from helpers import same
from helpers.fast_updates import NET, ROUNDING, difference, held, held_entries, made, state, trained
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.sac.policies import LOG_STD_MAX
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import CReLU
from sb3_nbsp.rehearsal.cloning import distribution_parameters, kl_to_stored

pytestmark = pytest.mark.usefixtures("double_observations")

COEF = 3.0


def with_old_task(memory_size: int = 30, shift: float = 0.3, **kwargs) -> NBSPSAC:
    """A model that has one old task to clone, and has drifted from it since."""
    model = made(rehearsal="clone", clone_coef=COEF, clone_batch_size=20, memory_size=memory_size, **kwargs)
    seen = model.cloning._seen
    model.cloning._seen = lambda observations: seen(observations).double()
    np.random.seed(7)
    model.cloning.remember(0, model.replay_buffer.observations_of_task(memory_size))
    th.manual_seed(7)
    with th.no_grad():
        for p in model.actor.parameters():
            p += shift * 0.1 * th.randn_like(p)
    return model


def divergence(model: NBSPSAC) -> float:
    samples = model.cloning.memory.tasks[0]
    with th.no_grad():
        seen = model.cloning._seen(samples.observations)
        return float(model.cloned_outputs.divergence(model, seen, th.as_tensor(samples.outputs)).mean())


CASES = {
    "plain": {},
    "256": {"policy_kwargs": {"net_arch": [256, 256]}},
    "normalized": {"wrap": lambda env: VecNormalize(env)},
    "fixed-ent-coef": {"ent_coef": 0.2},
    "three-critics": {"policy_kwargs": {"n_critics": 3, **NET}},
    "sgd": {"policy_kwargs": {"optimizer_class": th.optim.SGD, **NET}},
    "crelu": {"policy_kwargs": {"activation_fn": CReLU, **NET}},
}


@pytest.mark.known_answer
@pytest.mark.parametrize("case", CASES)
def test_fifty_updates_are_those_with_autograd(case):
    """Float64: SB3's own step with the term added by autograd, and ours without."""
    theirs, ours = (trained(with_old_task(fast_update=fast, **CASES[case]), 50) for fast in (False, True))
    assert (theirs.update_path, ours.update_path) == ("sb3", "fast")
    assert difference(theirs, ours) < ROUNDING
    log = [model.logger.name_to_value["nbsp/cloning_loss"] for model in (theirs, ours)]
    assert log[0] == pytest.approx(log[1], rel=1e-10) and log[0] > 0
    without = with_old_task(fast_update=True, **CASES[case])
    without.rehearsal = "replay"
    assert difference(trained(without, 50), ours) > 1e-3


def test_hooks_on_the_actor_stand_before_it():
    """With autograd it is added after them; the fast update, which has it in the actor's gradient, steps aside."""

    def clip(optimizer, *_):
        th.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 0.01)

    models = [with_old_task(fast_update=fast) for fast in (False, "auto")]
    handles = [model.actor.optimizer.register_step_pre_hook(clip) for model in models]
    theirs, ours = (trained(model, 20) for model in models)
    assert ours.update_path == "autograd" and difference(theirs, ours) < ROUNDING
    handles[1].remove()
    assert trained(ours, 1).update_path == "fast"


def test_the_other_path_adds_it_too():
    theirs, ours = (
        trained(with_old_task(fast_update=fast, policy_kwargs={"activation_fn": nn.Tanh, **NET}), 20)
        for fast in (False, "auto")
    )
    assert ours.update_path == "autograd" and difference(theirs, ours) < ROUNDING


@pytest.mark.known_answer
@pytest.mark.parametrize("fast_update", [False, True])
def test_the_gradient_is_coef_times_that_of_the_mean_divergence(fast_update):
    """One step with and without the term: their gradients differ by clone_coef d/dp mean KL(old || now), by autograd."""
    gradients, drawn = {}, []
    for coef in (0.0, COEF):
        model = with_old_task(fast_update=fast_update)
        model.clone_coef = coef
        draw = model.cloning.draw
        model.cloning.draw = lambda draw=draw: (drawn.append(draw()), drawn[-1])[1]
        before = with_old_task(fast_update=fast_update)  # the actor of which the gradient is taken
        trained(model, 1)
        gradients[coef] = [p.grad.clone() for p in model.actor.parameters()]
    assert same(drawn[0], drawn[-1])
    observations, kept = drawn[0]
    mean, log_std, _ = before.actor.get_action_dist_params(observations)
    loss = kl_to_stored(kept, before.actor.action_dist.proba_distribution(mean, log_std)).mean()
    expected = th.autograd.grad(COEF * loss, list(before.actor.parameters()))
    for with_it, without, gradient in zip(gradients[COEF], gradients[0.0], expected, strict=True):
        th.testing.assert_close(with_it - without, gradient, rtol=1e-9, atol=1e-12)
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-2


def test_a_clamped_standard_deviation_gets_no_gradient_from_cloning():
    models = []
    for fast_update in (False, True):
        model = with_old_task(fast_update=fast_update)
        with th.no_grad():
            model.actor.log_std.bias.copy_(th.tensor([LOG_STD_MAX + 5.0, -3.0]))
        models.append(trained(model, 1))
    assert difference(*models) < 100 * ROUNDING
    assert models[1].actor.log_std.weight.grad[0].abs().max() == 0 < models[1].actor.log_std.weight.grad[1].abs().max()


@pytest.mark.parametrize("fast_update", [False, True])
@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_what_is_held_stays_exactly_and_the_rest_is_cloned(fast_update, mask_target):
    model = held(with_old_task(fast_update=fast_update, mask_target=mask_target), [0.0, 0.0, 0.5])
    before = held_entries(model)
    trained(model, 50)
    assert same(before, held_entries(model)) and any(len(entries) for entries in before)


@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_masked_updates_are_those_with_autograd(mask_target):
    make = [held(with_old_task(fast_update=fast, mask_target=mask_target), [0.0, 0.3]) for fast in (False, True)]
    theirs, ours = (trained(model, 50) for model in make)
    assert difference(theirs, ours) < ROUNDING


def test_a_strong_term_brings_the_old_policy_back():
    distances = {}
    for coef in (0.0, 100.0):
        model = with_old_task(fast_update=True, shift=3.0, learning_rate=3e-3)
        model.clone_coef, start = coef, divergence(model)
        distances[coef] = divergence(trained(model, 200)) / start
    assert distances[100.0] < 0.1 < distances[0.0]


@pytest.mark.parametrize("off", [{"rehearsal": "replay"}, {"memory_size": 0}])
@pytest.mark.parametrize("fast_update", [False, True])
def test_switched_off_it_changes_no_bit(off, fast_update):
    ours, theirs = (with_old_task(fast_update=fast_update) for _ in range(2))
    ours.__dict__.update(off)
    theirs.cloning.memory.reset()
    assert same(state(trained(ours, 20)), state(trained(theirs, 20)))
    assert "nbsp/cloning_loss" not in ours.logger.name_to_value


def test_what_is_kept_is_the_policy_at_the_tasks_end():
    model = with_old_task(shift=0.0)
    samples = model.cloning.memory.tasks[0]
    assert samples.observations.dtype == samples.outputs.dtype == np.float32 and len(samples) == 30
    mean, log_std, _ = model.actor.get_action_dist_params(th.as_tensor(samples.observations).double())
    expected = distribution_parameters(model.actor.action_dist.proba_distribution(mean, log_std))
    np.testing.assert_allclose(samples.outputs, expected.detach().numpy(), atol=1e-6)
    assert divergence(model) == pytest.approx(0, abs=1e-6)
