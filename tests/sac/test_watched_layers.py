"""What watches hidden layers sees the same without autograd as with SB3's SAC, in float64."""

from functools import partial
from typing import Any

import pytest
import torch as th
from helpers.fast_updates import ROUNDING, difference, made, trained
from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp.baselines import CReLU
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.sac.fast_update_conditions import find_obstacle
from sb3_nbsp.sac.stack_kind import find_stack_obstacle

pytestmark = pytest.mark.usefixtures("double_observations")

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, CReLU)


def activations(model: SAC) -> dict[str, nn.Module]:
    """The hidden ones of actor and critics, by their names."""
    parts: dict[str, nn.Module] = {"actor": model.actor.latent_pi, "qf0": model.critic.qf0, "qf1": model.critic.qf1}
    return {f"{name}.{i}": m for name, part in parts.items() for i, m in enumerate(part) if isinstance(m, ACTIVATIONS)}


class Watcher:
    """Of each layer what was seen last before each step of its optimizer."""

    def __init__(self, model: SAC):
        self.newest: dict[str, tuple[th.Tensor, th.Tensor]] = {}
        self.seen: list[dict[str, tuple[th.Tensor, th.Tensor]]] = []
        layers = activations(model)
        self.handles = [m.register_forward_hook(LayerWatch(partial(self._see, name))) for name, m in layers.items()]
        for part, optimizer in (("actor", model.actor.optimizer), ("qf", model.critic.optimizer)):
            self.handles.append(optimizer.register_step_pre_hook(partial(self._keep, part)))

    def _see(self, name: str, output: th.Tensor, gradient: th.Tensor) -> None:
        self.newest[name] = output.clone(), gradient.clone()

    def _keep(self, part: str, *_: Any) -> None:
        self.seen.append({name: pair for name, pair in self.newest.items() if name.startswith(part)})

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_layer_and_its_gradient_is_seen_before_the_step(activation: type[nn.Module]) -> None:
    settings = {"policy_kwargs": {"net_arch": [32, 24], "activation_fn": activation}}
    theirs, ours = made(SAC, **settings), made(fast_update=True, **settings)
    watchers = []
    for model in (theirs, ours):
        trained(model, 3)
        watchers.append(Watcher(model))
        trained(model, 4)
    expected, seen = (watcher.seen for watcher in watchers)
    assert ours.update_path == "fast" and [sorted(step) for step in seen] == [sorted(step) for step in expected]
    assert sum(map(len, seen)) == 4 * 6
    for one, other in zip(expected, seen, strict=True):
        for name in one:
            for a, b in zip(one[name], other[name], strict=True):
                assert a.shape == b.shape and float((a - b).abs().max()) < ROUNDING and bool(a.any())
    assert difference(theirs, ours) < ROUNDING


def test_who_looks_away_is_shown_nothing_more() -> None:
    model = made(fast_update=True)
    watcher = Watcher(model)
    trained(model, 2)
    n_seen = len(watcher.seen)
    assert n_seen == 4
    watcher.remove()
    watcher.newest.clear()
    trained(model, 2)
    assert not watcher.newest and len(watcher.seen) == n_seen and model.update_path == "fast"


def test_watches_elsewhere_and_other_hooks_are_obstacles() -> None:
    model = made(double=False)
    for module in (model.actor.mu, model.critic.qf0[0], model.critic.features_extractor, model.actor):
        handle = module.register_forward_hook(LayerWatch(lambda *_: None))
        assert "a hook is registered on a module" in str(find_obstacle(model))
        handle.remove()
        assert find_obstacle(model) is None

    class Another(LayerWatch):
        """Its call may do something else."""

    for hook in (lambda *_: None, Another(lambda *_: None)):
        handle = model.critic.qf0[1].register_forward_hook(hook)
        assert find_obstacle(model) == "a hook is registered on a module of the critic"
        handle.remove()
    model.critic.qf1[1] = model.critic.qf0[1]
    assert find_obstacle(model) is None
    model.critic.qf0[1].register_forward_hook(LayerWatch(lambda *_: None))
    assert find_obstacle(model) == "an activation that is watched serves several networks"


def test_a_watched_actor_that_clones_learns_with_autograd() -> None:
    model = made(double=False, rehearsal="clone", memory_size=10)
    assert find_obstacle(model) is None
    handle = model.critic.qf0[1].register_forward_hook(LayerWatch(lambda *_: None))
    assert find_obstacle(model) is None
    handle.remove()
    model.actor.latent_pi[1].register_forward_hook(LayerWatch(lambda *_: None))
    assert find_obstacle(model) == "a hook on the actor would see the gradient of cloning, which is added after it"


def test_a_stack_of_agents_shows_nothing() -> None:
    model = made(double=False)
    for name, mlp in (("actor", model.actor.latent_pi), ("critic", model.critic.qf1)):
        handle = mlp[1].register_forward_hook(LayerWatch(lambda *_: None))
        assert find_obstacle(model) is None
        assert find_stack_obstacle(model) == f"a hook is registered on a module of the {name}"
        handle.remove()
    assert find_stack_obstacle(model) is None


def test_what_see_returns_is_no_gradient() -> None:
    theirs, ours = made(SAC), made(fast_update=True)
    for model in (theirs, ours):
        model.critic.qf0[1].register_forward_hook(LayerWatch(lambda output, gradient: 2 * gradient))
        trained(model, 10)
    assert difference(theirs, ours) < ROUNDING


def test_what_is_changed_in_place_behind_the_layer_is_seen_as_it_was_put_out() -> None:
    layer, seen = nn.SiLU(), []
    layer.register_forward_hook(LayerWatch(lambda output, gradient: seen.append(output)))
    x = th.ones(2, 3, requires_grad=True)
    layer(x * 1).add_(100.0).sum().backward()
    assert th.equal(seen[0], nn.functional.silu(th.ones(2, 3)))
