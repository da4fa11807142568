"""Frozen networks that are added to a model's, without autograd, against SB3's SAC in float64."""

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch as th
from helpers.fast_updates import ROUNDING, difference, keep_clones, made, trained
from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp.common.added_networks import AddedNetworks, AddOutput, Part, ReadInput
from sb3_nbsp.sac.fast_sac import FastSAC
from sb3_nbsp.sac.fast_update_conditions import find_obstacle
from sb3_nbsp.sac.stack_kind import find_stack_obstacle

pytestmark = pytest.mark.usefixtures("double_observations")

SIGNS = (1.0, -1.0, 1.0)


def other(module: nn.Module, seed: int) -> Any:
    """A module like this one with parameters of its own, without hooks."""
    copy = deepcopy(module).requires_grad_(False)
    for part in copy.modules():
        part._forward_hooks.clear()
    generator = th.Generator().manual_seed(seed)
    for p in copy.parameters():
        p.data.copy_(0.2 * th.randn(p.shape, generator=generator, dtype=p.dtype))
    return copy


def parts(body: nn.Module, heads: list[nn.Module], signs: tuple[float, ...] = (1.0,), seed: int = 0) -> tuple[Part, ...]:
    seeds = range(seed, seed + len(signs))
    return tuple(
        Part(sign, other(body, n), [other(head, 10 * n + k) for k, head in enumerate(heads)])
        for sign, n in zip(signs, seeds, strict=True)
    )


def hang(model: SAC, signs: tuple[float, ...] = SIGNS, where: str = "actor critic target", first_seed: int = 0) -> list[Any]:
    """Add networks; those of a target critic are those of its critic, as with plasticity injection."""
    actor: Any = model.actor
    heads = [actor.mu, actor.log_std]
    added = [("actor", parts(actor.latent_pi, heads, signs, first_seed), actor.latent_pi, heads)]
    for name, critic in (("critic", model.critic), ("target", model.critic_target)):
        for k, q_network in enumerate(critic.q_networks):
            added.append((name, parts(q_network, [], signs, first_seed + 100 * (k + 1)), q_network, []))
    chosen = [rest for name, *rest in added if name in where.split()]
    return [handle for networks, body, outputs in chosen for handle in AddedNetworks(networks).hang(body, outputs)]


@pytest.mark.parametrize("where", ["actor", "critic", "target", "actor critic target"])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU])
def test_what_is_added_is_learned_around(where: str, activation: type[nn.Module]) -> None:
    settings = {"policy_kwargs": {"net_arch": [32, 24], "activation_fn": activation}}
    theirs, ours, without = made(SAC, **settings), made(fast_update=True, **settings), made(SAC, **settings)
    for model in (theirs, ours, without):
        trained(model, 5)
        if model is not without:
            hang(model, where=where)
        trained(model, 40)
    assert ours.update_path == "fast" and difference(theirs, ours) < 10 * ROUNDING
    assert difference(theirs, without) > 1e-3


def test_what_is_taken_off_or_added_later_counts_from_the_next_update() -> None:
    theirs, ours = made(SAC), made(fast_update=True)
    for model in (theirs, ours):
        handles = hang(model)
        trained(model, 10)
        more = hang(model, first_seed=7)
        trained(model, 10)
        for handle in handles:
            handle.remove()
        trained(model, 10)
        for handle in more:
            handle.remove()
        trained(model, 10)
    assert ours.update_path == "fast" and difference(theirs, ours) < 10 * ROUNDING


def test_batches_may_change_their_size_and_old_observations_are_cloned_by_the_sum() -> None:
    def learned(how: bool, is_added: bool = True) -> Any:
        model: Any = made(rehearsal="clone", memory_size=40, fast_update=how)
        seen = model.cloning._seen
        model.cloning._seen = lambda observations: seen(observations).double()
        keep_clones(model, 40)
        if is_added:
            hang(model)
        for size in (64, 32, 64, 32):
            trained(model, 5, batch_size=size)
        return model

    ours = learned(True)
    assert ours.update_path == "fast" and difference(learned(False), ours) < 10 * ROUNDING
    assert difference(learned(True, is_added=False), ours) > 1e-3


@pytest.mark.parametrize("how", [False, True])
def test_copies_and_files_made_between_updates_change_nothing(how: bool, tmp_path: Any) -> None:
    one, two = made(fast_update=how, double=False), made(fast_update=how, double=False)
    for model in (one, two):
        hang(model)
        trained(model, 5)
    one.save(tmp_path / "model.zip")
    deepcopy(one.policy)
    copy = deepcopy(one)
    for model in (one, two, copy):
        trained(model, 5)
    assert difference(one, two) == 0 and difference(two, copy) < 1e-5


def exchange_parts(q_network: Any, part: Part) -> None:
    """What is added is another network from now on."""
    for name in [name for name, hook in q_network._forward_hooks.items() if isinstance(hook, ReadInput | AddOutput)]:
        del q_network._forward_hooks[name]
    list(AddedNetworks((part._replace(sign=-1.0),)).hang(q_network))


def exchange_values(q_network: Any, part: Part) -> None:
    part.body[2].weight.data = part.body[2].weight + 1.0


def change_values(q_network: Any, part: Part) -> None:
    part.body[2].weight.add_(1.0)


def exchange_a_layer(q_network: Any, part: Part) -> None:
    part.body[2] = other(part.body[2], 5)


def change_slope(q_network: Any, part: Part) -> None:
    for network in (q_network, part.body):
        network[1].negative_slope = network[3].negative_slope = 0.5


def forget_hooks(q_network: Any, part: Part) -> None:
    q_network._forward_hooks = OrderedDict()


