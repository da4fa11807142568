"""Modules as people write them, each with its map written out; the pass that reads them leaves no trace."""

import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import VECTOR, AnyActionEnv, ToyEnv
from helpers.one_network import network_of
from stable_baselines3 import PPO, SAC
from torch import nn
from torch.nn import functional as F

from sb3_nbsp.neurons import ActivationRecorder, Network, find_networks, flows
from sb3_nbsp.protection.masks import NeuronMasks
from sb3_nbsp.protection.ownership import check_chain

SEEN = th.rand(5, 3)


class Written(nn.Module):
    """A module from its layers and a forward."""

    def __init__(self, forward: Callable[..., th.Tensor], **parts: nn.Module | nn.Parameter):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.written = forward

    def forward(self, x: th.Tensor) -> th.Tensor:
        return self.written(self, x)


def read(forward: Callable[..., th.Tensor], seen: th.Tensor = SEEN, **parts) -> tuple[Written, Network]:
    module = Written(forward, **parts)
    return module, network_of(module, seen)


def map_of(module: nn.Module, network: Network) -> dict[str, list]:
    names = {id(p): name.removesuffix(".weight") for name, p in module.named_parameters()}
    return {
        layer.name.removeprefix("q_net."): [
            (names[id(r.parameter)], r.neurons or (r.start, r.span))
            if r.dim == 1
            else (names[id(r.parameter)], "rows", r.span)
            for r in layer.readers
        ]
        for layer in network.layers
    }


def recorded(module: nn.Module, network: Network, seen: th.Tensor = SEEN) -> dict[str, th.Tensor]:
    with th.no_grad(), ActivationRecorder(network.layers) as recorder:
        module(seen)
    return {name.removeprefix("q_net."): values for name, values in recorder.activations().items()}


def test_slices_and_orders():
    def forward(self, x):
        one, two = self.a(x).tanh().chunk(2, dim=1)
        return self.d(th.cat([self.b(one).relu(), x[:, :1], F.gelu(self.c(two)).flip(1)], dim=1))

    parts = {"a": nn.Linear(3, 4), "b": nn.Linear(2, 3), "c": nn.Linear(2, 3), "d": nn.Linear(7, 2)}
    module, network = read(forward, **parts)
    assert map_of(module, network) == {
        "a": [("b", (0, 1)), ("c", (2, 3))],
        "b": [("d", (0, 1))],
        "c": [("d", (2, 1, 0))],
    }
    masks = NeuronMasks([network], sides="outgoing")
    masks.hold(0, {"q_net.a": th.tensor([1.0, 0.0, 1.0, 0.5]), "q_net.c": th.tensor([0.0, 1.0, 1.0])})
    factors = masks.parameter_factors()
    assert factors[module.b.weight][0].tolist() == [1, 0] and factors[module.c.weight][0].tolist() == [1, 0.5]
    assert factors[module.d.weight][0].tolist() == [1, 1, 1, 1, 1, 1, 0]


def test_channels_pooled_grouped_and_permuted():
    def forward(self, x):
        hidden = F.elu(self.b(F.max_pool2d(F.relu(self.a(x)), 2)))
        last, mean = hidden.permute(0, 2, 3, 1).flatten(1), hidden.mean(dim=(2, 3))
        return self.c(last) + self.e(mean)

    parts = {
        "a": nn.Conv2d(1, 3, 3, padding=1),
        "b": nn.Conv2d(3, 3, 1, groups=3),
        "c": nn.Linear(12, 2),
        "e": nn.Linear(3, 2),
    }
    images = th.rand(2, 1, 4, 4)
    module, network = read(forward, images, **parts)
    assert map_of(module, network) == {"a": [("b", "rows", 1)], "b": [("c", (0, 1, 2) * 4), ("e", (0, 1))]}
    assert recorded(module, network, images)["b"].shape == (2, 3)


def test_scales_shifts_and_norms_by_hand_belong_to_their_neurons():
    def forward(self, x):
        hidden = self.a(x)
        hidden = hidden * th.rsqrt(hidden.square().mean(dim=-1, keepdim=True) + 1e-6) * self.scale
        return self.b(F.silu(hidden + self.shift))

    scale, shift = nn.Parameter(th.rand(4)), nn.Parameter(th.rand(4))
    module, network = read(forward, a=nn.Linear(3, 4), b=nn.Linear(4, 1), scale=scale, shift=shift)
    (layer,) = network.layers
    assert [id(p) for p in layer.own] == [id(p) for p in (module.a.weight, module.a.bias, scale, shift)]


