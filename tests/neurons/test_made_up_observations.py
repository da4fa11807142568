"""The passes that read a map: on which observations, of which networks, and what they leave behind."""

import warnings

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import VECTOR, AnyActionEnv, ToyEnv
from helpers.cases import SAC_CASE, TABLE
from helpers.one_network import network_of
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from test_forward_graph import Written
from torch import nn
from torch.nn import functional as F

from sb3_nbsp import NBSPPPO, NBSPSAC
from sb3_nbsp.neurons import ActivationRecorder, dummy_pass, find_networks

# Far bounds

FAR32 = np.finfo(np.float32).max
FAR = {
    "float32": spaces.Box(-FAR32, FAR32, (6,), np.float32),
    "float64": spaces.Box(-1e308, 1e308, (6,), np.float64),
    "one side": spaces.Box(-FAR32, np.inf, (6,), np.float32),
    "int64": spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max - 1, (6,), np.int64),
    "dict": spaces.Dict({"far": spaces.Box(-FAR32, FAR32, (5,), np.float32), "near": spaces.Box(-1.0, 1.0, (1,))}),
}
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))


def layers_of(policy):
    return [(layer.name, [r.start for r in layer.readers]) for net in find_networks(policy) for layer in net.layers]


@pytest.mark.parametrize("cls, actions", [(SAC, BOX), (DQN, DISCRETE), (PPO, BOX), (PPO, DISCRETE)])
@pytest.mark.parametrize("name", FAR)
def test_bounds_may_be_as_far_as_numbers_go(name, cls, actions):
    def policy(space, seed):
        kind = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
        buffer = {} if cls is PPO else {"buffer_size": 10}
        return cls(kind, AnyActionEnv(actions, space), policy_kwargs={"net_arch": [64, 64]}, seed=seed, **buffer).policy

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".*precision lowered.*|.*casting.*")
        expected = layers_of(policy(spaces.Box(-1.0, 1.0, (6,)), 0))
        assert all(layers_of(policy(FAR[name], seed)) == expected for seed in range(3))


def test_observations_are_of_their_space():
    for space in (*FAR.values(), spaces.Box(5e3, 1e5, (3,)), spaces.Box(0, 255, (2, 2), np.uint8), VECTOR):
        policy = type("", (), {"observation_space": space, "device": th.device("cpu")})
        drawn = dummy_pass.observations(policy, (0, 1))
        for part, values in drawn.items() if isinstance(drawn, dict) else [(None, drawn)]:
            box = space[part] if part else space
            assert all(box.contains(value) for value in values.numpy()) and not th.equal(values[0], values[1])
            assert values.abs().max() <= 1e4


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("cls", [NBSPSAC, NBSPPPO])
def test_what_is_held_is_held_over_a_file(cls, tmp_path):
    env = ToyEnv(FAR["float32"])
    env._observe = lambda: np.linspace(-1, 1, 6, dtype=np.float32)  # where an episode stands
    own = {"n_steps": 16, "batch_size": 16} if cls is NBSPPPO else {"learning_starts": 4, "buffer_size": 100}
    model = cls("MlpPolicy", env, policy_kwargs={"net_arch": [64, 64]}, scoring_steps=40, score="activity", **own)
    model.learn(32)
    model.consolidate(env, task="A")
    model.save(tmp_path / "model")
    for _ in range(3):
        loaded = cls.load(tmp_path / "model", env=env)
        assert loaded.neuron_masks.n_held == 1
        assert loaded.neuron_masks.free_share() == model.neuron_masks.free_share() < 1


# Folded objects


@pytest.mark.parametrize("kind", ["moving", "silent", "few values"])
def test_objects_are_told_apart_whatever_the_weights_are(kind):
    def forward(self, x):
        x = (x > 0).float() if kind == "few values" else x
        return self.o(F.relu(self.a(x.reshape(-1, 2))).reshape(len(x), -1))

    for seed in range(50 if kind == "moving" else 5):
        th.manual_seed(seed)
        module = Written(forward, a=nn.Linear(2, 2), o=nn.Linear(8, 1))
        if kind == "silent":
            nn.init.constant_(module.a.bias, -10.0)
        (layer,) = network_of(module, th.zeros(2, 8)).layers
        assert [(steps.outer, steps.inner) for steps in layer.steps] == [(1, 4)]


# No trace


