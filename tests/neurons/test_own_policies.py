"""Policies of one's own: their maps, what is held of them, what their neurons do, and what no mask holds."""

import warnings

import pytest
import torch as th
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE
from helpers.own_policies import Conv1dExtractor, DuelingPolicy, OwnExtractorPolicy, SimBa, WithLayer
from helpers.sac_models import held_positions, values_at
from stable_baselines3 import SAC
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import nn
from torch.nn import functional as F

from sb3_nbsp import NBSPSAC
from sb3_nbsp.neurons import ActivationRecorder, find_networks, networks
from sb3_nbsp.probe.silencing import silenced
from sb3_nbsp.protection.masks import NeuronMasks

FROZEN = {"select_among": "all", "mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True}
OWN = {
    "dueling": (DQN_CASE, DuelingPolicy, {}),
    "own-mlp-extractor": (PPO_CASE, OwnExtractorPolicy, {}),
    "conv1d-sac": (SAC_CASE, "MlpPolicy", {"features_extractor_class": Conv1dExtractor}),
    "conv1d-dqn": (DQN_CASE, "MlpPolicy", {"features_extractor_class": Conv1dExtractor}),
    "simba": (SAC_CASE, "MlpPolicy", {"features_extractor_class": SimBa}),
}
own = pytest.mark.parametrize("name", OWN)
quiet = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


def made(name, env=None, **kwargs):
    case, policy, policy_kwargs = OWN[name]
    return case.made(env, policy=policy, policy_kwargs=policy_kwargs, **kwargs)


def layers_of(model):
    return {layer.name: layer for network in find_networks(model.policy) for layer in network.layers}


def readers(model, layer):
    names = {id(p): name for name, p in model.policy.named_parameters()}
    return [(names[id(r.parameter)].removesuffix(".weight"), r.start, r.span) for r in layers_of(model)[layer].readers]


def test_a_dueling_net():
    (network,) = find_networks(made("dueling").policy)
    sizes = {"q_net.trunk": 6, "q_net.value_hidden": 5, "q_net.advantage_hidden": 4}
    assert {layer.name: layer.n_neurons for layer in network.layers} == sizes and len(network.output_biases) == 2
    assert readers(made("dueling"), "q_net.trunk") == [("q_net.value_hidden", 0, 1), ("q_net.advantage_hidden", 0, 1)]
    assert readers(made("dueling"), "q_net.advantage_hidden") == [("q_net.advantage", 0, 1)]


def test_an_own_mlp_extractor():
    model = made("own-mlp-extractor")
    found = {network.name: (network.part, [layer.name for layer in network.layers]) for network in find_networks(model.policy)}
    assert found == {
        "mlp_extractor": ("shared", ["mlp_extractor.trunk"]),
        "policy": ("actor", ["mlp_extractor.pi"]),
        "value": ("critic", ["mlp_extractor.vf"]),
    }
    assert readers(model, "mlp_extractor.trunk") == [("mlp_extractor.pi", 0, 1), ("mlp_extractor.vf", 0, 1)]
    assert readers(model, "mlp_extractor.vf") == [("value_net", 0, 1)]


def test_channels_of_a_series_span_its_steps():
    model = made("conv1d-sac")
    assert readers(model, "actor.features_extractor.first") == [("actor.features_extractor.second", 0, 1)]
    assert readers(model, "actor.features_extractor.second") == [("actor.latent_pi.0", 0, 3)]  # 6 inputs, 4, then 3 steps
    assert readers(model, "critic.features_extractor.second") == [("critic.qf0.0", 0, 3), ("critic.qf1.0", 0, 3)]


def test_what_is_added_into_a_stream_is_read_by_whatever_reads_the_stream():
    model, prefix = made("simba"), "actor.features_extractor"
    inner, last = [(f"{prefix}.inner.{i}", 0, 1) for i in range(2)], [("actor.latent_pi.0", 0, 1)]
    assert readers(model, f"{prefix}.embed") == [*inner, *last]
    assert readers(model, f"{prefix}.outer.0") == [inner[1], *last]
    assert readers(model, f"{prefix}.outer.1") == last
    assert readers(model, f"{prefix}.inner.0") == [(f"{prefix}.outer.0", 0, 1)]


@pytest.mark.known_answer
def test_a_held_neuron_of_a_stream():
    """Held are its row, the entries of the norms that scale it, and the columns that read it; nothing else."""
    model = made("simba", mask_networks="actor")
    masks = NeuronMasks(find_networks(model.policy), sides="both")
    masks.hold(0, {"actor.features_extractor.outer.0": th.tensor([1.0, 1.0, 0.0, 1.0, 1.0])})
    names = {p: name.removeprefix("actor.") for name, p in model.policy.named_parameters()}
    held = {names[p]: (values == 0).nonzero().tolist() for p, values in masks.parameter_factors().items()}
    norm = {f"features_extractor.{n}.{p}": [[2]] for n in ("norms.1", "last") for p in ("weight", "bias")}
    assert held == {
        **norm,
        "features_extractor.outer.0.weight": [[2, i] for i in range(20)],
        "features_extractor.outer.0.bias": [[2]],
        "features_extractor.inner.1.weight": [[i, 2] for i in range(20)],
        "latent_pi.0.weight": [[i, 2] for i in range(8)],
    }


@own
@quiet
@pytest.mark.filterwarnings("error:Parts of this policy")
def test_all_of_it_stays_if_all_neurons_are_held(name):
    model = made(name, skill_fraction=1.0, **FROZEN).learn(80)
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters() if "target" not in n and n != "log_std"}
    model.learn(80, reset_num_timesteps=False)
    parameters = dict(model.policy.named_parameters())
    assert model.learned_tasks == ["east", "west"]
    assert [n for n, p in before.items() if not th.equal(parameters[n], p)] == []


