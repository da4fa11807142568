"""The fast update seen from outside: optimizers, parameters, changes, files and copies."""

import copy
import io
import pickle

import pytest
import torch as th
from helpers import same
from helpers.fast_updates import (
    ROUNDING,
    difference,
    held,
    made,
    state,
    trained,
)
from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp import NBSPSAC

pytestmark = pytest.mark.usefixtures("double_observations")


def test_the_optimizers_show_their_true_state():
    theirs, ours = made(SAC), made(fast_update=True)
    for n in (1, 2):
        one, other = (trained(model, 1).critic.optimizer.state_dict() for model in (theirs, ours))
        assert one["param_groups"] == other["param_groups"] and list(one["state"][0]) == list(other["state"][0])
        assert one["state"].keys() == other["state"].keys() and float(other["state"][0]["step"]) == n
        assert difference(theirs, ours) < ROUNDING
    gradients = [[p.grad for p in model.actor.parameters()] for model in (theirs, ours)]
    assert all(th.allclose(a, b, atol=1e-12) for a, b in zip(*gradients, strict=True))


def test_parameters_stay_the_same_objects():
    model = made(fast_update=True)
    before = list(model.policy.parameters())
    trained(model, 2)
    assert all(a is b and a.is_leaf and a.requires_grad for a, b in zip(model.policy.parameters(), before, strict=True))
    assert model.policy.training and model.actor.mu.training


CHANGES = {
    "optimizer state loaded": lambda m: m.actor.optimizer.load_state_dict(copy.deepcopy(m.actor.optimizer.state_dict())),
    "optimizer state forgotten": lambda m: m.critic.optimizer.state.clear(),
    "moments exchanged": lambda m: m.critic.optimizer.state[m.critic.qf0[0].weight].update(exp_avg=th.ones(32, 5).double()),
    "moments written": lambda m: m.critic.optimizer.state[m.critic.qf0[0].weight]["exp_avg"].fill_(1.0),
    "parameter exchanged": lambda m: setattr(m.actor.mu.bias, "data", th.ones(2).double()),
    "parameter written": lambda m: m.actor.mu.bias.data.fill_(1.0),
    "parameters loaded": lambda m: m.set_parameters(made().get_parameters(), exact_match=False),
    "from a vector": lambda m: th.nn.utils.vector_to_parameters(th.linspace(0, 0.1, 1316).double(), m.actor.parameters()),
    "entropy coefficient": lambda m: setattr(m.log_ent_coef, "data", th.full((1,), -1.0).double()),
    "entropy coefficient's moments": lambda m: m.ent_coef_optimizer.state.clear(),
    "layer exchanged": lambda m: exchange_layer(m),
    "moved": lambda m: m.policy.to("cpu"),
    "gradients removed": lambda m: m.actor.optimizer.zero_grad(),
    "target layer exchanged": lambda m: exchange_target_layer(m),
    "target parameter exchanged": lambda m: setattr(
        m.critic_target.qf1[2], "bias", nn.Parameter(th.ones(32).double(), requires_grad=False)
    ),
    "epsilon": lambda m: setattr(m.actor.action_dist, "epsilon", 0.5),
    "target copied": lambda m: m.critic_target.load_state_dict(m.critic.state_dict()),
}


def exchange_layer(model: SAC) -> None:
    """As for a new task: another output layer and an optimizer that knows it."""
    th.manual_seed(0)
    model.actor.mu = nn.Linear(32, 2).double()
    model.actor.optimizer = th.optim.Adam(model.actor.parameters(), lr=3e-4)


def exchange_target_layer(model: SAC) -> None:
    th.manual_seed(0)
    model.critic_target.qf0[0] = nn.Linear(5, 32).double().requires_grad_(False)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_from_outside_count(name):
    models = [trained(made(cls, **kwargs), 10) for cls, kwargs in ((SAC, {}), (NBSPSAC, {"fast_update": True}))]
    for model in models:
        CHANGES[name](model)
        trained(model, 20)
    assert models[1].update_path == "fast" and difference(*models) < ROUNDING


def saved_and_loaded(model: NBSPSAC, **kwargs) -> NBSPSAC:
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    new = type(model).load(file, **kwargs)
    new.replay_buffer = model.replay_buffer
    new.set_logger(model.logger)
    return new


def pickled(model: NBSPSAC) -> NBSPSAC:
    return pickle.loads(pickle.dumps(model))


COPIES = {"file": saved_and_loaded, "deepcopy": copy.deepcopy, "pickle": pickled}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("how", [True, False])
def test_a_copy_goes_on_as_the_original_would(way, how):
    model = held(trained(made(double=False, fast_update=how), 10), [0.0, 0.3])
    new = COPIES[way](model)
    before = state(model)
    assert same(state(new), before) and new.critic.optimizer.is_masking
    trained(new, 20)
    assert same(state(model), before)  # the original is left alone
    assert same(state(trained(model, 20)), state(new)) and new.update_path == ("fast" if how else "sb3")


@pytest.mark.parametrize("first, then", [(True, False), (False, True)])
def test_files_of_the_other_path(first, then):
    model = trained(made(double=False, fast_update=first), 30)
    new, stale = saved_and_loaded(model, fast_update=then), saved_and_loaded(model, fast_update=then)
    stale.critic.optimizer.reset_state()
    for one in (model, new, stale):
        trained(one, 20)
    assert new.update_path != model.update_path
    assert difference(new, model) < 1e-5 < 1e-3 < difference(stale, model)


def test_files_and_copies_are_as_small_as_sb3s():
    def sizes(model: SAC) -> list[int]:
        file = io.BytesIO()
        model.save(file)
        return [file.tell(), len(pickle.dumps(model))]

    kwargs = {"double": False, "policy_kwargs": {"net_arch": [256, 256]}}
    slow, fast = (sizes(trained(made(fast_update=how, **kwargs), 1)) for how in (False, True))
    assert fast == pytest.approx(slow, rel=0.02)


def test_parameters_of_another_model():
    """What is taken over is copied, not shared."""
    one, other = trained(made(fast_update=True), 10), made(fast_update=True)
    other.set_parameters(one.get_parameters())
    other.log_ent_coef.data.copy_(one.log_ent_coef.data)
    before = state(one)
    trained(other, 10)
    assert same(state(one), before)
    trained(one, 10)
    assert difference(one, other) < ROUNDING
