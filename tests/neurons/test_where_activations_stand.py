"""Where steps and neurons stand in what is recorded: folded, moved, pooled, joined. The answers are computed by hand."""

import numpy as np
import pytest
import torch as th
from helpers import VECTOR, ToyEnv
from helpers.one_network import network_of
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from test_forward_graph import Written, recorded
from torch import nn
from torch.nn import functional as F

from sb3_nbsp.neurons import find_networks
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scoring import run_networks, score_networks
from sb3_nbsp.probe.silencing import silenced

T = 8
STEPS = th.linspace(-1, 1, T * 6).sin().reshape(T, 6)


def steps_of(x):
    n, flags = len(x), np.ones(len(x), bool)
    return ScoringSteps(
        x.numpy(), np.zeros((n, 1)), np.arange(n) % 2, x.numpy(), np.zeros(n), flags, flags, np.full(n, np.nan)
    )


def run(forward, x=STEPS, with_gradients=False, **parts):
    """Activations and loss changes by layer, on all steps at once; the map is read on two."""
    th.manual_seed(0)
    made = {name: part if isinstance(part, nn.Module | nn.Parameter) else part() for name, part in parts.items()}
    module = Written(forward, **made)
    network = network_of(module, x)

    def loss(steps, rows, recorder):
        with recorder:
            return module(x[rows]).square().mean()

    found, changes = run_networks([network], steps_of(x), {"critic": loss}, with_gradients)
    short = {name.removeprefix("q_net."): values for name, values in found.items()}
    return module, network, short, {name.removeprefix("q_net."): values for name, values in changes.items()}


def linear(*sizes):
    return lambda: nn.Linear(*sizes)


# Steps

FOLDS = {
    "step by step": lambda self, x: self.o(F.relu(self.a(x.reshape(-1, 2))).reshape(len(x), -1)),
    "object by object": lambda self, x: self.o(
        F.relu(self.a(x.reshape(-1, 3, 2).transpose(0, 1).reshape(-1, 2))).reshape(3, len(x), 4).transpose(0, 1).flatten(1)
    ),
    "objects kept": lambda self, x: self.o(F.relu(self.a(x.reshape(-1, 3, 2))).flatten(1)),
    "sequence first": lambda self, x: self.o(F.relu(self.a(x.reshape(-1, 3, 2).transpose(0, 1))).transpose(0, 1).flatten(1)),
    "one after the other": lambda self, x: self.o(th.cat([F.relu(self.a(x[:, i : i + 2])) for i in (0, 2, 4)], dim=1)),
}


@pytest.mark.known_answer
@pytest.mark.parametrize("name", FOLDS)
def test_a_row_is_of_its_step_however_objects_are_folded(name):
    module, _, found, changes = run(FOLDS[name], with_gradients=True, a=linear(2, 4), o=linear(12, 1))
    by_hand = F.relu(module.a(STEPS.reshape(T, 3, 2)))
    th.testing.assert_close(found["a"], by_hand.mean(dim=1).detach())
    slope = 2 * module(STEPS)[:, :, None] * module.o.weight.reshape(1, 3, 4)
    total = (by_hand * slope).sum(dim=1) if name == "one after the other" else (by_hand * slope).mean(dim=1)
    th.testing.assert_close(changes["a"], total.abs().detach())


@pytest.mark.known_answer
def test_a_layer_on_single_and_on_several_objects():
    def forward(self, x):
        return self.o(th.cat([F.relu(self.a(x[:, :2])), F.relu(self.a(x[:, 2:].reshape(-1, 2, 2))).mean(dim=1)], dim=1))

    module, _, found, _ = run(forward, a=linear(2, 5), o=linear(10, 1))
    objects = F.relu(module.a(STEPS.reshape(T, 3, 2)))
    th.testing.assert_close(found["a"], ((objects[:, 0] + objects[:, 1:].mean(dim=1)) / 2).detach())


