"""The recorder against activations that are computed by hand."""

from copy import deepcopy

import numpy as np
import pytest
import torch as th
from helpers import CHANNEL_FIRST_IMAGE, SETTINGS, VECTOR, ToyEnv
from stable_baselines3 import SAC

from sb3_nbsp.neurons import ActivationRecorder, find_networks


def model_of(policy="MlpPolicy", space=VECTOR, **policy_kwargs) -> SAC:
    return SAC(policy, ToyEnv(space), **{**SETTINGS, "policy_kwargs": {"net_arch": [5, 4], **policy_kwargs}})


def layers_of(policy):
    return [layer for network in find_networks(policy) for layer in network.layers]


def n_hooks(policy) -> int:
    return sum(len(module._forward_hooks) for module in policy.modules())


@pytest.fixture(scope="module")
def model() -> SAC:
    return model_of()


@pytest.fixture(scope="module")
def image_model() -> SAC:
    return model_of("CnnPolicy", CHANNEL_FIRST_IMAGE, features_extractor_kwargs={"features_dim": 6})


@pytest.mark.known_answer
def test_equals_a_forward_by_hand(model):
    obs, actions = th.rand(7, 3), th.rand(7, 2)
    with th.no_grad(), ActivationRecorder(layers_of(model.policy)) as recorder:
        model.actor(obs)
        model.critic(obs, actions)
    recorded = recorder.activations()
    first = th.relu(obs @ model.actor.latent_pi[0].weight.T + model.actor.latent_pi[0].bias)
    second = th.relu(first @ model.actor.latent_pi[2].weight.T + model.actor.latent_pi[2].bias)
    qf1 = th.relu(th.cat([obs, actions], 1) @ model.critic.qf1[0].weight.T + model.critic.qf1[0].bias)
    th.testing.assert_close(recorded["actor.latent_pi.0"], first)
    th.testing.assert_close(recorded["actor.latent_pi.2"], second)
    th.testing.assert_close(recorded["critic.qf1.0"], qf1)
    assert list(recorded) == [f"{name}.{i}" for name in ("actor.latent_pi", "critic.qf0", "critic.qf1") for i in (0, 2)]


@pytest.mark.known_answer
def test_convolutions_are_averaged_per_channel(image_model):
    images = th.randint(0, 256, (3, 1, 36, 36), dtype=th.uint8)
    actor = image_model.actor
    with th.no_grad(), ActivationRecorder(layers_of(image_model.policy)) as recorder:
        actor(images)
    by_hand = th.relu(actor.features_extractor.cnn[0](images.float() / 255))
    recorded = recorder.activations()
    assert by_hand.shape == (3, 32, 8, 8)
    th.testing.assert_close(recorded["actor.features_extractor.0.0"], by_hand.sum(dim=(2, 3)) / 64)
    assert recorded["actor.features_extractor.0.4"].shape == (3, 64)
    assert recorded["actor.features_extractor.1.0"].shape == (3, 6)
    assert not any(name.startswith("critic") for name in recorded)


def test_graph_is_kept_on_request(image_model):
    images = th.randint(0, 256, (2, 1, 36, 36), dtype=th.uint8)
    with ActivationRecorder(layers_of(image_model.policy), keep_graph=True) as recorder:
        loss = image_model.actor(images).sum()
    (output,) = recorder.outputs["actor.features_extractor.0.0"]
    assert output.shape == (2, 32, 8, 8)
    assert th.autograd.grad(loss, output)[0].shape == output.shape
    assert not recorder.activations()["actor.latent_pi.0"].requires_grad


def test_no_graph_otherwise(model):
    with ActivationRecorder(layers_of(model.policy)) as recorder:
        model.actor(th.rand(2, 3))
    assert not any(t.requires_grad for values in recorder.outputs.values() for t in values)


def test_firings_are_joined_in_order(model):
    one, two = th.rand(2, 3), th.rand(1, 3)
    with th.no_grad(), ActivationRecorder(layers_of(model.policy)) as recorder:
        model.actor(one)
        model.actor(two)
    with th.no_grad(), ActivationRecorder(layers_of(model.policy)) as at_once:
        model.actor(th.cat([one, two]))
    th.testing.assert_close(recorder.activations()["actor.latent_pi.0"], at_once.activations()["actor.latent_pi.0"])


def test_recording_changes_no_output(model):
    obs = th.rand(4, 3)
    plain = model.actor(obs, deterministic=True)
    with ActivationRecorder(layers_of(model.policy)):
        assert th.equal(model.actor(obs, deterministic=True), plain)


def test_hooks_are_removed(model):
    with ActivationRecorder(layers_of(model.policy)) as recorder:
        assert n_hooks(model.policy) == 6
    assert n_hooks(model.policy) == 0
    model.actor(th.rand(1, 3))
    assert recorder.activations() == {}


def test_hooks_are_removed_after_an_exception(model):
    with pytest.raises(RuntimeError), ActivationRecorder(layers_of(model.policy)):
        model.actor(th.rand(1, 99))
    assert n_hooks(model.policy) == 0


def test_only_the_wanted_layers(model):
    wanted = layers_of(model.policy)[:1]
    with ActivationRecorder(wanted) as recorder:
        model.actor(th.rand(2, 3))
    assert list(recorder.activations()) == ["actor.latent_pi.0"]


def test_works_with_predict(model):
    obs = np.float32([[0.1, -0.2, 0.3], [0.5, 0.5, 0.5]])
    with ActivationRecorder(layers_of(model.policy)) as recorder:
        model.predict(obs)
        model.predict(obs[0])
    recorded = recorder.activations()
    assert recorded["actor.latent_pi.0"].shape == (3, 5)
    th.testing.assert_close(recorded["actor.latent_pi.0"][0], recorded["actor.latent_pi.0"][2])
    assert "critic.qf0.0" not in recorded


def test_a_deep_copy_has_neurons_of_its_own(model):
    copy = deepcopy(model.policy)
    with ActivationRecorder(layers_of(copy)) as of_copy, ActivationRecorder(layers_of(model.policy)) as of_original:
        copy.actor(th.rand(2, 3))
    assert of_copy.activations()["actor.latent_pi.0"].shape == (2, 5)
    assert of_original.activations() == {}


def test_a_deep_copy_taken_while_recording_is_usable(model):
    with ActivationRecorder(layers_of(model.policy)) as recorder:
        copy = deepcopy(model.policy)
    copy.actor(th.rand(2, 3))
    assert recorder.activations() == {}