@own
@quiet
def test_entries_of_skill_neurons_stay_and_others_do_not(name):
    model = made(name, skill_fraction=0.3, score="activity", **FROZEN).learn(64)
    assert model.learned_tasks == ["east"]
    positions = held_positions(model)
    before, everything = values_at(model, positions), {n: p.detach().clone() for n, p in model.policy.named_parameters()}
    assert len(positions) > 4
    model.learn(56, reset_num_timesteps=False)
    after = values_at(model, positions)
    assert all(th.equal(after[n], before[n]) for n in positions)
    free = {n: ~positions[n] for n in positions}
    assert any(not th.equal(p[free[n]], everything[n][free[n]]) for n, p in model.policy.named_parameters() if n in free)


@own
@quiet
@pytest.mark.parametrize("n_envs", [1, 4])
def test_held_entries_stay_over_a_file_and_with_several_envs(name, n_envs, tmp_path):
    case = OWN[name][0]
    model = made(name, env=case.sequence_env(n_envs), skill_fraction=0.5, score="activity", **FROZEN).learn(72)
    model.save(tmp_path / "model")
    held, before = held_positions(model), values_at(model, held_positions(model))
    loaded = case.cls.load(tmp_path / "model", env=case.sequence_env(n_envs))
    assert held_positions(loaded).keys() == held.keys()
    loaded.learn(40, reset_num_timesteps=False)
    after = values_at(loaded, held)
    assert all(th.equal(after[n], before[n]) for n in held)


@own
@quiet
def test_gradients_of_activations_are_scored(name):
    model = made(name, score="taylor").learn(70)
    scores = model.skill_neurons["east"].layers
    assert set(scores) == set(layers_of(model)) and all(len(set(layer.scores)) > 1 for layer in scores.values())


# Known answers