def test_a_norm_over_several_layers_reads_each():
    def forward(self, x):
        return self.c(self.norm(th.cat([self.a(x).relu(), self.b(x).relu()], dim=1)))

    module, network = read(forward, a=nn.Linear(3, 2), b=nn.Linear(3, 3), norm=nn.LayerNorm(5), c=nn.Linear(5, 1))
    assert map_of(module, network)["a"] == [("norm", "rows", 1), ("norm.bias", "rows", 1), ("c", (0, 1))]
    masks = NeuronMasks([network], sides="both")
    masks.hold(0, {"q_net.b": th.tensor([0.0, 1.0, 1.0])})
    assert masks.parameter_factors()[module.norm.weight].tolist() == [1, 1, 0, 1, 1]


@pytest.mark.known_answer
def test_activations_of_shared_modules_and_functions_by_hand():
    def forward(self, x):
        first = self.act(self.a(x))
        second = self.b(first)
        second = second * th.sigmoid(second)  # Swish, without a name
        stream = self.act(self.c(second))
        stream += self.d(stream)  # in place
        return self.e(stream)

    parts = {name: nn.Linear(3, 3) for name in "abcde"}
    module, network = read(forward, **parts, act=nn.Tanh())
    first = module.a(SEEN).tanh()
    second = F.silu(module.b(first))
    stream = module.c(second).tanh()
    expected = {"a": first, "b": second, "c": stream, "d": module.d(stream)}
    found = recorded(module, network)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        th.testing.assert_close(found[name], values.detach())


@pytest.mark.known_answer
def test_gradients_reach_recorded_activations():
    def forward(self, x):
        hidden = F.relu(self.a(x))
        hidden += 1.0
        return self.b(hidden)

    module, network = read(forward, a=nn.Linear(3, 4), b=nn.Linear(4, 1))
    with ActivationRecorder(network.layers, keep_graph=True) as recorder:
        out = module(SEEN).sum()
    (hidden,) = recorder.outputs["q_net.a"]
    th.testing.assert_close(hidden, F.relu(module.a(SEEN)))
    th.testing.assert_close(th.autograd.grad(out, hidden)[0], module.b.weight.expand(5, 4).detach())


def test_steps_of_a_sequence_are_averaged():
    sequences = th.rand(2, 6, 3)
    module, network = read(
        lambda self, x: self.b(F.relu(self.a(x)).mean(dim=1)), sequences, a=nn.Linear(3, 4), b=nn.Linear(4, 1)
    )
    assert map_of(module, network) == {"a": [("b", (0, 1))]}
    found = recorded(module, network, sequences)["a"]
    th.testing.assert_close(found, F.relu(module.a(sequences)).mean(dim=1).detach())


ACTIVATIONS = [
    "ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid",
    "Softplus", "Softsign", "Tanhshrink", "Softshrink", "Hardshrink", "Hardtanh", "Hardsigmoid", "Hardswish", "LogSigmoid",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_elementwise_activation(name):
    activation = getattr(nn, name)()
    chain = nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 2))
    (layer,) = network_of(chain, SEEN).layers
    assert layer.activation is activation and layer.is_plain and [r.parameter for r in layer.readers] == [chain[2].weight]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_known_also_where_torch_tags_none(name, monkeypatch):
    """Versions of torch differ in which operations they tag as elementwise."""
    monkeypatch.setattr(flows.Operations, "are_elementwise", False)
    test_every_elementwise_activation(name)


def chain_of(forward, **parts):
    return read(forward, **parts)[1]


