"""Functions on several paths from one layer, and neurons that nothing reads. The answers are computed by hand."""

import warnings

import pytest
import torch as th
from helpers.one_network import network_of
from test_forward_graph import Written
from test_where_activations_stand import STEPS, T, linear, run, steps_of
from torch import nn
from torch.nn import functional as F

from sb3_nbsp.baselines import CReLU
from sb3_nbsp.neurons.scoring import score_networks
from sb3_nbsp.probe.silencing import silenced


class Signs(nn.Module):
    def forward(self, x):
        return th.cat([F.relu(x), F.relu(-x)], dim=-1)


SIDE_BY_SIDE = {
    "both signs": (lambda self, h: th.cat([F.relu(h), F.relu(-h)], dim=1), 8, lambda h: h.abs() / 2),
    "both signs, of a module": (lambda self, h: self.signs(h), 8, lambda h: h.abs() / 2),
    "slices": (
        lambda self, h: th.cat([F.relu(h)[:, :2], th.tanh(h)[:, 2:]], dim=1),
        4,
        lambda h: th.cat([F.relu(h)[:, :2], th.tanh(h)[:, 2:]], dim=1),
    ),
    "sine and cosine": (lambda self, h: th.cat([h.sin(), h.cos()], dim=1), 8, lambda h: (h.sin() + h.cos()) / 2),
    "also as it is": (lambda self, h: th.cat([h, F.relu(h)], dim=1), 8, lambda h: (h + F.relu(h)) / 2),
    "times a module's": (lambda self, h: h * self.gate(h), 4, F.silu),
}


@pytest.mark.known_answer
@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_functions_that_come_together_are_recorded_there(name):
    functions, width, by_hand = SIDE_BY_SIDE[name]
    parts = {"a": linear(6, 4), "o": linear(width, 1), "signs": Signs, "gate": nn.Sigmoid}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module, network, found, _ = run(lambda self, x: self.o(functions(self, self.a(x))), **parts)
    th.testing.assert_close(found["a"], by_hand(module.a(STEPS)).detach())
    (layer,) = network.layers
    mask = th.tensor([False, True, False, False])
    with th.no_grad(), silenced([layer], {layer.name: mask}):
        without = module(STEPS)
    for reader in layer.readers:
        reader.parameter.data.index_fill_(reader.dim, reader.indices(th.tensor([1])), 0.0)
    th.testing.assert_close(module(STEPS), without)


APART = {
    "as it is": lambda self, h: self.o(F.relu(h)) + self.p(h),
    "as it is, read first": lambda self, h: self.p(h) + self.o(F.relu(h)),
    "two functions": lambda self, h: self.o(F.relu(h)) + self.p(h.tanh()),
}


@pytest.mark.known_answer
@pytest.mark.parametrize("name", APART)
def test_functions_that_are_read_apart_are_told_and_no_neuron_counts_as_silent(name):
    with pytest.warns(UserWarning, match=r"activations of q_net\.a are recorded before the activation function"):
        module, network, found, _ = run(
            lambda self, x: APART[name](self, self.a(x)), a=linear(6, 4), o=linear(4, 1), p=linear(4, 1)
        )
    th.testing.assert_close(found["a"], module.a(STEPS).detach())
    assert not network.layers[0].is_plain


def test_one_function_that_is_written_twice_is_one():
    def forward(self, x):
        h = self.a(x)
        return self.o(F.relu(h)) + self.p(F.relu(h))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module, network, found, _ = run(forward, a=linear(6, 4), o=linear(4, 1), p=linear(4, 1))
    th.testing.assert_close(found["a"], F.relu(module.a(STEPS)).detach())
    assert network.layers[0].is_plain


def two_calls(self, x):
    one, other = self.a(x[:, :3]), self.a(x[:, 3:])
    return self.o(th.cat([F.relu(one), F.relu(other)], dim=1))


@pytest.mark.known_answer
def test_a_function_of_an_earlier_call_is_recorded_where_both_come_together():
    module, _, found, _ = run(two_calls, a=linear(3, 4), o=linear(8, 1))
    expected = (F.relu(module.a(STEPS[:, :3])) + F.relu(module.a(STEPS[:, 3:]))) / 2
    th.testing.assert_close(found["a"], expected.detach())


def recurrent(self, x):
    state = th.zeros(len(x), 4)
    for i in (0, 2, 4):
        state = th.tanh(self.u(state) + self.a(x[:, i : i + 2]))
    return self.o(state)


@pytest.mark.known_answer
def test_a_recurrent_net_is_no_stream():
    module, _, found, _ = run(recurrent, a=linear(2, 4), u=linear(4, 4), o=linear(4, 1))
    states = [th.zeros(T, 4)]
    for i in (0, 2, 4):
        states.append(th.tanh(module.u(states[-1]) + module.a(STEPS[:, i : i + 2])))
    for name in "au":
        th.testing.assert_close(found[name], (sum(states[1:]) / 3).detach())


@pytest.mark.known_answer
@pytest.mark.parametrize("result", ["used", "not used"])
def test_an_activation_in_place_is_silenced(result):
    def forward(self, x):
        hidden = self.a(x)
        after = hidden.relu_()
        return self.o(after if result == "used" else hidden)

    module, network, _, _ = run(forward, a=linear(6, 4), o=linear(4, 1))
    mask = th.tensor([False, True, False, False])
    with th.no_grad(), silenced(network.layers, {"q_net.a": mask}):
        without = module(STEPS)
    th.testing.assert_close(without, module.o(F.relu(module.a(STEPS)) * ~mask).detach())


# What nothing reads

UNREAD = {
    "half": (lambda self, x: self.o(F.relu(self.a(x))[:, :4]), 4),
    "CReLU": (lambda self, x: self.o(self.crelu(self.a(x))), 8),
}


@pytest.mark.parametrize("score", ["corrected", "activity"])
@pytest.mark.parametrize("name", UNREAD)
def test_neurons_that_nothing_reads_are_not_chosen(name, score):
    forward, width = UNREAD[name]
    module = Written(forward, a=nn.Linear(6, 8), o=nn.Linear(width, 1), crelu=CReLU())
    network = network_of(module, STEPS)
    assert network.layers[0].is_read.tolist() == [True] * 4 + [False] * 4

    def loss(steps, rows, recorder):
        with recorder:
            return module(STEPS[rows]).mean()

    skill = score_networks([network], steps_of(STEPS), {"critic": loss}, "task", score, "auto", 0.5, "all")
    chosen = skill.layers["q_net.a"].chosen
    assert len(chosen) == 2 and set(chosen) <= set(range(4))  # half of the four that are read


@pytest.mark.parametrize("kind", ["gated cell", "mixed"])
def test_what_may_be_read_counts_as_read(kind):
    def forward(self, x):
        hidden = F.relu(self.a(x))
        other = self.cell(hidden) if kind == "gated cell" else hidden.cumsum(dim=1)
        return self.o(hidden[:, :2]) + self.p(other)

    parts = {"a": nn.Linear(6, 4), "o": nn.Linear(2, 1), "p": nn.Linear(4, 1), "cell": nn.GRUCell(4, 4)}
    with pytest.warns(UserWarning, match="Parts of this policy"):
        network = network_of(Written(forward, **parts), STEPS)
    assert network.layers[0].is_read.all()
