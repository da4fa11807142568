"""Cloning of skill neurons: their activations on old observations are held, and no others."""

import numpy as np
import pytest
import torch as th
from helpers import CHANNEL_FIRST_IMAGE
from helpers.cases import DQN_CASE, QRDQN_CASE, SAC_CASE, TQC_CASE, off_policy_cases, on_cases
from torch import nn

from sb3_nbsp.common.cloned_neurons import acting_layers, mean_square

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:.*of the neurons chosen")

NEURONS = {"rehearsal": "clone", "clone_target": "skill_neurons", "score": "activity", "memory_size": 20}


def hidden(model, observations) -> th.Tensor:
    """What the two hidden layers put out, computed layer by layer, [batch, 16]."""
    network = {"actor": lambda p: p.actor.latent_pi, "q_net": lambda p: p.q_net.q_net}
    name = "actor" if hasattr(model.policy, "actor") else "q_net"
    layers = list(network[name](model.policy)) if name == "actor" or hasattr(model.policy, "q_net") else []
    layers = layers or list(model.policy.quantile_net.quantile_net)
    one = layers[1](layers[0](th.as_tensor(observations)))
    return th.cat([one, layers[3](layers[2](one))], dim=1)


def chosen_of(model, task: str) -> th.Tensor:
    skill = model.skill_neurons[task]
    return th.cat([skill.chosen(layer.name) for layer in acting_layers(model)])


@off_policy_cases
def test_activations_of_the_tasks_skill_neurons_are_kept(case):
    model = case.made(**NEURONS).learn(60)
    samples, chosen = model.cloning.memory.tasks[0], chosen_of(model, "east")
    assert samples.outputs.shape == (20, 16) and 0 < int(chosen.sum()) < 16
    assert np.isnan(samples.outputs[:, ~chosen]).all()
    with th.no_grad():
        expected = hidden(model, samples.observations)[:, chosen]
    np.testing.assert_allclose(samples.outputs[:, chosen], expected, atol=1e-6)


@pytest.mark.known_answer
@on_cases(SAC_CASE, TQC_CASE, DQN_CASE, QRDQN_CASE)
def test_the_gradient_is_that_of_the_mean_square_of_these_neurons(case):
    """coef * mean over observations and skill neurons of (a - a_old)^2, by hand through the layers."""
    model = case.made(**NEURONS, clone_coef=3.0).learn(60)
    samples, chosen = model.cloning.memory.tasks[0], chosen_of(model, "east")
    parameters = [p for p in (model.policy.actor if hasattr(model.policy, "actor") else model.policy).parameters()]
    for p in parameters:
        p.data += 0.1
    drawn, draw = [], model.cloning.draw
    model.cloning.draw = lambda: (drawn.append(draw()), drawn[-1])[1]
    model.memory.current_task = None
    with model.cloning.in_force():
        found = model.cloning._gradients(parameters)
    observations, kept = drawn[0]
    loss = 3.0 * (hidden(model, observations)[:, chosen] - kept[:, chosen]).square().mean()
    expected = th.autograd.grad(loss, parameters, allow_unused=True)
    sizes = []
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            th.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
            sizes.append(float(other.abs().max()))
    assert max(sizes) > 1e-3 and len(samples) == 20


