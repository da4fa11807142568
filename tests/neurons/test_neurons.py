"""Where the neurons are. Layers' names and readers are written out; that a reader is one is proved by its effect."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTOR, ToyEnv
from helpers.one_network import network_of
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from torch import nn

from sb3_nbsp.neurons import Network, NeuronLayer, find_networks

CNN = {"features_extractor_kwargs": {"features_dim": 5}, "net_arch": [4]}
IMAGE_AND_VECTORS = spaces.Dict(
    {
        "before": spaces.Box(-1.0, 1.0, (2,)),
        "image": CHANNEL_FIRST_IMAGE,
        "number": spaces.Discrete(3),
        "second_image": CHANNEL_FIRST_IMAGE,
        "zlast": spaces.Box(-1.0, 1.0, (2, 2)),
    }
)
COMBINED = {"features_extractor_kwargs": {"cnn_output_dim": 6}, "net_arch": [4]}


class DiscreteToyEnv(ToyEnv):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.action_space = spaces.Discrete(3)


def policy_of(cls, space=VECTOR, policy="MlpPolicy", env_class=ToyEnv, **kwargs) -> BasePolicy:
    extra = {"buffer_size": 10} if hasattr(cls, "load_replay_buffer") else {}
    use_sde = {"use_sde": True} if kwargs.pop("use_sde", False) else {}
    policy_kwargs = {"net_arch": [4, 3], **kwargs}
    return cls(policy, env_class(space), policy_kwargs=policy_kwargs, seed=0, **extra, **use_sde).policy


def shape(policy: BasePolicy) -> dict[str, tuple[str, list[tuple[str, int]]]]:
    """part and [(layer, n_neurons)] by network."""
    return {n.name: (n.part, [(layer.name, layer.n_neurons) for layer in n.layers]) for n in find_networks(policy)}


def layers_of(policy: BasePolicy) -> dict[str, NeuronLayer]:
    return {layer.name: layer for network in find_networks(policy) for layer in network.layers}


def reads(layer: NeuronLayer) -> set[tuple[int, int, int, int]]:
    """(id of the parameter, dim, start, span)."""
    return {(id(r.parameter), r.dim, r.start, r.span) for r in layer.readers}


def biases_of(network: Network) -> set[int]:
    return {id(bias) for bias in network.output_biases}


QF = [("critic.qf{}.0", 4), ("critic.qf{}.2", 3)]


def critics(n: int) -> dict:
    return {f"critic.qf{i}": ("critic", [(name.format(i), size) for name, size in QF]) for i in range(n)}


@pytest.mark.parametrize("n_critics", [1, 2, 3])
def test_sac_mlp(n_critics):
    policy = policy_of(SAC, n_critics=n_critics)
    actor = {"actor": ("actor", [("actor.latent_pi.0", 4), ("actor.latent_pi.2", 3)])}
    assert shape(policy) == {**actor, **critics(n_critics)}


def test_sac_mlp_readers_and_output_biases():
    policy = policy_of(SAC)
    actor, critic = policy.actor, policy.critic
    layers = layers_of(policy)
    assert reads(layers["actor.latent_pi.0"]) == {(id(actor.latent_pi[2].weight), 1, 0, 1)}
    assert reads(layers["actor.latent_pi.2"]) == {(id(actor.mu.weight), 1, 0, 1), (id(actor.log_std.weight), 1, 0, 1)}
    assert reads(layers["critic.qf1.0"]) == {(id(critic.qf1[2].weight), 1, 0, 1)}
    assert reads(layers["critic.qf1.2"]) == {(id(critic.qf1[4].weight), 1, 0, 1)}
    assert [id(p) for p in layers["critic.qf0.2"].own] == [id(critic.qf0[2].weight), id(critic.qf0[2].bias)]
    networks = {n.name: n for n in find_networks(policy)}
    assert biases_of(networks["actor"]) == {id(actor.mu.bias), id(actor.log_std.bias)}
    assert biases_of(networks["critic.qf1"]) == {id(critic.qf1[4].bias)}
    assert [n.n_neurons for n in networks.values()] == [7, 7, 7]


def test_dict_net_arch():
    policy = policy_of(SAC, net_arch={"pi": [2], "qf": [5, 6, 7]})
    assert shape(policy)["actor"] == ("actor", [("actor.latent_pi.0", 2)])
    assert [size for _, size in shape(policy)["critic.qf0"][1]] == [5, 6, 7]


@pytest.mark.parametrize("cls, n_biases", [(SAC, 2), (TQC, 2), (TD3, 1)])
def test_linear_actor_critic_has_no_neurons_but_output_biases(cls, n_biases):
    networks = find_networks(policy_of(cls, net_arch=[]))
    assert [n.n_neurons for n in networks] == [0, 0, 0]
    assert [len(n.output_biases) for n in networks] == [n_biases, 1, 1]


def test_sac_gsde():
    policy = policy_of(SAC, use_sde=True)
    actor = policy.actor
    last = layers_of(policy)["actor.latent_pi.2"]
    assert reads(last) == {(id(actor.mu[0].weight), 1, 0, 1), (id(actor.log_std), 0, 0, 1)}
    assert biases_of(find_networks(policy)[0]) == {id(actor.mu[0].bias)}


CONVOLUTIONS = [("{}.0.0", 32), ("{}.0.2", 64), ("{}.0.4", 64), ("{}.1.0", 5)]


def convolutions(prefix: str) -> list[tuple[str, int]]:
    return [(name.format(prefix), size) for name, size in CONVOLUTIONS]


def test_sac_cnn_with_separate_extractors():
    policy = policy_of(SAC, CHANNEL_FIRST_IMAGE, "CnnPolicy", share_features_extractor=False, **CNN)
    found = shape(policy)
    assert found["actor"] == ("actor", [*convolutions("actor.features_extractor"), ("actor.latent_pi.0", 4)])
    assert found["critic.features_extractor"] == ("critic", convolutions("critic.features_extractor"))
    assert found["critic.qf0"] == ("critic", [("critic.qf0.0", 4)])
    assert list(found) == ["actor", "critic.features_extractor", "critic.qf0", "critic.qf1"]
    last = layers_of(policy)["critic.features_extractor.1.0"]
    assert reads(last) == {(id(policy.critic.qf0[0].weight), 1, 0, 1), (id(policy.critic.qf1[0].weight), 1, 0, 1)}
    assert reads(layers_of(policy)["actor.features_extractor.1.0"]) == {(id(policy.actor.latent_pi[0].weight), 1, 0, 1)}


def test_sac_cnn_with_a_shared_extractor():
    policy = policy_of(SAC, CHANNEL_FIRST_IMAGE, "CnnPolicy", share_features_extractor=True, **CNN)
    assert list(shape(policy)) == ["actor", "critic.qf0", "critic.qf1"]
    last = layers_of(policy)["actor.features_extractor.1.0"]
    expected = [policy.actor.latent_pi[0], policy.critic.qf0[0], policy.critic.qf1[0]]
    assert reads(last) == {(id(layer.weight), 1, 0, 1) for layer in expected}


def test_flattened_channels_span_their_pixels():
    policy = policy_of(DQN, spaces.Box(0, 255, (2, 44, 52), np.uint8), "CnnPolicy", DiscreteToyEnv, **CNN)
    q_net = policy.q_net
    layers = layers_of(policy)
    # 44 x 52 -> 10 x 12 -> 4 x 5 -> 2 x 3
    assert q_net.features_extractor.linear[0].weight.shape == (5, 64 * 6)
    assert reads(layers["q_net.features_extractor.0.4"]) == {(id(q_net.features_extractor.linear[0].weight), 1, 0, 6)}
    assert reads(layers["q_net.features_extractor.0.2"]) == {(id(q_net.features_extractor.cnn[4].weight), 1, 0, 1)}


def test_combined_extractor_offsets():
    policy = policy_of(SAC, IMAGE_AND_VECTORS, "MultiInputPolicy", **COMBINED)
    layers = layers_of(policy)
    assert list(policy.actor.features_extractor.extractors) == ["before", "image", "number", "second_image", "zlast"]
    first, second = layers["actor.features_extractor.image.1.0"], layers["actor.features_extractor.second_image.1.0"]
    weight = policy.actor.latent_pi[0].weight
    assert reads(first) == {(id(weight), 1, 2, 1)}
    assert reads(second) == {(id(weight), 1, 2 + 6 + 3, 1)}
    assert weight.shape == (4, 2 + 6 + 3 + 6 + 4)
    starts = {r.start for r in layers["critic.features_extractor.second_image.1.0"].readers}
    assert starts == {11} and len(layers["critic.features_extractor.second_image.1.0"].readers) == 2


def test_combined_extractor_of_vectors_has_no_network():
    policy = policy_of(SAC, spaces.Dict({"a": VECTOR, "b": VECTOR}), "MultiInputPolicy", net_arch=[4])
    assert shape(policy)["actor"] == ("actor", [("actor.latent_pi.0", 4)])
    assert "critic.features_extractor" not in shape(policy)


def test_tqc():
    policy = policy_of(TQC)
    actor = {"actor": ("actor", [("actor.latent_pi.0", 4), ("actor.latent_pi.2", 3)])}
    assert shape(policy) == {**actor, **critics(2)}


@pytest.mark.parametrize("cls", [TD3, DDPG])
def test_td3s_squashed_output_layer_is_no_hidden_layer(cls):
    policy = policy_of(cls)
    assert shape(policy)["actor"] == ("actor", [("actor.mu.0", 4), ("actor.mu.2", 3)])
    assert biases_of(find_networks(policy)[0]) == {id(policy.actor.mu[4].bias)}


@pytest.mark.parametrize("cls, name", [(DQN, "q_net"), (QRDQN, "quantile_net")])
def test_dqn_and_qrdqn(cls, name):
    policy = policy_of(cls, env_class=DiscreteToyEnv)
    assert shape(policy) == {name: ("critic", [(f"{name}.{name}.0", 4), (f"{name}.{name}.2", 3)])}
    output = getattr(getattr(policy, name), name)[4]
    assert biases_of(find_networks(policy)[0]) == {id(output.bias)}
    assert reads(layers_of(policy)[f"{name}.{name}.2"]) == {(id(output.weight), 1, 0, 1)}


def test_dqn_cnn():
    policy = policy_of(DQN, CHANNEL_FIRST_IMAGE, "CnnPolicy", DiscreteToyEnv, **CNN)
    layers = [*convolutions("q_net.features_extractor"), ("q_net.q_net.0", 4)]
    assert shape(policy) == {"q_net": ("critic", layers)}


@pytest.mark.parametrize("cls", [PPO, A2C])
def test_on_policy_mlp(cls):
    policy = policy_of(cls, net_arch={"pi": [4], "vf": [3]})
    assert shape(policy) == {
        "policy": ("actor", [("mlp_extractor.policy_net.0", 4)]),
        "value": ("critic", [("mlp_extractor.value_net.0", 3)]),
    }
    actor, value = find_networks(policy)
    assert biases_of(actor) == {id(policy.action_net.bias)} and biases_of(value) == {id(policy.value_net.bias)}
    assert reads(actor.layers[0]) == {(id(policy.action_net.weight), 1, 0, 1)}
    assert reads(value.layers[0]) == {(id(policy.value_net.weight), 1, 0, 1)}


@pytest.mark.parametrize("net_arch", [[], [4]])
def test_ppo_cnn_with_a_shared_extractor(net_arch):
    policy = policy_of(PPO, CHANNEL_FIRST_IMAGE, "CnnPolicy", **{**CNN, "net_arch": net_arch})
    found = shape(policy)
    assert found["features_extractor"] == ("shared", convolutions("features_extractor"))
    assert list(found) == ["features_extractor", "policy", "value"]
    modules = policy.mlp_extractor
    readers = [modules.policy_net[0], modules.value_net[0]] if net_arch else [policy.action_net, policy.value_net]
    assert reads(layers_of(policy)["features_extractor.1.0"]) == {(id(m.weight), 1, 0, 1) for m in readers}


def test_ppo_cnn_with_separate_extractors():
    policy = policy_of(PPO, CHANNEL_FIRST_IMAGE, "CnnPolicy", share_features_extractor=False, **CNN)
    assert shape(policy) == {
        "policy": ("actor", [*convolutions("pi_features_extractor"), ("mlp_extractor.policy_net.0", 4)]),
        "value": ("critic", [*convolutions("vf_features_extractor"), ("mlp_extractor.value_net.0", 4)]),
    }


def walked(chain: nn.Module) -> Network:
    return network_of(chain, th.zeros(2, 3))


def test_normalisation_belongs_to_the_neurons_that_it_scales():
    chain = nn.Sequential(*create_mlp(3, 2, [5, 4], post_linear_modules=[nn.LayerNorm, lambda n: nn.Dropout(0.1)]))
    network = walked(chain)
    assert [(layer.name, layer.n_neurons) for layer in network.layers] == [("q_net.0", 5), ("q_net.4", 4)]
    assert [layer.activation for layer in network.layers] == [chain[3], chain[7]]
    own = [chain[0].weight, chain[0].bias, chain[1].weight, chain[1].bias]
    assert [id(p) for p in network.layers[0].own] == [id(p) for p in own]
    assert biases_of(network) == {id(chain[8].bias)}
    assert reads(network.layers[0]) == {(id(chain[4].weight), 1, 0, 1)}


def test_normalisation_after_the_activation():
    chain = nn.Sequential(*create_mlp(3, 2, [5], pre_linear_modules=[nn.BatchNorm1d]))
    (layer,) = walked(chain).layers
    assert [id(p) for p in layer.own] == [id(p) for p in [*chain[1].parameters(), *chain[3].parameters()]]
    assert reads(layer) == {(id(chain[4].weight), 1, 0, 1)}


def test_layers_without_bias():
    chain = nn.Sequential(*create_mlp(3, 2, [5], with_bias=False))
    network = walked(chain)
    assert [id(p) for p in network.layers[0].own] == [id(chain[0].weight)] and network.output_biases == []


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.ELU, nn.SiLU, nn.PReLU])
def test_any_activation(activation):
    policy = policy_of(SAC, activation_fn=activation)
    assert shape(policy)["actor"] == ("actor", [("actor.latent_pi.0", 4), ("actor.latent_pi.2", 3)])


class LinearExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space, n_features=4):
        super().__init__(observation_space, n_features)
        self.net = nn.Linear(get_flattened_obs_dim(observation_space), n_features)

    def forward(self, observations):
        return self.net(observations)


class WeightlessExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, get_flattened_obs_dim(observation_space))

    def forward(self, observations):
        return 2 * observations


def test_an_own_extractor_is_read_like_any_other():
    policy = policy_of(SAC, features_extractor_class=LinearExtractor)
    layers = [("actor.features_extractor.net", 4), ("actor.latent_pi.0", 4), ("actor.latent_pi.2", 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shape(policy)["actor"][1] == layers
    assert reads(layers_of(policy)["actor.features_extractor.net"]) == {(id(policy.actor.latent_pi[0].weight), 1, 0, 1)}


def test_extractor_without_weights_does_not_warn():
    policy = policy_of(SAC, features_extractor_class=WeightlessExtractor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_networks(policy)


def test_other_policies_are_refused():
    class Other(BasePolicy):
        def _predict(self, observation, deterministic=False):
            raise NotImplementedError

    with pytest.raises(TypeError, match="got Other: its neurons cannot be found"):
        find_networks(Other(VECTOR, gym.spaces.Discrete(2)))


# What a reader is: without it, nothing of the network's output depends on the neuron any more.


def outputs(policy: BasePolicy, obs) -> th.Tensor:
    """Everything that the policy computes."""
    with th.no_grad():
        if hasattr(policy, "actor"):
            action = th.full((len(next(iter(obs.values())) if isinstance(obs, dict) else obs), 2), 0.3)
            critics = policy.critic(obs, action)
            results = list(critics) if isinstance(critics, tuple) else [critics]  # TQC stacks them
            if hasattr(policy.actor, "get_action_dist_params"):
                mean, log_std, kwargs = policy.actor.get_action_dist_params(obs)
                distribution = policy.actor.action_dist.proba_distribution(mean, log_std, **kwargs).distribution
                results += [distribution.mean, distribution.scale]
            else:
                results.append(policy.actor(obs))
        elif hasattr(policy, "mlp_extractor"):
            distribution = policy.get_distribution(obs).distribution
            results = [distribution.mean, distribution.scale, policy.predict_values(obs)]
        else:
            results = [(policy.q_net if hasattr(policy, "q_net") else policy.quantile_net)(obs)]
    return th.cat([r.reshape(r.shape[0], -1) for r in results], dim=1)


def with_neuron_at(policy: BasePolicy, layer: NeuronLayer, neuron: int, value: float, obs) -> th.Tensor:
    """The outputs if the neuron did something else."""

    def overwrite(module, inputs, output):
        output = output.clone()
        output[:, neuron] = value
        return output

    handle = layer.activation.register_forward_hook(overwrite)
    try:
        return outputs(policy, obs)
    finally:
        handle.remove()


def silence_readers(layer: NeuronLayer, neuron: int) -> None:
    with th.no_grad():
        for r in layer.readers:
            nothing = 0.0 if r.dim == 1 else -th.inf  # gSDE's log_std counts by its exponential
            r.parameter.narrow(r.dim, r.start + neuron * r.span, r.span).fill_(nothing)


SEMANTIC_CASES = {
    "sac": lambda: policy_of(SAC),
    "sac-gsde": lambda: policy_of(SAC, use_sde=True),
    "sac-gsde-linear-combined": lambda: policy_of(
        SAC, IMAGE_AND_VECTORS, "MultiInputPolicy", use_sde=True, **{**COMBINED, "net_arch": []}
    ),
    "sac-cnn-separate": lambda: policy_of(SAC, CHANNEL_FIRST_IMAGE, "CnnPolicy", share_features_extractor=False, **CNN),
    "sac-cnn-shared": lambda: policy_of(SAC, CHANNEL_FIRST_IMAGE, "CnnPolicy", share_features_extractor=True, **CNN),
    "sac-combined": lambda: policy_of(SAC, IMAGE_AND_VECTORS, "MultiInputPolicy", **COMBINED),
    "tqc": lambda: policy_of(TQC),
    "td3": lambda: policy_of(TD3),
    "dqn": lambda: policy_of(DQN, env_class=DiscreteToyEnv),
    "dqn-cnn": lambda: policy_of(DQN, CHANNEL_FIRST_IMAGE, "CnnPolicy", DiscreteToyEnv, **CNN),
    "qrdqn": lambda: policy_of(QRDQN, env_class=DiscreteToyEnv),
    "ppo": lambda: policy_of(PPO),
    "ppo-gsde": lambda: policy_of(PPO, use_sde=True),
    "ppo-cnn-shared": lambda: policy_of(PPO, CHANNEL_FIRST_IMAGE, "CnnPolicy", **CNN),
    "ppo-combined": lambda: policy_of(PPO, IMAGE_AND_VECTORS, "MultiInputPolicy", **COMBINED),
}


def tensors(policy: BasePolicy):
    observation_space = policy.observation_space
    observation_space.seed(0)
    obs = [observation_space.sample() for _ in range(3)]
    if isinstance(observation_space, spaces.Dict):
        obs = {key: np.stack([o[key] for o in obs]) for key in obs[0]}
    return policy.obs_to_tensor(np.stack(obs) if isinstance(obs, list) else obs)[0]


@pytest.mark.parametrize("case", SEMANTIC_CASES)
def test_without_its_readers_nothing_depends_on_a_neuron(case):
    policy = SEMANTIC_CASES[case]()
    policy.set_training_mode(False)
    obs = tensors(policy)
    for layer in layers_of(policy).values():
        neuron = layer.n_neurons - 2 if layer.n_neurons > 2 else 0
        other = neuron + 1 if layer.n_neurons > 1 else None
        # Of the two, one passes the next layer's ReLUs.
        changed = [not th.equal(with_neuron_at(policy, layer, neuron, x, obs), outputs(policy, obs)) for x in (1e3, -1e3)]
        assert any(changed), layer.name
        silence_readers(layer, neuron)
        without = with_neuron_at(policy, layer, neuron, 0.0, obs)
        assert th.equal(with_neuron_at(policy, layer, neuron, 1e3, obs), without), layer.name
        if other is not None:  # and its neighbour is still heard
            assert not th.equal(with_neuron_at(policy, layer, other, 1e3, obs), without), layer.name
