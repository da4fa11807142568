"""Continual backprop against numbers that were computed by hand."""

from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch as th
from helpers import same, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from test_baselines import STEPS, discrete_env, nbspsac, sac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import ContinualBackprop
from sb3_nbsp.baselines.continual_backprop import outgoing
from sb3_nbsp.baselines.parameters import optimizers
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.neurons import find_networks
from sb3_nbsp.neurons.layers import NeuronLayer, Reader


def layer_of_three(weights: list[list[float]]) -> NeuronLayer:
    """Three neurons, read by the columns of a weight."""
    reader = Reader(th.nn.Parameter(th.tensor(weights)), dim=1, start=0, span=1)
    return NeuronLayer("layer", th.nn.ReLU(), 3, [th.nn.Parameter(th.zeros(3, 2))], [reader])


@pytest.mark.known_answer
def test_utilities_ages_and_what_is_due_by_hand():
    layer = layer_of_three([[1.0, -2.0, 0.5], [-1.0, 1.0, 0.0]])
    assert outgoing(layer).tolist() == [2.0, 3.0, 0.5]
    callback = ContinualBackprop(replacement_rate=0.5, maturity=1, decay=0.75)
    zeros = {"layer": th.zeros(3)}
    callback.state = {"utilities": deepcopy(zeros), "ages": deepcopy(zeros), "due": {"layer": 0.0}, "replaced": 0}

    callback._activations["layer"] = th.tensor([1.0, 2.0, 8.0])
    assert callback._due(layer).tolist() == []  # age 1 is not older than 1
    assert callback.state["utilities"]["layer"].tolist() == [0.5, 1.5, 1.0]  # a quarter of 2, 6, 4
    callback.state["ages"]["layer"][1] = 0.0  # one of the neurons is younger than the others

    callback._activations["layer"] = th.tensor([4.0, 0.0, 0.0])
    # Utilities 0.375 + 2, 1.125, 0.75; the young one is not due, so that 0.5 * 2 = 1 neuron is: the smallest of the others.
    assert callback._due(layer).tolist() == [2]
    assert callback.state["utilities"]["layer"].tolist() == [2.375, 1.125, 0.0]
    assert callback.state["ages"]["layer"].tolist() == [2.0, 1.0, 0.0]
    assert callback.state["due"]["layer"] == 0.0


@pytest.mark.known_answer
def test_what_is_due_adds_up_until_it_is_a_whole_neuron():
    """Three neurons at a rate of 0.25: 0.75, then 1.5 of which 0.5 is left; then two are mature, which makes it 1."""
    layer = layer_of_three([[1.0, 2.0, 3.0]])
    callback = ContinualBackprop(replacement_rate=0.25, maturity=1, decay=0.5)
    callback.state = {"utilities": {"layer": th.zeros(3)}, "ages": {"layer": th.full((3,), 5.0)}, "due": {"layer": 0.0}}
    for replaced, left in (([], 0.75), ([0], 0.5), ([1], 0.0)):
        callback._activations["layer"] = th.ones(3)
        assert callback._due(layer).tolist() == replaced
        assert callback.state["due"]["layer"] == left


@pytest.mark.known_answer
@pytest.mark.parametrize(("other", "replaced"), [(0.7, 1), (0.9, 0)])
def test_a_utility_is_corrected_for_its_age(other: float, replaced: int):
    """0.3 after 2 steps of decay 0.5 stands for 0.4, 0.35 and 0.45 after 10 for themselves: the smallest is replaced."""
    layer = layer_of_three([[1.0, 1.0, 1.0]])
    callback = ContinualBackprop(replacement_rate=1 / 3, maturity=1, decay=0.5)
    utilities, ages = th.tensor([0.6, other, 9.0]), th.tensor([1.0, 9.0, 9.0])
    callback.state = {"utilities": {"layer": utilities}, "ages": {"layer": ages}, "due": {"layer": 0.0}}
    callback._activations["layer"] = th.zeros(3)
    assert callback._due(layer).tolist() == [replaced]


def test_readers_of_every_kind_are_summed():
    weight = th.nn.Parameter(th.arange(12.0).reshape(2, 6))
    spans = layer_of_three([[0.0] * 3])
    spans.readers = [Reader(weight, dim=1, start=0, span=2), Reader(weight, dim=1, start=1, span=0, neurons=(2, -1, 0))]
    # Columns sum to 6, 8, 10, 12, 14, 16; the second reader reads neuron 2 at column 1 and neuron 0 at column 3.
    assert outgoing(spans).tolist() == [14.0 + 12.0, 22.0, 30.0 + 8.0]


@pytest.mark.known_answer
def test_activations_count_by_their_size_and_only_where_they_are_learned_from():
    layer = NeuronLayer("layer", th.nn.Identity(), 2, [])
    callback = ContinualBackprop()
    layer.activation.register_forward_hook(LayerWatch(partial(callback._note, layer)))
    weight = th.ones(2, requires_grad=True)
    layer.activation(weight * th.tensor([[-3.0, 2.0], [1.0, 4.0]])).sum().backward()
    assert callback._activations["layer"].tolist() == [2.0, 3.0]
    with th.no_grad():  # acting, and targets
        layer.activation(weight * th.full((5, 2), 100.0))
    assert callback._activations["layer"].tolist() == [2.0, 3.0]