NO_CHAINS = {
    "skip": lambda: chain_of(
        lambda self, x: self.c(self.r2(self.b(h := self.r1(self.a(x)))) + h),
        a=nn.Linear(3, 3), b=nn.Linear(3, 3), c=nn.Linear(3, 1), r1=nn.ReLU(), r2=nn.ReLU(),
    ),
    "read twice": lambda: chain_of(
        lambda self, x: self.d(self.r3(self.c(self.r2(self.b(h := self.r1(self.a(x)))))) + self.e(h)),
        a=nn.Linear(3, 3), b=nn.Linear(3, 3), c=nn.Linear(3, 3), d=nn.Linear(3, 1), e=nn.Linear(3, 3),
        r1=nn.ReLU(), r2=nn.ReLU(), r3=nn.ReLU(),
    ),
    "norm without parameters": lambda: chain_of(
        lambda self, x: self.b(self.r(F.layer_norm(self.a(x), (3,)))), a=nn.Linear(3, 3), b=nn.Linear(3, 1), r=nn.ReLU()
    ),
    "scaled after": lambda: chain_of(
        lambda self, x: self.b(2 * self.r(self.a(x))), a=nn.Linear(3, 3), b=nn.Linear(3, 1), r=nn.ReLU()
    ),
    "linear neurons": lambda: chain_of(lambda self, x: self.b(self.a(x)), a=nn.Linear(3, 3), b=nn.Linear(3, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_CHAINS)
def test_what_is_no_plain_chain_gets_no_gates(name):
    with pytest.raises(ValueError, match="task_gates=True needs networks of linear layers with biases and ReLU"):
        check_chain(NO_CHAINS[name]())


def test_a_plain_chain_may_have_gates():
    parts = {"a": nn.Linear(3, 3), "b": nn.Linear(3, 3), "c": nn.Linear(3, 1), "r1": nn.ReLU(), "r2": nn.ReLU()}
    check_chain(chain_of(lambda self, x: self.c(self.r2(self.b(self.r1(self.a(x))))), **parts))


SPACES = {
    "discrete": spaces.Discrete(4),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "unbounded": spaces.Box(-np.inf, np.inf, (2, 2)),
    "dict": spaces.Dict({"one": spaces.Discrete(2), "two": spaces.MultiDiscrete([2, 2]), "three": VECTOR}),
}


@pytest.mark.parametrize("actions", [*list(SPACES)[:3], "box"])
@pytest.mark.parametrize("name", SPACES)
def test_every_space(name, actions):
    env = AnyActionEnv(SPACES.get(actions, spaces.Box(-1.0, 1.0, (2,))), SPACES[name])
    policy = PPO("MultiInputPolicy" if name == "dict" else "MlpPolicy", env, policy_kwargs={"net_arch": [4]}).policy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {network.name: [layer.name for layer in network.layers] for network in find_networks(policy)}
    assert found == {"policy": ["mlp_extractor.policy_net.0"], "value": ["mlp_extractor.value_net.0"]}


def test_the_pass_leaves_no_trace():
    kwargs = {"activation_fn": lambda: nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5)), "net_arch": [4]}
    policy = PPO("MlpPolicy", ToyEnv(VECTOR), policy_kwargs=kwargs, use_sde=True, seed=0).policy
    policy.set_training_mode(True)
    policy.mlp_extractor.value_net.train(False)
    modes = [module.training for module in policy.modules()]
    policy.observation_space.seed(3)
    state = {name: value.clone() for name, value in policy.state_dict().items()}
    before = th.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    noise, inside = vars(policy.action_dist).copy(), policy.observation_space.np_random.bit_generator.state
    calls = []
    policy.action_net.register_forward_hook(lambda *_: calls.append(1))
    networks = find_networks(policy)
    assert [len(network.layers) for network in networks] == [1, 1] and not calls
    assert [module.training for module in policy.modules()] == modes
    assert all(th.equal(value, state[name]) for name, value in policy.state_dict().items())
    assert th.equal(th.get_rng_state(), before[0]) and random.getstate() == before[2]
    assert np.random.get_state()[1].tolist() == before[1]
    assert vars(policy.action_dist) == noise and policy.observation_space.np_random.bit_generator.state == inside
    assert all(p.grad is None for p in policy.parameters()) and th.is_grad_enabled()
    assert not any(module._forward_pre_hooks for module in policy.modules())
    policy.action_net(th.rand(2, 4))
    assert calls == [1]


def test_it_reads_compiled_parts_and_while_others_record():
    model = SAC("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [4]}, seed=0)
    names = [layer.name for network in find_networks(model.policy) for layer in network.layers]
    model.policy.actor.latent_pi = th.compile(model.policy.actor.latent_pi)
    layers = [layer for network in find_networks(model.policy) for layer in network.layers]
    assert [layer.name for layer in layers] == names
    with ActivationRecorder(layers) as recorder, th.no_grad():
        find_networks(model.policy)
    assert recorder.activations() == {}