@pytest.mark.known_answer
def test_calls_that_fold_in_different_ways_are_told_apart():
    def forward(self, x):
        own, others = F.relu(self.a(x[:, :2])), F.relu(self.a(x[:, 2:].reshape(-1, 2)))
        return self.o(th.cat([own, others.reshape(len(x), 10)], dim=1))

    module, network, found, _ = run(forward, a=linear(2, 5), o=linear(15, 1))
    assert [(s.outer, s.inner) for s in network.layers[0].steps] == [(1, 1), (1, 2)]
    objects = F.relu(module.a(STEPS.reshape(T, 3, 2)))
    th.testing.assert_close(found["a"], ((objects[:, 0] + objects[:, 1:].mean(dim=1)) / 2).detach())


@pytest.mark.known_answer
@pytest.mark.parametrize("shape", [(5, 3), (3,)])
def test_what_comes_from_parameters_alone_is_the_same_at_all_steps(shape):
    def forward(self, x):
        keys = F.relu(self.k(self.slots))
        return self.o(F.relu(self.a(x)) * (keys.mean(dim=0) if keys.dim() > 1 else keys))

    slots = nn.Parameter(th.rand(shape))
    module, network, found, changes = run(
        forward, with_gradients=True, a=linear(6, 4), k=linear(3, 4), o=linear(4, 1), slots=slots
    )
    keys = F.relu(module.k(slots)).reshape(-1, 4).mean(dim=0)
    th.testing.assert_close(found["k"], keys.expand(T, 4).detach())
    assert {layer.name: layer.is_constant for layer in network.layers} == {"q_net.a": False, "q_net.k": True}
    assert all(values.shape == (T, 4) for values in changes.values())


class Pairs(BaseFeaturesExtractor):
    """Compares each step of a batch with each other one."""

    def __init__(self, space):
        super().__init__(space, 4)
        self.l, self.m = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.m(F.relu(self.l(x[:, None] - x[None])).mean(dim=1))