@pytest.mark.known_answer
def test_mean_square_by_hand():
    nan = float("nan")
    kept, now = th.tensor([[1.0, nan, 2.0], [nan, nan, nan]]), th.tensor([[3.0, 9.0, 1.0], [1.0, 1.0, 1.0]])
    now.requires_grad_()
    distances = mean_square(kept, now)
    assert distances.tolist() == [(4 + 1) / 2, 0]
    distances.sum().backward()
    assert now.grad.tolist() == [[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]


def test_two_tasks_each_hold_their_own_neurons_and_training_is_held_back():
    ends = {}
    for coef in (0.0, 1000.0):
        model = SAC_CASE.made(**NEURONS, clone_coef=coef, mask_target="gradient", learning_rate=3e-3).learn(120)
        assert model.update_path == "autograd" and model.update_obstacle == "activations of skill neurons are cloned"
        samples = model.cloning.memory.tasks[0]
        with th.no_grad():
            now = hidden(model, samples.observations)
        ends[coef] = float(mean_square(th.as_tensor(samples.outputs), now).mean())
        for index, task in enumerate(model.learned_tasks):
            assert (np.isnan(model.cloning.memory.tasks[index].outputs).all(axis=0) == ~chosen_of(model, task).numpy()).all()
    assert ends[1000.0] < 0.3 * ends[0.0]


@on_cases(DQN_CASE)
def test_channels_are_cloned_by_their_mean(case):
    model = case.made(case.toy_env(CHANNEL_FIRST_IMAGE), "CnnPolicy", **{**NEURONS, "memory_size": 5}).learn(30)
    model.consolidate(case.toy_env(CHANNEL_FIRST_IMAGE), "A")
    samples = model.cloning.memory.tasks[0]
    channels = nn.Sequential(*list(model.q_net.features_extractor.cnn)[:2])(th.as_tensor(samples.observations).float() / 255)
    chosen = model.skill_neurons["A"].chosen(acting_layers(model)[0].name)
    expected = channels.mean(dim=(2, 3))[:, chosen].detach()
    np.testing.assert_allclose(samples.outputs[:, : len(chosen)][:, chosen], expected, atol=1e-5)


def test_without_skill_neurons_it_is_refused():
    with pytest.raises(ValueError, match='clone_target="skill_neurons" needs skill neurons'):
        SAC_CASE.made(**NEURONS, skill_fraction=0.0)


NO_NEURONS = {
    "critics only": ({"mask_networks": "critic"}, 'mask_networks="critic" leaves it without any'),
    "a linear actor": ({"net_arch": {"pi": [], "qf": [8]}}, "needs hidden neurons"),
    "linear networks": ({"net_arch": []}, "needs hidden neurons"),
}


@on_cases(SAC_CASE, TQC_CASE)
@pytest.mark.parametrize("why", NO_NEURONS)
def test_an_actor_without_skill_neurons_is_refused_at_once(case, why):
    changes, words = NO_NEURONS[why]
    for rehearsal in ("clone", "both"):
        with pytest.raises(ValueError, match=words):
            case.made(**{**NEURONS, **changes, "rehearsal": rehearsal})
    assert case.made(**{**NEURONS, **changes, "clone_target": "outputs"}).learn(60).learned_tasks == ["east"]
    case.made(**{**NEURONS, **changes, "rehearsal": "replay"})
    case.made(**{**NEURONS, **changes, "memory_size": 0})


@on_cases(DQN_CASE, QRDQN_CASE)
def test_one_network_acts_and_is_the_critic(case):
    model = case.made(**NEURONS, mask_networks="critic").learn(60)
    assert model.cloning.memory.tasks[0].outputs.shape == (20, 16)
    with pytest.raises(ValueError, match="needs hidden neurons"):
        case.made(**NEURONS, net_arch=[])


@on_cases(SAC_CASE, DQN_CASE)
@pytest.mark.parametrize("targets", [("outputs", "skill_neurons"), ("skill_neurons", "outputs")])
def test_what_was_cloned_by_other_arguments_is_refused_before_training(case, targets, tmp_path):
    before, now = targets
    case.made(**{**NEURONS, "clone_target": before}).learn(60).save(tmp_path / "model")
    model = case.cls.load(tmp_path / "model", env=case.sequence_env(), clone_target=now)
    with pytest.raises(ValueError, match=rf"clone_target='{now}'.*clones .* others.*model\.cloning\.memory\.reset"):
        model.learn(30, reset_num_timesteps=False)
    assert model.num_timesteps == 60
    by_hand = case.cls.load(tmp_path / "model", env=case.task_env(), clone_target=now)
    with pytest.raises(ValueError, match=f"clone_target='{now}'"):
        by_hand.consolidate(task="west")
    model.cloning.memory.reset()
    model.learn(30, reset_num_timesteps=False)


def test_every_neuron_may_be_a_skill_neuron(tmp_path):
    """Then nothing in what is kept tells that it is of neurons."""
    model = SAC_CASE.made(**NEURONS, skill_fraction=1.0, select_among="all").learn(60)
    assert not np.isnan(model.cloning.memory.joined.outputs).any()
    model.learn(20, reset_num_timesteps=False)


@on_cases(SAC_CASE, DQN_CASE)
@pytest.mark.parametrize("ways", [("clone", "replay"), ("replay", "clone"), ("replay", "both")])
def test_tasks_that_were_kept_for_another_rehearsal_are_told(case, ways, tmp_path):
    before, now = ways
    case.made(rehearsal=before, memory_size=20).learn(60).save(tmp_path / "model")
    model = case.cls.load(tmp_path / "model", env=case.sequence_env(), rehearsal=now)
    with pytest.warns(UserWarning, match=f"kept of east is for rehearsal='{before}', and nothing .* rehearsal='{now}' asks"):
        model.learn(10, reset_num_timesteps=False)