CHANGES = [exchange_parts, exchange_values, change_values, exchange_a_layer, change_slope, forget_hooks]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_changed_between_updates_counts_from_the_next_one(change: Callable[[Any, Part], None]) -> None:
    settings = {"policy_kwargs": {"net_arch": [32, 24], "activation_fn": nn.LeakyReLU}}
    models = [made(SAC, **settings), made(**settings), made(SAC, **settings)]
    for model in models:
        q_networks = [*model.critic.q_networks, *model.critic_target.q_networks]
        added = [parts(q_network, [], seed=k)[0] for k, q_network in enumerate(q_networks)]
        for part, q_network in zip(added, q_networks, strict=True):
            list(AddedNetworks((part,)).hang(q_network))
        trained(model, 5)
        for part, q_network in zip(added, q_networks, strict=True):
            if model is not models[2]:
                change(q_network, part)
        if change is change_slope and model is not models[2]:  # one function for each kind of network
            model.actor.latent_pi[1].negative_slope = model.actor.latent_pi[3].negative_slope = 0.5
        trained(model, 10)
    assert models[1].update_path == "fast" and difference(*models[:2]) < 10 * ROUNDING
    assert difference(models[0], models[2]) > 1e-4


def on_one_head(model: SAC) -> Any:
    body = model.actor.latent_pi
    return AddedNetworks(parts(body, [model.actor.mu])).hang(body, [model.actor.mu])


def on_heads_the_other_way_round(model: SAC) -> Any:
    body, heads = model.actor.latent_pi, [model.actor.log_std, model.actor.mu]
    return AddedNetworks(parts(body, heads)).hang(body, heads)


def on_one_critic(model: SAC) -> Any:
    q_network = model.critic.q_networks[0]
    return AddedNetworks(parts(q_network, [])).hang(q_network)


def with_a_head(model: SAC) -> Any:
    q_network = model.critic.q_networks[0]
    return AddedNetworks((Part(1.0, other(q_network, 0), [nn.Linear(1, 1).requires_grad_(False)]),)).hang(
        q_network, [q_network]
    )


def of_another_size(model: SAC) -> Any:
    q_network = model.critic_target.q_networks[1]
    n_inputs = q_network[0].in_features
    wide = nn.Sequential(nn.Linear(n_inputs, 8), nn.ReLU(), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    return AddedNetworks((Part(1.0, wide.requires_grad_(False)),)).hang(q_network)


def of_another_function(model: SAC) -> Any:
    q_network = model.critic.q_networks[1]
    copy = other(q_network, 0)
    copy[1] = nn.Tanh()
    return AddedNetworks((Part(1.0, copy),)).hang(q_network)


def one_that_learns(model: SAC) -> Any:
    q_network = model.critic.q_networks[0]
    return AddedNetworks((Part(1.0, model.critic_target.q_networks[0]),)).hang(q_network)


def hooked(model: SAC) -> Any:
    q_network = model.critic.q_networks[0]
    added = parts(q_network, [])
    added[0].body[1].register_forward_hook(lambda *_: None)
    return AddedNetworks(added).hang(q_network)


def inside(model: SAC) -> Any:
    layer = model.critic.q_networks[0][0]
    return AddedNetworks(parts(layer, [])).hang(layer)


def without_its_input(model: SAC) -> Any:
    return iter([model.critic.q_networks[0].register_forward_hook(AddOutput(AddedNetworks(())))])


OBSTACLES = {
    on_one_head: "what is added to the actor is not added to all of its outputs",
    on_heads_the_other_way_round: "what is added to the actor is not added to all of its outputs",
    with_a_head: "what is added to the critic is not added to all of its outputs",
    without_its_input: "what is added to the critic is not added to all of its outputs",
    on_one_critic: "what is added to the networks of the critic differs",
    of_another_size: "what is added to the target critic is of another structure",
    of_another_function: "what is added to the critic is of another structure",
    one_that_learns: "what is added to the critic is not frozen",
    hooked: "a hook is registered on what is added to the critic",
    inside: "a hook is registered on a module of the critic",
}


@pytest.mark.parametrize("hang_some", OBSTACLES, ids=lambda hang_some: hang_some.__name__)
def test_anything_else_is_an_obstacle(hang_some: Callable[[SAC], Any]) -> None:
    model = made(double=False)
    handles = list(hang_some(model))
    assert find_obstacle(model) == OBSTACLES[hang_some]
    for handle in handles:
        handle.remove()
    assert find_obstacle(model) is None


def test_a_stack_of_agents_adds_nothing() -> None:
    model = made(double=False)
    for where, name in (("actor", "actor"), ("critic", "critic"), ("target", "target critic")):
        handles = hang(model, where=where)
        assert find_obstacle(model) is None
        assert find_stack_obstacle(model) == f"a hook is registered on a module of the {name}"
        for handle in handles:
            handle.remove()
    assert find_stack_obstacle(model) is None


def test_where_a_stack_has_the_actor_an_action_is_that_of_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, also before the next update."""
    monkeypatch.setattr(FastSAC, "_is_one_program", property(lambda model: True))
    model: Any = trained(made(double=False), 3)
    model._last_obs, model.num_timesteps = model.env.reset(), 10**6

    def action() -> list[float]:
        th.manual_seed(0)
        return model._sample_action(0)[0].ravel().tolist()

    before, handles = action(), hang(model, where="actor")
    th.manual_seed(0)
    expected = SAC._sample_action(model, 0)[0].ravel().tolist()
    assert action() == expected != before
    for handle in handles:
        handle.remove()
    assert action() == pytest.approx(before)