@pytest.mark.known_answer
def test_activations_of_a_dueling_net():
    model = made("dueling")
    net, seen = model.q_net, th.tensor([[1.0, -2.0, 0.0, 3.0, 1.0, 0.0], [0.0, 1.0, 1.0, -1.0, 0.0, 1.0]])
    for i, layer in enumerate((net.trunk, net.value_hidden, net.advantage_hidden)):
        th.nn.init.zeros_(layer.weight)
        th.nn.init.constant_(layer.bias, -0.5 * i)
        layer.weight.data[:4, :4] = th.eye(4)
    with ActivationRecorder(layers_of(model).values()) as recorder:
        net(seen)
    recorded = recorder.activations()
    trunk = th.tensor([[1.0, 0.0, 0.0, 3.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    th.testing.assert_close(recorded["q_net.trunk"], trunk)
    th.testing.assert_close(recorded["q_net.value_hidden"], th.tensor([[0.5, 0.0, 0.0, 2.5, 0.0], [0.0, 0.5, 0.5, 0.0, 0.0]]))
    th.testing.assert_close(recorded["q_net.advantage_hidden"], (trunk[:, :4] - 1.0).tanh())


@pytest.mark.known_answer
def test_activations_of_residual_blocks():
    """A stream neuron's activation is what it adds, not the stream."""
    model = made("simba")
    net, seen = model.actor.features_extractor, th.rand(4, 6)
    for norm in (*net.norms, net.last):
        norm.weight.data.uniform_(0.5, 2.0)
    embed = seen @ net.embed.weight.T + net.embed.bias
    inner = th.relu(
        F.layer_norm(embed, (5,), net.norms[0].weight, net.norms[0].bias) @ net.inner[0].weight.T + net.inner[0].bias
    )
    outer = inner @ net.outer[0].weight.T + net.outer[0].bias
    with ActivationRecorder(layers_of(model).values()) as recorder:
        model.actor(seen)
    recorded = {name.removeprefix("actor.features_extractor."): value for name, value in recorder.activations().items()}
    for name, expected in {"embed": embed, "inner.0": inner, "outer.0": outer}.items():
        th.testing.assert_close(recorded[name], expected.detach())


def outputs(model, seen):
    with th.no_grad():
        if hasattr(model, "q_net"):
            return model.q_net(seen)
        if hasattr(model, "actor"):
            return th.cat([*model.actor.get_action_dist_params(seen)[:2], *model.critic(seen, th.ones(len(seen), 2))], 1)
        return th.cat([model.policy.get_distribution(seen).distribution.mean, model.policy.predict_values(seen)], 1)


@pytest.mark.parametrize("name", ["dueling", "own-mlp-extractor", "conv1d-sac", "conv1d-dqn"])
def test_a_neuron_is_heard_through_its_readers_only(name):
    model, seen = made(name), th.rand(5, 6)
    for layer in layers_of(model).values():
        for parameter in layer.own:
            parameter.data.add_(0.3)  # none is silent
        mask = th.zeros(layer.n_neurons, dtype=th.bool)
        mask[1] = True
        whole = outputs(model, seen)
        with silenced([layer], {layer.name: mask}):
            without = outputs(model, seen)
        assert not th.equal(without, whole), layer.name
        for reader in layer.readers:
            reader.parameter.data.index_fill_(reader.dim, reader.indices(th.tensor([1])), 0.0)
        th.testing.assert_close(outputs(model, seen), without)


# What no mask holds

UNKNOWN = {"gru": "GRUCell", "bilinear": "Bilinear", "attention": "MultiheadAttention"}


@quiet
@pytest.mark.parametrize("case", [SAC_CASE, DQN_CASE, PPO_CASE], ids=lambda case: case.id)
@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_is_not_understood_is_named_once_and_learned(kind, case):
    policy_kwargs = {"features_extractor_class": WithLayer, "features_extractor_kwargs": {"kind": kind}}
    with pytest.warns(UserWarning, match=f"Parts of this policy.*: {UNKNOWN[kind]} .*features_extractor.layer") as told:
        model = case.made(policy_kwargs=policy_kwargs, skill_fraction=1.0, **FROZEN)
    (warning,) = [str(w.message) for w in told if "Parts of this policy" in str(w.message)]
    assert "latent_pi" not in warning and "q_net.q_net" not in warning and "net.0" not in warning
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters() if "features_extractor.layer" in n}
    model.learn(130)
    assert model.learned_tasks == ["east", "west"]
    assert any(not th.equal(p, before[n]) for n, p in model.policy.named_parameters() if n in before)


@pytest.mark.parametrize("case", [SAC_CASE, DQN_CASE, PPO_CASE], ids=lambda case: case.id)
def test_a_linear_policy_is_named(case):
    with pytest.warns(UserWarning, match="Parts of this policy are neither scored nor protected: .*(mu|q_net.0|action_net)"):
        case.made(net_arch=[])


class FailsFirst(FlattenExtractor):
    n_calls = 0

    def forward(self, observations):
        type(self).n_calls += 1
        if type(self).n_calls == 1:
            raise RuntimeError("not yet")
        return super().forward(observations)


@quiet
def test_a_policy_that_cannot_be_read_is_learned_where_nothing_shall_be_held():
    kwargs = {"policy_kwargs": {"features_extractor_class": FailsFirst}}
    with pytest.warns(UserWarning, match=r"could not be run on a sample .*\(RuntimeError: not yet\)"):
        model = SAC_CASE.made(skill_fraction=0, **kwargs)
    assert model.learn(130).learned_tasks == ["east", "west"]
    FailsFirst.n_calls = 0
    with pytest.warns(UserWarning, match="not yet"), pytest.raises(ValueError, match=r"can be found.*skill_fraction=0"):
        SAC_CASE.made(**kwargs)


@quiet
@pytest.mark.parametrize("case", [SAC_CASE, PPO_CASE], ids=lambda case: case.id)
def test_a_file_whose_policy_cannot_be_read_predicts_and_does_not_learn(case, monkeypatch, tmp_path):
    case.made().save(tmp_path / "model")
    monkeypatch.setattr(networks, "place_steps", lambda *_: [][0])
    with pytest.warns(UserWarning, match="could be run, but not read"):
        model = case.cls.load(tmp_path / "model", env=case.sequence_env())
    model.predict(model.observation_space.sample())
    for train in (lambda: model.learn(20), lambda: model.consolidate(task="A")):
        with pytest.raises(ValueError, match=r"can be found.*skill_fraction=0"):
            train()
    assert model.num_timesteps == 0 and model.learned_tasks == []
    with pytest.warns(UserWarning, match="could be run, but not read"), pytest.raises(ValueError, match="can be found"):
        case.cls.from_sb3(case.made_parent())


def test_what_fails_in_the_map_is_no_forward_pass_and_stops_nobody_who_holds_nothing(monkeypatch):
    monkeypatch.setattr(networks, "place_steps", lambda *_: [][0])
    with pytest.warns(UserWarning, match=r"could be run, but not read .*\(IndexError"):
        SAC_CASE.made(skill_fraction=0)
    with pytest.warns(UserWarning, match="IndexError"), pytest.raises(ValueError, match=r"can be found.*skill_fraction=0"):
        SAC_CASE.made()


class Lazy(BaseFeaturesExtractor):
    """Its weights are made in the first forward pass."""

    def __init__(self, space):
        super().__init__(space, 8)
        self.lazy = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d())

    def forward(self, observations):
        return self.lazy(observations.flatten(1))


def test_lazy_layers_are_left_alone_and_learn_as_in_sb3():
    kwargs = {"policy_kwargs": {"features_extractor_class": Lazy}, "seed": 0, "learning_starts": 20, "device": "cpu"}
    theirs = SAC("MlpPolicy", "Pendulum-v1", **kwargs).learn(30)
    with pytest.warns(UserWarning, match="has lazy layers"):
        ours = NBSPSAC("MlpPolicy", "Pendulum-v1", skill_fraction=0, memory_size=0, fast_update=False, **kwargs).learn(30)
    assert all(map(th.equal, theirs.policy.parameters(), ours.policy.parameters()))


class OnlyItsOwnActions(ActorCriticPolicy):
    """What is asked for actions that it cannot have taken is a mistake."""

    def evaluate_actions(self, obs, actions):
        if (actions == actions[0]).all():
            raise ValueError("these were never drawn")
        return super().evaluate_actions(obs, actions)


def test_a_policy_that_refuses_made_up_actions_is_read():
    model = PPO_CASE.made(policy=OnlyItsOwnActions)
    assert [layer.name for net in model.protection.masks.networks for layer in net.layers] == [
        layer.name for net in PPO_CASE.made().protection.masks.networks for layer in net.layers
    ]


@pytest.mark.parametrize("name", ["dueling", "own-mlp-extractor"])
def test_task_gates_refuse_what_is_no_plain_chain(name):
    case, policy, _ = OWN[name]
    with pytest.raises(ValueError, match="task_gates=True needs networks of linear layers with biases and ReLU, got another"):
        case.made(case.sequence_env(task_id=True), policy=policy, task_gates=True)


def test_policies_of_sb3_are_held_as_a_whole():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in (SAC_CASE, DQN_CASE, PPO_CASE):
            case.made()
