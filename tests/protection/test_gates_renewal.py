"""Task gates at a task's end: folding and renewing; tasks that come again."""

import numpy as np
import pytest
import torch as th
from helpers import same
from helpers.gated import CLASSES, STEPS, activations, difference, gated_env, made, observations, on, outputs, owners, quiet

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.scoring_env import steps_on_task
from sb3_nbsp.common.task_end import SCORING_SEED
from sb3_nbsp.protection import gates as gates_module
from sb3_nbsp.protection.ownership import CLOSED, FREE

pytestmark = quiet


# Folding and renewing


def scored(model):
    """The observations and actions that consolidation will score."""
    seed = SCORING_SEED + model.seed
    with isolated_rng(seed):
        rollout = steps_on_task(model, None, "east", int(model.scoring_steps), seed)
    return th.tensor(rollout.observations), th.tensor(rollout.actions)


@pytest.mark.parametrize("cls", CLASSES)
def test_folding_keeps_what_the_network_does(cls, monkeypatch):
    changes = {}
    for how in ("folded", "left"):
        with monkeypatch.context() as patch:
            if how == "left":
                patch.setattr(gates_module, "fold", lambda z, h, w: (th.zeros_like(w), th.zeros(len(w)).to(w)))
            model = on(made(cls, gated_env(cls, steps=1000)), 100)
            seen = scored(model)
            before = outputs(model, *seen)
            model.consolidate(task="east")
            after = outputs(model, *seen)
            changes[how] = {name: float((after[name] - before[name]).square().mean()) for name in before}
    assert all(changes["folded"][name] < 0.5 * changes["left"][name] for name in changes["left"])


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("net_arch", [(16,), (16, 16, 16)])
def test_with_all_active_neurons_nothing_changes(cls, net_arch):
    model = on(made(cls, gated_env(cls, steps=1000), net_arch=net_arch, skill_fraction=1.0, learning_rate=1e-3), 40)
    with th.no_grad():
        for layer in model.gates.layers:
            layer.own[0][3], layer.own[1][3] = 0.0, -1.0  # silent: it, or another one that is, becomes the gate
    seen = scored(model)
    before = outputs(model, *seen)
    model.consolidate(task="east")
    assert all(owner[3] < 0 for owner in owners(model).values())
    for name, values in outputs(model, *seen).items():
        th.testing.assert_close(values, before[name], rtol=1e-4, atol=1e-5)


def test_what_is_free_starts_anew():
    model = on(made(env=gated_env(steps=1000)), 100)
    layers = {layer.name: layer for layer in model.gates.layers}
    before = {name: layer.own[0].detach().clone() for name, layer in layers.items()}
    model.consolidate(task="east")
    for name, owner in owners(model).items():
        free = owner == FREE
        assert free.sum() == 16 - 3 - 1
        weight = layers[name].own[0].detach()
        assert not (weight[free] == before[name][free]).any()
        opened = weight[free][weight[free] > -CLOSED]
        assert opened.abs().max() <= 1 and opened.std() > 0.05
    last = [network.layers[-1] for network in model.gates.networks]
    assert not any(reader.parameter[:, owners(model)[layer.name] == FREE].any() for layer in last for reader in layer.readers)
    assert difference(outputs(model, observations("west")), outputs(model, observations("north"))) == 0.0  # both unknown
    assert all(not optimizer.state for optimizer in (model.actor.optimizer, model.critic.optimizer))
    assert same(dict(model.critic.state_dict()), dict(model.critic_target.state_dict()))


def test_consolidation_leaves_the_random_state_alone():
    model = on(made(env=gated_env(steps=1000)), 30)
    states = th.get_rng_state(), np.random.get_state()[1].copy()
    model.consolidate(task="east")
    assert th.equal(th.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])


