"""What is written into a part of a tensor, and what is summed over a stack, keeps its neurons; or it is told."""

import pytest
import torch as th
from test_forward_graph import SEEN, map_of, read, recorded
from torch import nn
from torch.nn import functional as F

from sb3_nbsp.neurons.forward_graph import ForwardGraph
from sb3_nbsp.neurons.names import parameter_names


def added_to_a_slice(self, x):
    hidden = F.relu(self.a(x))
    hidden[:, :4] += F.relu(self.b(hidden))
    return self.c(hidden)


def copied_over(self, x):
    hidden = F.relu(self.a(x))
    hidden[:, :4].copy_(F.relu(self.b(hidden)))
    return self.c(hidden)


def into_a_buffer(self, x):
    hidden = F.relu(self.a(x))
    buffer = th.zeros(len(x), 10)
    early = buffer[:, 6:]  # a view that is older than what it holds
    buffer[:, :6] = hidden
    buffer[:, 6:] = F.relu(self.b(hidden))
    return self.c(th.cat([buffer[:, :6], early], dim=1))


def step_by_step(self, x):
    outs = th.zeros(len(x), 2, 6)
    outs[:, 0] = F.relu(self.a(x))
    outs[:, 1, :4] = F.relu(self.b(outs[:, 0]))
    return self.c(outs.flatten(1))


WRITES = {
    "added": (added_to_a_slice, 6, {"a": [("b", (0, 1)), ("c", (0, 1))], "b": [("c", (0, 1))]}),
    "copied": (copied_over, 6, {"a": [("b", (0, 1)), ("c", (4, 5))], "b": [("c", (0, 1))]}),
    "buffer": (into_a_buffer, 10, {"a": [("b", (0, 1)), ("c", (0, 1))], "b": [("c", (6, 1))]}),
    "steps": (step_by_step, 12, {"a": [("b", (0, 1)), ("c", (0, 1))], "b": [("c", (6, 1))]}),
}


@pytest.mark.known_answer
@pytest.mark.parametrize("name", WRITES)
def test_writes(name):
    forward, width, expected = WRITES[name]
    module, network = read(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 4), c=nn.Linear(width, 1))
    assert map_of(module, network) == expected
    found = recorded(module, network)
    first = F.relu(module.a(SEEN))
    th.testing.assert_close(found["a"], first.detach())
    th.testing.assert_close(found["b"], F.relu(module.b(first)).detach())


def reads_unclearly(forward, **parts):
    module, _ = read(forward, **parts)
    graph = ForwardGraph(module, parameter_names(module))
    with th.no_grad(), graph:
        module(SEEN)
    return module.o.weight in graph.readings.unclear


def test_a_write_that_is_not_understood_is_told():
    def forward(self, x):
        hidden = F.relu(self.a(x))
        hidden[:, :4].cumsum_(dim=1)
        return self.o(hidden)

    assert reads_unclearly(forward, a=nn.Linear(3, 6), o=nn.Linear(6, 1))


@pytest.mark.parametrize("how", ["sum", "mean", "amax"])
def test_a_sum_over_a_stack_has_summands(how):
    def forward(self, x):
        one, other = F.relu(self.a(x)), F.relu(self.b(x))
        return self.o(getattr(th.stack([one, th.cat([one[:, :4], other], dim=1)]), how)(dim=0))

    module, network = read(forward, a=nn.Linear(3, 6), b=nn.Linear(3, 2), o=nn.Linear(6, 1))
    found = map_of(module, network)
    assert ("o", (0, 1)) in found["a"] and found["b"] == [("o", (4, 1))]


def test_a_mean_over_neurons_is_told():
    parts = {"a": nn.Linear(3, 6), "o": nn.Linear(1, 1)}
    assert reads_unclearly(lambda self, x: self.o(F.relu(self.a(x)).mean(dim=1, keepdim=True)), **parts)


PIXELS = {
    "mean with axis": (lambda self, h: h.mean(axis=(2, 3)), 3, (0, 1)),
    "values of a maximum": (lambda self, h: h.flatten(2).max(-1).values, 3, (0, 1)),
    "spread": (lambda self, h: h.std(dim=(2, 3)), 3, (0, 1)),
    "shuffled": (lambda self, h: F.pixel_unshuffle(h, 2).flatten(1), 12, (0, 4)),
    "padded with reflections": (lambda self, h: F.pad(h, (1, 1, 1, 1), mode="reflect").flatten(1), 48, (0, 16)),
    "more channels": (lambda self, h: F.pad(h, (0, 0, 0, 0, 1, 1)).flatten(1), 20, (4, 4)),
}


@pytest.mark.known_answer
@pytest.mark.parametrize("name", PIXELS)
def test_what_is_done_to_channels(name):
    after, width, places = PIXELS[name]
    parts = {"a": nn.Conv2d(1, 3, 1), "o": nn.Linear(width, 1)}
    module, network = read(lambda self, x: self.o(after(self, F.relu(self.a(x)))), th.rand(2, 1, 2, 2), **parts)
    assert map_of(module, network) == {"a": [("o", places)]}


def test_glu_along_another_dimension():
    def forward(self, x):
        return self.o(F.glu(F.relu(self.a(x)).transpose(0, 1), dim=0).transpose(0, 1))

    module, network = read(forward, a=nn.Linear(3, 4), o=nn.Linear(2, 1))
    assert map_of(module, network) == {"a": [("o", (0, 1)), ("o", (2, 3))]}
