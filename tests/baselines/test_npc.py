"""NPC against numbers that were computed by hand."""

import math
from functools import partial
from typing import Any

import pytest
import torch as th
from helpers import copied, same, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from test_baselines import STEPS, discrete_env, nbspsac, sac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import NPC
from sb3_nbsp.baselines.npc import importance, rates
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.neurons.layers import NeuronLayer


@pytest.mark.known_answer
def test_importance_by_hand():
    activations, gradients = th.tensor([[1.0, 2.0, 0.0], [3.0, 1.0, 5.0]]), th.tensor([[-2.0, 1.0, 9.0], [-2.0, 2.0, 0.0]])
    # Products -2, -6; 2, 2; 0, 0: sizes of the means 4, 2, 0, of which the mean square is 20 / 3.
    scale = math.sqrt(20 / 3)
    assert importance(activations * gradients).tolist() == pytest.approx([4 / scale, 2 / scale, 0.0])
    # Products 6, -2 and 1, 1: what a batch's rows ask for in opposite directions takes itself away, 2 and 1 are left.
    mixed = importance(th.tensor([[6.0, 1.0], [-2.0, 1.0]]))
    assert mixed.tolist() == pytest.approx([2 / math.sqrt(2.5), 1 / math.sqrt(2.5)])
    assert importance(th.zeros(2, 3)).tolist() == [0.0, 0.0, 0.0]
    pixels = th.tensor([[[1.0, 3.0], [2.0, 2.0]]])  # a channel counts with the mean over its pixels: 2 and 2
    layer = NeuronLayer("conv", th.nn.Identity(), 2, [])
    assert importance(layer.per_neuron(pixels)).tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.known_answer
def test_rates_by_hand():
    assert rates(th.tensor([0.0, 0.25, 1.0, 4.0]), 0.25).tolist() == pytest.approx([1.0, 1.0, 0.5, 0.25])


@pytest.mark.known_answer
def test_a_step_moves_each_neuron_by_its_rate():
    """One layer, plain gradient descent: the change of each row is its rate's share of what it would be."""
    layer, head = th.nn.Linear(2, 2), th.nn.Linear(2, 1, bias=False)
    with th.no_grad():
        layer.weight.copy_(th.tensor([[1.0, 0.0], [0.0, 2.0]]))
        layer.bias.zero_()
        head.weight.copy_(th.tensor([[3.0, 1.0]]))
    relu = th.nn.ReLU()
    neurons = NeuronLayer("layer", relu, 2, [layer.weight, layer.bias])
    callback = NPC(strength=0.5, decay=0.0)
    callback.state = {"importances": {"layer": th.zeros(2)}}
    relu.register_forward_hook(LayerWatch(partial(callback._note, neurons)))
    optimizer = th.optim.SGD([*layer.parameters(), *head.parameters()], lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: callback._before_step([neurons]))
    optimizer.register_step_post_hook(lambda *_: callback._after_step([neurons]))
    head(relu(layer(th.tensor([[1.0, 1.0]])))).mean().backward()
    optimizer.step()
    # Activations 1 and 2, their gradients 3 and 1: importances 3 and 2 over sqrt(13 / 2).
    scale = math.sqrt(13 / 2)
    one, two = math.sqrt(0.5 * scale / 3), math.sqrt(0.5 * scale / 2)
    assert callback.state["importances"]["layer"].tolist() == pytest.approx([3 / scale, 2 / scale])
    assert layer.bias.tolist() == pytest.approx([-0.1 * 3 * one, -0.1 * 1 * two])
    assert layer.weight[0].tolist() == pytest.approx([1 - 0.1 * 3 * one, -0.1 * 3 * one])
    assert head.weight[0].tolist() == pytest.approx([3 - 0.1, 1 - 0.2])  # has no neurons: full rate


@pytest.mark.known_answer
def test_the_newest_gradient_counts_and_only_once():
    """Of SAC's critic: the actor's loss goes through it, too, before its own; a step without a new gradient adds nothing."""
    layer = NeuronLayer("layer", th.nn.ReLU(), 2, [])
    callback = NPC(decay=0.5)
    callback.state = {"importances": {"layer": th.zeros(2)}}
    for gradient in ([5.0, 0.0], [0.0, 3.0]):
        callback._note(layer, th.ones(1, 2), th.tensor([gradient]))
    for _ in range(2):
        callback._before_step([layer])
        assert callback.state["importances"]["layer"].tolist() == pytest.approx([0.0, 0.5 * math.sqrt(2)])


@pytest.mark.parametrize("cls", [SAC, NBSPSAC, PPO, DQN])
def test_every_hidden_layer_gets_importances_and_moves_less(cls):
    def model() -> Any:
        env = discrete_env() if cls is DQN else sequence_env(steps=STEPS)
        small = {"n_steps": 20, "batch_size": 10} if cls is PPO else {"learning_starts": 10, "batch_size": 16}
        return cls("MlpPolicy", env, policy_kwargs={"net_arch": [8, 8]}, seed=1, **small)

    with_it, callback = model(), NPC(strength=0.01, decay=0.5)
    start = copied(dict(with_it.policy.named_parameters()))
    with_it.learn(2 * STEPS, callback=callback)
    assert all(bool((c > 0).any()) for c in callback.state["importances"].values())
    without = model().learn(2 * STEPS)
    moved = [
        sum(float((p - start[name]).detach().abs().sum()) for name, p in m.policy.named_parameters() if "target" not in name)
        for m in (with_it, without)
    ]
    assert moved[0] < 0.7 * moved[1]


def test_a_strength_that_reaches_no_neuron_changes_nothing():
    states = [sac().learn(2 * STEPS, callback=c).policy.state_dict() for c in (None, NPC(strength=1e6))]
    assert all(th.allclose(states[0][name], states[1][name], atol=1e-6) for name in states[0])


def test_importances_go_with_the_model(tmp_path):
    model, callback = nbspsac(), NPC()
    model.learn(STEPS, callback=callback)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model")
    assert same(loaded.baseline_states["NPC"]["importances"], callback.state["importances"])


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"decay": 1.0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        NPC(**wrong)
