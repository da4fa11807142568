"""CReLU: both signs of every neuron go on."""

import numpy as np
import pytest
import torch as th
from helpers import sequence_env
from stable_baselines3 import DQN, PPO, SAC
from test_baselines import STEPS, discrete_env, nbspsac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import NPC, ContinualBackprop, CReLU, ReDo


@pytest.mark.known_answer
def test_both_parts_by_hand():
    inputs = th.tensor([[1.0, -2.0, 9.0, 9.0], [0.0, 3.0, -9.0, 9.0]])  # the second half counts for nothing
    assert CReLU()(inputs).tolist() == [[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 0.0]]
    channels = th.zeros(1, 2, 1, 2)
    channels[0, 0, 0] = th.tensor([5.0, -6.0])
    assert CReLU()(channels)[0, :, 0].tolist() == [[5.0, 0.0], [0.0, 6.0]]


@pytest.mark.known_answer
def test_a_network_computes_what_the_formula_says_and_its_silent_rows_learn_nothing():
    model = nbspsac(policy_kwargs={"net_arch": [4, 6], "activation_fn": CReLU})
    first, _, second, _ = model.actor.latent_pi
    x = th.randn(3, first.in_features)
    one = x @ first.weight[:2].T + first.bias[:2]
    read = th.cat([one.clamp(min=0), (-one).clamp(min=0)], dim=1)
    two = read @ second.weight[:3].T + second.bias[:3]
    expected = th.cat([two.clamp(min=0), (-two).clamp(min=0)], dim=1)
    assert th.allclose(model.actor.latent_pi(x), expected)
    before = {name: p.detach().clone() for name, p in model.actor.named_parameters()}
    model.learn(STEPS)
    for layer, n in (("latent_pi.0", 2), ("latent_pi.2", 3)):
        after = dict(model.actor.named_parameters())[f"{layer}.weight"]
        assert th.equal(after[n:], before[f"{layer}.weight"][n:])
        assert bool((after[:n] != before[f"{layer}.weight"][:n]).any(dim=1).all())


@pytest.mark.parametrize("cls", [SAC, PPO, DQN])
def test_sb3_learns_with_it_and_finds_it_again(cls, tmp_path):
    env = discrete_env() if cls is DQN else sequence_env(steps=STEPS)
    model = cls("MlpPolicy", env, policy_kwargs={"activation_fn": CReLU, "net_arch": [8, 8]}, seed=1)
    model.learn(120)
    model.save(tmp_path / "model")
    observations = np.random.default_rng(0).normal(size=(4, *env.observation_space.shape)).astype(np.float32)
    loaded = cls.load(tmp_path / "model")
    assert any(isinstance(module, CReLU) for module in loaded.policy.modules())
    expected = model.predict(observations, deterministic=True)[0]
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)


def test_sac_computes_it_without_autograd(tmp_path):
    model = nbspsac(policy_kwargs={"activation_fn": CReLU, "net_arch": [8, 8]})
    model.learn(2 * STEPS)
    assert model.update_path == "fast"
    model.save(tmp_path / "model")
    NBSPSAC.load(tmp_path / "model")


@pytest.mark.parametrize("method", [ContinualBackprop, NPC, ReDo])
def test_methods_that_take_an_output_for_a_row_are_refused_with_it(method):
    model = nbspsac(policy_kwargs={"activation_fn": CReLU, "net_arch": [8, 8]})
    with pytest.raises(ValueError, match=f"{method.__name__} expects layers"):
        model.learn(10, callback=method())
    assert model.num_timesteps == 0


def test_a_layer_of_odd_size_is_refused():
    with pytest.raises(ValueError, match="even size in net_arch, got 5"):
        CReLU()(th.zeros(1, 5))