# A task that comes again


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("memory_size", [0, 40])
def test_a_task_that_comes_again_learns_beside_the_others(cls, memory_size):
    env = gated_env(cls, tasks=("east", "west"), cycles=2)
    two = ("east", "west")
    model = on(made(cls, env, memory_size=memory_size, learning_rate=1e-3), 2 * STEPS)
    seen = {task: observations(task, tasks=two) for task in two}
    before = {task: outputs(model, seen[task]) for task in two}
    owner = owners(model)
    weights = {layer.name: [p.detach().clone() for p in layer.own] for layer in model.gates.layers}
    on(model, STEPS)
    assert model.learned_tasks == ["east", "west"]
    assert difference(before["west"], outputs(model, seen["west"])) == 0.0
    assert difference(before["east"], outputs(model, seen["east"])) > 1e-3
    for layer in model.gates.layers:
        then, now = owner[layer.name], model.gates.owner(layer)
        others = (then > 0) | (then < FREE)
        assert th.equal(now[others], then[others]) and int((now == 0).sum()) == int((then == 0).sum())
        assert th.equal(layer.own[1][others], weights[layer.name][1][others])
    again = outputs(model, seen["east"])
    on(model, STEPS)  # west again
    assert difference(again, outputs(model, seen["east"])) == 0.0
    assert difference(before["west"], outputs(model, seen["west"])) > 1e-3


@pytest.mark.parametrize("cls", CLASSES)
def test_a_task_that_comes_again_may_use_free_neurons(cls):
    env = gated_env(cls, tasks=("east", "west"), cycles=2)
    model = on(made(cls, env, learning_rate=1e-3), 2 * STEPS + 5)  # at east again
    free = {name: owner == FREE for name, owner in owners(model).items()}
    active = {task: activations(model, observations(task, tasks=("east", "west"))) for task in ("east", "west")}
    for name, neurons in free.items():
        assert active["east"][name][:, neurons].any() and not active["west"][name][:, neurons].any()
    west = outputs(model, observations("west", tasks=("east", "west")))
    model.begin_task("west")  # east is left before its end: the free neurons are closed on it again
    assert not any(activations(model, observations("east", tasks=("east", "west")))[n][:, free[n]].any() for n in free)
    assert any(activations(model, observations("west", tasks=("east", "west")))[n][:, free[n]].any() for n in free)
    assert difference(west, outputs(model, observations("west", tasks=("east", "west")))) == 0.0  # nothing reads them yet


@pytest.mark.parametrize("optimizer", [None, (th.optim.AdamW, {"weight_decay": 1.0})])
def test_a_task_that_comes_again_opens_no_neuron(optimizer):
    policy_kwargs = {} if optimizer is None else dict(zip(("optimizer_class", "optimizer_kwargs"), optimizer, strict=True))
    model = on(made(env=gated_env(tasks=("east", "west"), cycles=2), policy_kwargs=policy_kwargs), 4 * STEPS)
    for index, task in enumerate(("east", "west")):
        for name, values in activations(model, observations(task, tasks=("east", "west"))).items():
            owner = owners(model)[name]
            assert not values[:, (owner == 1 - index) | (owner == FREE)].any()
            assert bool((values[:, owner == -2 - index] == 1).all()) and not values[:, owner == -3 + index].any()


def test_the_same_task_twice_in_a_row_by_hand():
    model = on(made(env=gated_env(steps=1000)), STEPS)
    first = model.consolidate(task="east")
    before, owner = outputs(model, observations("east")), owners(model)
    on(model, STEPS)
    second = model.consolidate(task="east")
    assert model.learned_tasks == ["east"]
    assert all(th.equal(now == -2, owner[name] == -2) for name, now in owners(model).items())  # its gates
    assert [len(layer.chosen) for layer in first.layers.values()] == [len(layer.chosen) for layer in second.layers.values()]
    assert difference(before, outputs(model, observations("east"))) > 1e-3


def test_a_task_that_is_left_unfinished_is_held_again():
    model = on(made(reset_replay_buffer=False), STEPS + 30)
    model.consolidate(task="west")
    before = []
    for task in ("east", "north"):
        model.begin_task(task)
        before.append(outputs(model, observations("east")))
        model.train(10, 16)
    assert difference(*before) > 1e-3
    assert difference(before[1], outputs(model, observations("east"))) == 0.0  # in spite of Adam's momentum
