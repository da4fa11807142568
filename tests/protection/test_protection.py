"""Masks and gates of one agent, put together, without an algorithm."""

import pytest
import torch as th
from helpers import CHANNEL_FIRST_IMAGE, copied, same
from helpers.cases import DQN_CASE, PPO_CASE, QRDQN_CASE, SAC_CASE, TQC_CASE, every_case, on_cases
from stable_baselines3 import SAC, TD3
from torch import nn

from sb3_nbsp.neurons import SkillNeurons, find_networks
from sb3_nbsp.neurons.skill_neurons import LayerSkill
from sb3_nbsp.protection import MaskedOptimizer
from sb3_nbsp.protection.protection import Protection

POLICY = {"net_arch": [4, 4], "activation_fn": nn.ReLU}


def networks(cls: type = SAC) -> list:
    return find_networks(cls("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [4, 4]}, seed=0, device="cpu").policy)


def skill(protection: Protection, chosen: list[int]) -> SkillNeurons:
    layers = {
        layer.name: LayerSkill(network.name, [0.9, 0.8, 0.7, 0.6], [1.0] * 4, chosen)
        for network in protection.networks
        for layer in network.layers
    }
    return SkillNeurons("A", "published", "reward", 0.5, 10, layers)


@pytest.mark.known_answer
def test_a_skill_neurons_factor_is_alpha_times_one_minus_score():
    protection = Protection(networks())
    protection.hold(0, skill(protection, [0, 2]), mask_coef=0.5)
    for network in protection.masks.networks:
        for layer in network.layers:
            th.testing.assert_close(protection.masks.factors(layer), th.tensor([0.05, 1, 0.15, 1]))
            th.testing.assert_close(protection.parameter_factors()[layer.own[1]], th.tensor([0.05, 1, 0.15, 1]))


@pytest.mark.parametrize(("wanted", "names"), [("actor", ["actor"]), ("critic", ["critic.qf0", "critic.qf1"])])
def test_neurons_of_the_wanted_networks_only_are_ranked(wanted, names):
    protection = Protection(networks(), mask_networks=wanted)
    assert [network.name for network in protection.networks] == names
    assert len(protection.masks.networks) == 3


def test_nothing_is_held_without_a_skill():
    protection = Protection(networks())
    protection.hold(0, None, mask_coef=0.5)
    assert protection.masks.n_tasks == 1 and protection.masks.n_held == 0 and protection.parameter_factors() == {}


def test_states_are_what_a_file_holds():
    assert list(Protection(networks()).states()) == ["neuron_masks"]
    gated = Protection(networks(), task_gates=True)
    assert list(gated.states()) == ["neuron_masks", "gates"]
    assert (gated.masks.sides, gated.masks.output_biases) == ("both", True)


@pytest.mark.filterwarnings("ignore:After A")
def test_a_claim_reaches_the_targets_and_is_held_but_for_a_task_that_comes_again():
    th.manual_seed(0)
    parts = networks()
    critic, target = nn.Linear(2, 2), nn.Linear(2, 2)
    protection = Protection(parts, task_gates=True, targets=[(critic, target)])
    layers = protection.gates.layers
    activations = {layer.name: th.rand(10, 4) for layer in layers}
    result = protection.claim(0, skill(protection, [0, 1]), 0.25, activations, id_columns=[1, 2], own=1)
    assert all(len(layer.chosen) == 1 for layer in result.layers.values())
    assert th.equal(critic.weight, target.weight)
    protection.hold(0, result, mask_coef=0.5)
    assert protection.masks.n_held == 1 and float(protection.masks.factors(layers[0]).min()) == 0
    protection.hold_owned(1, relearned=0)
    assert protection.masks.n_held == 0
    assert protection.open_free(relearned=0) and not protection.open_free(relearned=0)
    protection.hold_owned(1, relearned=None)
    assert protection.masks.n_held == 1
    assert protection.open_free(relearned=None)


def test_with_plain_sb3():
    """As the notebook on building blocks uses it: held rows stay, whatever TD3 learns."""
    model = TD3("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [4, 4]}, learning_starts=10, seed=0, device="cpu")
    protection = Protection(find_networks(model.policy), sides="both", output_biases=True)
    protection.hold(0, skill(protection, [0, 1, 2, 3]), mask_coef=0.0)
    for part in (model.actor, model.critic):
        part.optimizer = MaskedOptimizer(part.optimizer)
        part.optimizer.set_factors(protection.parameter_factors())
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters() if "target" not in name}
    model.learn(60)
    assert model._n_updates > 10
    assert all(th.equal(p, before[name]) for name, p in model.policy.named_parameters() if name in before)


WITHOUT_NEURONS = {
    "dqn": (DQN_CASE, {"mask_networks": "actor"}, "q_net \\(critic\\)"),
    "qrdqn": (QRDQN_CASE, {"mask_networks": "actor"}, "quantile_net \\(critic\\)"),
    "linear dqn": (DQN_CASE, {"mask_networks": "actor", "net_arch": []}, "q_net"),
    "linear actor": (SAC_CASE, {"mask_networks": "actor", "net_arch": {"pi": [], "qf": [8]}}, "critic.qf0"),
    "linear critic": (PPO_CASE, {"mask_networks": "critic", "net_arch": {"pi": [8], "vf": []}}, "policy \\(actor\\)"),
}


@pytest.mark.parametrize("name", WITHOUT_NEURONS)
def test_networks_without_neurons_are_refused_where_neurons_shall_be_held(name):
    case, settings, words = WITHOUT_NEURONS[name]
    with pytest.raises(ValueError, match=f"names no network with neurons.*{words}"):
        case.made(**settings)
    assert case.made(**settings, skill_fraction=0.0).neuron_masks.n_held == 0


@every_case
def test_a_linear_policy_and_networks_that_have_neurons_are_not_refused(case):
    case.made(net_arch=[])
    case.made(mask_networks="critic")


@on_cases(SAC_CASE, TQC_CASE)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.filterwarnings("ignore:.*of the neurons chosen", "ignore:The goal metric", "ignore:The last")
def test_an_extractor_that_actor_and_critic_share_counts_for_the_critic_too(case, shared):
    cnn = {"share_features_extractor": shared, "features_extractor_kwargs": {"features_dim": 8}}
    frozen = {"skill_fraction": 1.0, "select_among": "all", "mask_coef": 0.0, "memory_size": 0, "scoring_steps": 20}
    settings = {"mask_networks": "critic", "net_arch": [8], "policy_kwargs": cnn, **frozen}
    model = case.made(case.toy_env(CHANNEL_FIRST_IMAGE), "CnnPolicy", **settings, learning_starts=5, train_freq=5)
    skill = model.learn(10).consolidate(task="A")
    own = "actor" if shared else "critic"
    layers = [f"{own}.features_extractor.{layer}" for layer in ("0.0", "0.2", "0.4", "1.0")]
    assert list(skill.layers)[: len(layers)] == layers
    assert not any(name.startswith("actor.latent_pi") for name in skill.layers)
    extractor = getattr(model.policy, own).features_extractor
    before, others = copied(extractor.state_dict()), copied(model.actor.latent_pi.state_dict())
    model.learn(10, reset_num_timesteps=False)
    assert same(extractor.state_dict(), before) and not same(model.actor.latent_pi.state_dict(), others)
