"""The example in the docstring of ``sb3_nbsp/protection/gates.py``: two layers of four neurons at the end of a task."""

import pytest
import torch as th
from torch import nn

from sb3_nbsp.neurons import Network, NeuronLayer, SkillNeurons
from sb3_nbsp.neurons.networks import Reader
from sb3_nbsp.neurons.skill_neurons import LayerSkill
from sb3_nbsp.protection import TaskGates
from sb3_nbsp.protection.ownership import FREE, gate_code, is_free, is_gate

pytestmark = pytest.mark.known_answer
A, B, GATE_OF_A = 0, 1, -2


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.weight.data, layer.bias.data = th.tensor(weight, dtype=th.float32), th.tensor(bias, dtype=th.float32)
    return layer


def observations(task: int) -> th.Tensor:
    """[x, id of A, id of B], x = 0 to 3"""
    return th.tensor([[float(x), float(task == A), float(task == B)] for x in range(4)])


class Example:
    def __init__(self) -> None:
        th.manual_seed(0)
        self.lower = linear([[1, 0, 0], [-1, 0, 0], [0, 0, 0], [2, 0, 0]], [0, 0, -1, 1.0])
        self.upper = linear([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], [0.5, 0, -1, 0])
        self.output = linear([[1, 1, 0, 1]], [0.0])
        parts = [("lower", self.lower, self.upper), ("upper", self.upper, self.output)]
        self.layers = [
            NeuronLayer(name, nn.ReLU(), 4, [own.weight, own.bias], [Reader(above.weight, 1, 0, 1)])
            for name, own, above in parts
        ]
        self.gates = TaskGates([Network("example", "actor", self.layers, [self.output.bias])])

    def activations(self, task: int) -> dict[str, th.Tensor]:
        lower = self.lower(observations(task)).relu()
        return {"lower": lower.detach(), "upper": self.upper(lower).relu().detach()}

    def outputs(self, task: int) -> list[float]:
        return self.output(self.activations(task)["upper"]).flatten().tolist()

    def end_task_a(self) -> None:
        chosen = {name: LayerSkill("example", [1.0, 0.5, 0.5, 0.5], [1.0] * 4, [0]) for name in ("lower", "upper")}
        skill = SkillNeurons("A", "published", "reward", 0.5, 4, chosen)
        self.gates.claim(0, skill, self.activations(A), id_columns=[1, 2], own=1)


@pytest.mark.filterwarnings("ignore:After A")
def test_the_example_in_the_docstring():
    example = Example()
    before = example.outputs(A)
    assert before == [1.5, 5.5, 9.5, 13.5] and float(example.activations(A)["upper"].max()) == 7.0
    example.end_task_a()
    owners = [example.gates.owner(layer).tolist() for layer in example.layers]
    assert owners == [[0, GATE_OF_A, FREE, FREE], [0, FREE, GATE_OF_A, FREE]]

    lower, upper, output = example.lower, example.upper, example.output
    assert lower.weight[:2].tolist() == [[1, 0, -700], [0, 1, 0]] and lower.bias[:2].tolist() == [0, 0]
    assert lower.weight[2:, 1].tolist() == [-700, -700]
    assert upper.weight[[0, 2]].tolist() == [[1, 0.5, 0, 0], [0, 1, 0, 0]] and upper.bias[[0, 2]].tolist() == [0, 0]
    assert upper.weight[[1, 3], 1].tolist() == [-700, -700] and upper.weight[[1, 3], 0].tolist() == [0, 0]
    th.testing.assert_close(output.weight, th.tensor([[4, 0, -0.5, 0]]), rtol=0, atol=2e-3)  # the ridge

    assert example.outputs(A) == pytest.approx(before, abs=2e-3)
    on_b = example.activations(B)
    assert not on_b["lower"][:, [0, 1]].any() and not on_b["upper"][:, [0, 2]].any()


def test_the_books_codes():
    owner = th.tensor([FREE, 0, gate_code(0), 3, gate_code(3)])
    assert owner.tolist() == [-1, 0, -2, 3, -5]
    assert is_free(owner).tolist() == [True, False, False, False, False]
    assert is_gate(owner).tolist() == [False, False, True, False, True]
    assert is_gate(owner, 3).tolist() == [False, False, False, False, True]