def test_right_after_a_gradient_step_a_new_neuron_is_as_it_was_drawn(monkeypatch):
    """7 where anything is drawn anew: incoming weights are 7, outgoing 0, moments of both 0, also when the step is over."""
    drawn = "sb3_nbsp.baselines.continual_backprop.fresh_parameters"
    monkeypatch.setattr(drawn, lambda model: {n: th.full_like(p, 7.0) for n, p in model.policy.named_parameters()})

    class AtNextStep(ContinualBackprop):
        def _due(self, layer: NeuronLayer) -> th.Tensor:
            neurons = super()._due(layer)
            new[layer.name] = (layer, neurons)
            return neurons

        def _on_step(self) -> bool:
            for layer, neurons in new.values():
                incoming = [(p, neurons) for p in layer.own]
                outgoing_ = [(reader.parameter, (slice(None), neurons)) for reader in layer.readers]
                feeds.update(value for p, index in incoming for value in p[index].flatten().tolist())
                reads.update(value for p, index in outgoing_ for value in p[index].flatten().tolist())
                for p, index in incoming + outgoing_:
                    moments = next(o.state[p] for o in optimizers(self.model) if p in o.state)
                    known.update(
                        moments["exp_avg"][index].flatten().tolist() + moments["exp_avg_sq"][index].flatten().tolist()
                    )
                counts.append(len(neurons))
            new.clear()
            return super()._on_step()

    new: dict[str, tuple[NeuronLayer, th.Tensor]] = {}
    feeds, reads, known, counts = set(), set(), set(), []
    AtNextStep.__name__ = "ContinualBackprop"
    sac(policy_kwargs={"net_arch": [8]}).learn(STEPS + 10, callback=AtNextStep(replacement_rate=0.1, maturity=3))
    assert sum(counts) > 6 and feeds == {7.0} and reads == known == {0.0}


class Watched(ContinualBackprop):
    """Notes what is replaced, and the parameters right after it."""

    def _after_step(self, layers: list[NeuronLayer], *more: Any) -> None:
        ages = {layer.name: self.state["ages"][layer.name].clone() for layer in layers}
        super()._after_step(layers, *more)
        self.replaced = getattr(self, "replaced", [])
        new = {layer: ((self.state["ages"][layer.name] == 0) & (ages[layer.name] > 0)).nonzero()[:, 0] for layer in layers}
        drawn = {layer.own[0]: neurons for layer, neurons in new.items()}
        for layer, neurons in new.items():
            reader = layer.readers[0].parameter.detach().clone()
            reader[drawn.get(layer.readers[0].parameter, [])] = 0.0  # readers that are new themselves read everything
            if len(neurons):
                self.replaced.append((layer.name, neurons.tolist(), bool((reader[:, neurons] == 0).all())))


@pytest.mark.parametrize("cls", [SAC, NBSPSAC, PPO, DQN])
def test_neurons_are_replaced_and_what_reads_them_is_0(cls):
    env = discrete_env() if cls is DQN else sequence_env(steps=STEPS)
    small = {"n_steps": 20, "batch_size": 10} if cls is PPO else {"learning_starts": 10, "batch_size": 16}
    if cls is DQN:
        small["train_freq"] = 1
    model = cls("MlpPolicy", env, policy_kwargs={"net_arch": [8, 8]}, seed=1, **small)
    callback = Watched(replacement_rate=0.05, maturity=5)
    model.learn(2 * STEPS, callback=callback)
    assert callback.replaced and all(silent for _, _, silent in callback.replaced)
    hidden = [layer.name for network in find_networks(model.policy) for layer in network.layers]
    assert {name for name, _, _ in callback.replaced} == set(hidden)  # of every network
    assert callback.state["replaced"] == sum(len(neurons) for _, neurons, _ in callback.replaced)


def test_before_they_are_mature_nothing_is_replaced():
    states = [sac().learn(2 * STEPS, callback=c).policy.state_dict() for c in (None, ContinualBackprop())]
    assert same(*states)


def test_ages_count_gradient_steps_and_go_on_after_loading(tmp_path):
    model, callback = nbspsac(), ContinualBackprop()
    model.learn(STEPS, callback=callback)
    n = model._n_updates
    assert all(bool((ages == n).all()) for ages in callback.state["ages"].values())
    model.save(tmp_path / "model")
    loaded, again = NBSPSAC.load(tmp_path / "model", env=sequence_env(steps=STEPS)), ContinualBackprop()
    assert same(loaded.baseline_states["ContinualBackprop"]["utilities"], callback.state["utilities"])
    loaded.learn(STEPS, callback=again, reset_num_timesteps=False)
    assert all(bool((ages == loaded._n_updates).all()) for ages in again.state["ages"].values())


@pytest.mark.parametrize("wrong", [{"replacement_rate": 2.0}, {"maturity": 0}, {"decay": 1.0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        ContinualBackprop(**wrong)