class Running(FlattenExtractor):
    """Statistics of whatever it sees, in any mode."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.register_buffer("mean", th.zeros(self.features_dim))
        self.register_buffer("n", th.zeros(()))

    def forward(self, observations):
        x = super().forward(observations)
        self.n += len(x)
        self.mean = self.mean + (x.mean(dim=0) - self.mean) * len(x) / self.n
        return (x - self.mean) / (1 + self.mean.abs())


RUNNING = {"policy_kwargs": {"features_extractor_class": Running, "net_arch": [8]}}


def test_a_policys_own_statistics_are_not_touched():
    policy = PPO("MlpPolicy", ToyEnv(VECTOR), seed=0, **RUNNING).policy
    inside = [policy.features_extractor.n, policy.features_extractor.mean]
    find_networks(policy)
    assert policy.features_extractor.n is inside[0] and policy.features_extractor.mean is inside[1]
    assert inside[0] == 0 and not inside[1].any()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.id)
def test_with_protection_off_statistics_are_those_of_the_parent(case):
    parents = case.made_parent(**RUNNING).learn(48).policy.state_dict()
    ours = case.made(**case.off, **RUNNING).learn(48).policy.state_dict()
    assert all(th.equal(value, parents[name]) for name, value in ours.items())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("score", ["published", "taylor"])
def test_scoring_leaves_statistics_and_can_still_be_derived(score):
    model = SAC_CASE.made(score=score, **RUNNING).learn(30)
    before = {name: value.clone() for name, value in model.policy.named_buffers()}
    assert model.consolidate(task="east").has_chosen
    assert before and all(th.equal(value, before[name]) for name, value in model.policy.named_buffers())


# Which passes


class WithMembers(ActorCriticPolicy):
    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.actor, self.critic = self.mlp_extractor.policy_net, self.mlp_extractor.value_net


def test_members_called_actor_and_critic_make_no_sac():
    kwargs = {"policy_kwargs": {"net_arch": [8]}}
    policy = PPO(WithMembers, ToyEnv(VECTOR), **kwargs).policy
    assert [net.name for net in find_networks(policy)] == ["policy", "value"]
    assert [len(net.layers) for net in find_networks(policy)] == [1, 1]


class Reordered(nn.Module):
    """Acting alone, its layer's first function is another than in forward()."""

    def __init__(self, n):
        super().__init__()
        self.latent_dim_pi = self.latent_dim_vf = 4
        self.t = nn.Linear(n, 4)

    def forward(self, x):
        hidden = self.t(x)
        value = th.tanh(hidden)
        return F.relu(hidden), value

    def forward_actor(self, x):
        return F.relu(self.t(x))

    def forward_critic(self, x):
        return self.forward_actor(x)


class ReorderedPolicy(ActorCriticPolicy):
    def _build_mlp_extractor(self):
        self.mlp_extractor = Reordered(self.features_dim)


def test_passes_of_acting_and_of_scoring_that_differ_are_told():
    policy = PPO(ReorderedPolicy, ToyEnv(VECTOR)).policy
    with pytest.warns(UserWarning, match=r"mlp_extractor\.t are recorded before"):
        (layer,) = [layer for net in find_networks(policy) for layer in net.layers]
    seen = th.rand(5, 3)
    with th.no_grad(), ActivationRecorder([layer]) as recorder:
        policy.evaluate_actions(seen, th.zeros(5, 2))
    th.testing.assert_close(recorder.activations()["mlp_extractor.t"], policy.mlp_extractor.t(seen).detach())


@pytest.mark.parametrize("arch", [[8], {"pi": [8], "qf": []}])
def test_what_actor_and_critic_share_counts_for_the_critic_too(arch):
    class Linear(FlattenExtractor):
        def __init__(self, space):
            super().__init__(space)
            self.l = nn.Linear(self.features_dim, self.features_dim)

        def forward(self, observations):
            return F.relu(self.l(super().forward(observations)))

    kwargs = {"features_extractor_class": Linear, "share_features_extractor": True, "net_arch": arch}
    model = NBSPSAC("MlpPolicy", ToyEnv(VECTOR), mask_networks="critic", policy_kwargs=kwargs, buffer_size=10)
    shared, *critics = model.protection.networks
    assert [layer.name for layer in shared.layers] == ["actor.features_extractor.l"] and len(critics) == 2