def test_steps_that_cannot_be_told_apart_are_named_when_the_model_is_made():
    policy = PPO("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [4], "features_extractor_class": Pairs}).policy
    with pytest.warns(UserWarning, match="neurons of features_extractor.l are neither scored nor protected: which rows"):
        networks = find_networks(policy)
    assert "features_extractor.l" not in [layer.name for network in networks for layer in network.layers]


# Neurons

IMAGES = th.rand(3, 1, 6, 6) - 0.5


def flattened(module):
    return F.relu(module.a(IMAGES)).mean(dim=(2, 3))


MOVED = {
    "pooled": (
        lambda self, x: self.o(F.relu(F.max_pool2d(self.a(x), 2)).flatten(1)),
        (lambda: nn.Conv2d(1, 4, 3), linear(16, 1)),
        lambda module: F.relu(F.max_pool2d(module.a(IMAGES), 2)).mean(dim=(2, 3)),
    ),
    "flattened": (
        lambda self, x: self.o(F.relu(self.a(x).flatten(1))),
        (lambda: nn.Conv2d(1, 4, 3), linear(64, 1)),
        flattened,
    ),
    "channels last": (
        lambda self, x: self.o(F.relu(self.a(x).permute(0, 2, 3, 1)).flatten(1)),
        (lambda: nn.Conv2d(1, 4, 3), linear(64, 1)),
        flattened,
    ),
    "in place in a view": (
        lambda self, x: self.o(self.a(x).flatten(1).relu_()),
        (lambda: nn.Conv2d(1, 4, 3), linear(64, 1)),
        flattened,
    ),
    "gated": (
        lambda self, x: self.o(F.silu((h := self.a(x.flatten(1)))[:, :2]) * h[:, 2:]),
        (linear(36, 4), linear(2, 1)),
        lambda module: (F.silu((h := module.a(IMAGES.flatten(1)))[:, :2]) * h[:, 2:]).repeat(1, 2),
    ),
    "squeezed": (
        lambda self, x: self.o(F.relu(self.a(x.flatten(1)[:, None]).squeeze(1))),
        (linear(36, 4), linear(4, 1)),
        lambda module: F.relu(module.a(IMAGES.flatten(1))),
    ),
}


@pytest.mark.known_answer
@pytest.mark.parametrize("name", MOVED)
def test_a_moved_layer_is_recorded_after_its_activation(name):
    forward, (a, o), by_hand = MOVED[name]
    module, network, found, _ = run(forward, x=IMAGES, a=a, o=o)
    th.testing.assert_close(found["a"], by_hand(module).detach())
    assert_silencing_is_what_zeroed_readers_are(module, network)


def assert_silencing_is_what_zeroed_readers_are(module, network):
    (layer,) = network.layers
    mask = th.zeros(4, dtype=th.bool)
    mask[1] = True
    with th.no_grad(), silenced([layer], {layer.name: mask}):
        without = module(IMAGES)
    for reader in layer.readers:
        reader.parameter.data.index_fill_(reader.dim, reader.indices(th.tensor([1])), 0.0)
    th.testing.assert_close(module(IMAGES).detach(), without)


@pytest.mark.known_answer
@pytest.mark.parametrize("join", ["beside", "sum"])
def test_layers_that_share_an_activation(join):
    def forward(self, x):
        one, other = self.a(x[:, :3]), self.b(x[:, 3:])
        return self.o(self.act(th.cat([one, other], dim=1) if join == "beside" else one + other))

    module, _, found, _ = run(
        forward, a=linear(3, 4), b=linear(3, 4), o=linear(8 if join == "beside" else 4, 1), act=nn.ReLU()
    )
    one, other = module.a(STEPS[:, :3]), module.b(STEPS[:, 3:])
    expected = (F.relu(one), F.relu(other)) if join == "beside" else (F.relu(one + other),) * 2
    for name, values in zip("ab", expected, strict=True):
        th.testing.assert_close(found[name], values.detach())


@pytest.mark.known_answer
def test_a_stream_that_is_read_behind_a_function_is_still_what_is_added_to_it():
    """A block of IMPALA's network."""

    def forward(self, x):
        stream = F.max_pool2d(self.a(x), 2)
        stream = stream + self.c(F.relu(self.b(F.relu(stream))))
        return self.o(F.relu(stream).flatten(1))

    parts = {"a": nn.Conv2d(1, 4, 3), "b": nn.Conv2d(4, 4, 1), "c": nn.Conv2d(4, 4, 1), "o": nn.Linear(16, 1)}
    module, network, _, _ = run(forward, x=IMAGES, **parts)
    found = recorded(module, network, IMAGES)
    th.testing.assert_close(found["a"], module.a(IMAGES).mean(dim=(2, 3)).detach())


class Halves(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 4)
        self.l, self.m = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        one, other = self.l(x).chunk(2, dim=1)
        return F.relu(self.m(th.cat([F.relu(one), other.tanh()], dim=1)))


def test_an_activation_that_cannot_be_recorded_is_told_when_the_model_is_made():
    policy = PPO("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [4], "features_extractor_class": Halves}).policy
    with pytest.warns(UserWarning, match="activations of features_extractor.l are recorded before the activation function"):
        find_networks(policy)


# Frozen parts


@pytest.mark.parametrize("score", ["taylor", "published"])
@pytest.mark.parametrize("kind", ["frozen", "no_grad"])
def test_frozen_layers_are_scored_but_not_chosen(kind, score):
    def forward(self, x):
        with th.set_grad_enabled(kind == "frozen"):
            first = F.relu(self.a(x))
        return self.o(F.relu(self.b(first)))

    module = Written(forward, a=nn.Linear(6, 5), b=nn.Linear(5, 5), o=nn.Linear(5, 1))
    module.a.requires_grad_(False)
    network = network_of(module, STEPS)

    def loss(steps, rows, recorder):
        with recorder:
            return module(STEPS[rows]).mean()

    skill = score_networks([network], steps_of(STEPS), {"critic": loss}, "task", score, "auto", 0.4, "all")
    assert skill.layers["q_net.a"].chosen == [] and len(skill.layers["q_net.b"].chosen) == 2
