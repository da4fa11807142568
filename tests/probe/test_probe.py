"""Silencing neurons, the diagnostics of plasticity, and the study that puts them together."""

import json
from dataclasses import replace

import pytest
import torch as th
from gymnasium import spaces
from helpers import IMAGE, NBSP_SETTINGS, VECTOR, ToyEnv, copied, same, sequence_env, task_env
from helpers.cases import DQN_CASE, PPO_CASE, QRDQN_CASE, TQC_CASE, on_cases
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.neurons.layers import NeuronLayer
from sb3_nbsp.neurons.networks import find_networks
from sb3_nbsp.probe import dormant_share, effective_rank, probe_model, silenced, study
from sb3_nbsp.probe.plasticity import weight_norm
from sb3_nbsp.probe.probe_report import plot_probe, probe_table
from sb3_nbsp.probe.probes_file import load_probes, save_probes
from sb3_nbsp.probe.silencing import acting_networks, lowest, random_like

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def layers_of(model):
    return {layer.name: layer for network in find_networks(model.policy) for layer in network.layers}


def test_silenced_neurons_are_zero_and_come_back():
    model = SAC("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [4, 3]})
    layers = layers_of(model)
    mask = th.tensor([True, False, False, True])
    x = th.rand(5, 3) - 0.5
    whole = model.actor.latent_pi[1](model.actor.latent_pi[0](x))
    with silenced(layers.values(), {"actor.latent_pi.0": mask}):
        lesioned = model.actor.latent_pi[1](model.actor.latent_pi[0](x))
        assert (lesioned[:, mask] == 0).all() and th.equal(lesioned[:, ~mask], whole[:, ~mask])
    assert th.equal(model.actor.latent_pi[1](model.actor.latent_pi[0](x)), whole)


def test_silencing_what_carries_an_output_removes_it():
    model = PPO("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [2]})
    with th.no_grad():
        model.policy.action_net.weight.copy_(th.tensor([[1.0, 0.0], [0.0, 1.0]]))
        model.policy.action_net.bias.zero_()
    observation = VECTOR.sample()
    both = model.policy.predict(observation, deterministic=True)[0]
    with silenced(layers_of(model).values(), {"mlp_extractor.policy_net.0": th.tensor([True, False])}):
        one = model.policy.predict(observation, deterministic=True)[0]
    assert one[0] == 0 and one[1] == both[1] != 0 != both[0]


def test_whole_channels_are_silenced():
    model = DQN("CnnPolicy", make_vec_env(lambda: discrete(IMAGE), 1), buffer_size=10)
    mask = th.zeros(32, dtype=th.bool)
    mask[3] = True
    cnn = model.q_net.features_extractor.cnn
    with silenced(layers_of(model).values(), {"q_net.features_extractor.0.0": mask}):
        output = cnn[1](cnn[0](th.rand(2, 1, 36, 36)))
    assert (output[:, 3] == 0).all() and (output[:, [0, 1, 2, 4]] != 0).any()


def discrete(space):
    env = ToyEnv(space)
    env.action_space = spaces.Discrete(2)
    return env


class Tokens(BaseFeaturesExtractor):
    """Each entry of a vector through one layer: neurons stand in the last dimension, [batch, entries, 4]."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 12)
        self.layer, self.relu = th.nn.Linear(1, 4), th.nn.ReLU()

    def forward(self, observations):
        return self.relu(self.layer(observations.unsqueeze(-1))).flatten(1)


def test_neurons_of_tokens_are_silenced_in_every_token():
    model = SAC("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"features_extractor_class": Tokens, "net_arch": [3]})
    extractor = model.actor.features_extractor
    with th.no_grad():
        extractor.layer.bias.fill_(9.0)
    (name,) = [name for name in layers_of(model) if name.startswith("actor.features_extractor")]
    x = th.rand(5, 3)
    whole = extractor(x).reshape(5, 3, 4)
    with silenced(layers_of(model).values(), {name: th.tensor([False, False, True, False])}):
        lesioned = extractor(x).reshape(5, 3, 4)
    assert (lesioned[..., 2] == 0).all() and (whole != 0).all()
    assert th.equal(lesioned[..., [0, 1, 3]], whole[..., [0, 1, 3]])


@pytest.mark.known_answer
def test_where_neurons_stand_is_the_reverse_of_per_neuron():
    chosen = th.tensor([True, False, True])
    for shape, axis in (((2, 3), 1), ((2, 3), -1), ((2, 3, 4, 5), 1), ((2, 4, 3), -1), ((3, 3, 3), 2), ((3, 3, 3), 1)):
        layer = NeuronLayer("layer", nn.Identity(), 3, [], axis=axis)
        spread = layer.where(chosen, th.zeros(shape)).expand(shape).double()
        assert th.equal(layer.per_neuron(spread), chosen.double().expand(shape[0], 3))


@pytest.mark.parametrize("name, n_neurons", [("nowhere", 4), ("actor.latent_pi.0", 5)])
def test_masks_that_fit_no_layer_are_refused(name, n_neurons):
    model = SAC("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [4, 3]})
    with pytest.raises(ValueError, match=r"Expected a mask over the neurons of one of actor\.latent_pi\.0 \(4\)"):
        silenced(layers_of(model).values(), {name: th.zeros(n_neurons, dtype=th.bool)}).__enter__()


def test_choosing_as_many_neurons():
    chosen = {"a": th.tensor([True, False, True]), "b": th.tensor([True, False])}
    scores = {"a": th.tensor([0.9, 0.1, 0.8]), "b": th.tensor([0.7, 0.2])}
    assert same(lowest(scores, chosen), {"a": th.tensor([False, True, False]), "b": th.tensor([True, True])})
    draws = [random_like(chosen, th.Generator().manual_seed(seed)) for seed in range(20)]
    assert all(sum(int(mask.sum()) for mask in draw.values()) == 3 for draw in draws)
    assert len({tuple(th.cat(list(draw.values())).tolist()) for draw in draws}) > 3
    among = {"a": th.tensor([True, True, False]), "b": th.tensor([True, True])}
    draws = [random_like(chosen, th.Generator().manual_seed(seed), among) for seed in range(20)]
    assert all(sum(int(mask.sum()) for mask in draw.values()) == 3 and not draw["a"][2] for draw in draws)
    assert len({tuple(th.cat(list(draw.values())).tolist()) for draw in draws}) > 3


@pytest.mark.parametrize(
    "cls, names", [(SAC, ["actor"]), (PPO, ["policy", "value"][:1]), (DQN, ["q_net"])], ids=["sac", "ppo", "dqn"]
)
def test_acting_networks(cls, names):
    env = discrete(VECTOR) if cls is DQN else ToyEnv(VECTOR)
    assert [network.name for network in acting_networks(find_networks(cls("MlpPolicy", env).policy))] == names


# Plasticity


@pytest.mark.known_answer
def test_dormant_share():
    activations = th.tensor([[1.0, 0.0, 0.02, -1.0], [3.0, 0.0, 0.02, 1.0]])  # means 2, 0, 0.02, 1; average 0.755
    assert dormant_share(activations) == 0.25
    assert dormant_share(activations, threshold=0.03) == 0.5
    assert dormant_share(th.zeros(3, 4)) == 1.0


@pytest.mark.known_answer
def test_effective_rank():
    assert effective_rank(th.diag(th.tensor([10.0, 5.0, 1.0, 0.001]))) == 3  # 15 / 16.001 < 0.99 <= 16 / 16.001
    assert effective_rank(th.ones(7, 4)) == 1 and effective_rank(th.zeros(7, 4)) == 0
    assert effective_rank(th.eye(4)) == 4


@pytest.mark.known_answer
def test_weight_norm():
    model = SAC("MlpPolicy", ToyEnv(VECTOR), policy_kwargs={"net_arch": [2]})
    actor = find_networks(model.policy)[0]
    with th.no_grad():
        model.actor.latent_pi[0].weight.fill_(3.0)  # six of them
        model.actor.latent_pi[0].bias.fill_(0.0)  # two
    assert weight_norm(actor) == pytest.approx((9 * 6 / 8) ** 0.5)


# The study

KINDS = ("skill neurons", "random", "random active", "lowest scores")


@pytest.fixture(scope="module")
def trained():
    return NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS).learn(130)


@pytest.fixture(scope="module")
def probe(trained):
    return probe_model(trained, sequence_env(), n_eval_episodes=2, seed=3)


def test_every_lesion_is_judged_on_every_task(probe):
    kinds = [(task, kind) for task in ("east", "west") for kind in KINDS]
    assert set(probe.performance) == {("", "none"), *kinds}
    assert all(set(values) == {"east", "west"} for values in probe.performance.values())
    assert probe.measure == "success rate" and probe.n_eval_episodes == 2
    assert probe.lesions["east"]["silenced"] == 3  # a fifth of 16
    assert set(probe.diagnostics) == {"actor", "critic.qf0", "critic.qf1"}
    assert 0 <= probe.diagnostics["actor"]["dormant share"] <= 1 and probe.diagnostics["actor"]["weight norm"] > 0
    assert set(probe.task_overlap) == {("east", "west")} and set(probe.seed_overlap) == {"east", "west"}
    assert probe.chance_overlap == pytest.approx(0.2 / 1.8)


def test_probing_leaves_the_model_alone(trained):
    before = copied(trained.policy.state_dict()), th.get_rng_state(), dict(trained.skill_neuron_records)
    probe_model(trained, sequence_env(), n_eval_episodes=1, rescore=True)
    assert same((trained.policy.state_dict(), th.get_rng_state()), before[:2])
    assert trained.skill_neuron_records == before[2] and trained.learned_tasks == ["east", "west"]
    assert not any(module._forward_hooks for module in trained.policy.modules())


def test_table_picture_and_file(probe, tmp_path):
    table = probe_table(probe)
    assert "skill neurons of east" in table and "east and west" in table and "critic.qf1" in table
    plot_probe(probe, path=tmp_path / "probe.png")
    assert (tmp_path / "probe.png").stat().st_size > 10_000
    probe.save(tmp_path / "probe.json")
    saved = json.loads((tmp_path / "probe.json").read_text())
    assert ["east", "skill neurons", probe.performance["east", "skill neurons"]] in saved["performance"]
    save_probes([probe, probe], tmp_path / "probes.json")
    assert load_probes(tmp_path / "probes.json") == [probe, probe] and load_probes(tmp_path / "probe.json") == [probe]
    (tmp_path / "other.json").write_text('{"performance": []}')
    with pytest.raises(ValueError, match="Expected a file that `sb3-nbsp probe` wrote"):
        load_probes(tmp_path / "other.json")


def test_names_of_tasks_may_hold_what_stood_between_them_in_earlier_files(probe, tmp_path):
    named = replace(probe, task_overlap={("a / b", "c"): 0.5, ("a", "b / c"): 0.2})
    named.save(tmp_path / "probe.json")
    assert load_probes(tmp_path / "probe.json") == [named]
    earlier = {
        name: {" / ".join(pair): value for pair, value in getattr(probe, name).items()}
        for name in ("performance", "task_overlap")
    }
    (tmp_path / "earlier.json").write_text(json.dumps({**probe.to_dict(), **earlier}))
    assert load_probes(tmp_path / "earlier.json") == [probe]


@pytest.mark.parametrize("name", ["performance", "task_overlap"])
def test_a_key_of_an_earlier_file_that_is_no_pair_is_refused(name, probe, tmp_path):
    (tmp_path / "earlier.json").write_text(json.dumps({**probe.to_dict(), name: {"east / west": 0.5, "eastwest": 0.1}}))
    with pytest.raises(ValueError, match=r"Expected a file that `sb3-nbsp probe` wrote.*'eastwest'"):
        load_probes(tmp_path / "earlier.json")


def test_a_task_that_told_success_in_its_run_is_probed_in_success(trained, monkeypatch):
    def evaluate(self, model):
        return {"east": 1.0, "west": None}, {"east": 3.0, "west": -200.0}

    monkeypatch.setattr(study.TaskEvaluator, "evaluate", evaluate)
    one = probe_model(trained, sequence_env(), 1, rescore=False)
    other = probe_model(trained, sequence_env(), 1, rescore=False, telling={"east", "west"})
    assert (one.measure, one.performance["", "none"]) == ("mean return", {"east": 3.0, "west": -200.0})
    assert (other.measure, other.performance["", "none"]) == ("success rate", {"east": 1.0, "west": 0.0})


@pytest.mark.known_answer
def test_several_runs_are_averaged(probe, tmp_path):
    whole = {"east": 1.0, "west": 0.0}
    other, third = (
        replace(
            probe,
            performance={**{key: {"east": value, "west": value} for key in probe.performance}, ("", "none"): whole},
            lesions={task: {"silenced": 3, "silent anyway": silent} for task in ("east", "west")},
            task_overlap={("east", "west"): value},
        )
        for value, silent in ((0.25, 1), (0.75, 2))
    )
    lines = [line for line in probe_table(other, third).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    own = {row[0]: row[1] for row in cells if len(row) == 2}
    assert own.items() >= {"none": "0.50 [0.50, 0.50]", **dict.fromkeys(KINDS, "0.50 [0.25, 0.75]")}.items()
    rows = {row[0]: row[1:] for row in cells if len(row) == 4}
    assert rows["none"][1:] == ["1.00 [1.00, 1.00]", "0.00 [0.00, 0.00]"]
    assert rows["skill neurons of west"] == ["3 (1.5 silent anyway)", *["0.50 [0.25, 0.75]"] * 2]
    assert rows["random active of west"][0] == "1.5" and rows["random of west"][0] == "3"
    plot_probe(other, third, path=tmp_path / "probe.png")
    assert (tmp_path / "probe.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="one sequence"):
        probe_table(other, replace(third, seed_overlap={}))
    for name, value in (("measure", "mean return"), ("n_eval_episodes", 5), ("chance_overlap", 0.3)):
        with pytest.raises(ValueError, match=f"can be averaged, their {name} is .* in one and {value!r} in another"):
            probe_table(other, replace(third, **{name: value}))
    with pytest.raises(ValueError, match="at least one"):
        probe_table()
    nothing_silenced = replace(probe, performance={("", "none"): whole}, lesions={})  # e.g. mask_networks="critic"
    assert "whose scores chose them" not in probe_table(nothing_silenced) and "whose scores chose them" in probe_table(probe)


@on_cases(TQC_CASE, DQN_CASE, QRDQN_CASE, PPO_CASE)
def test_other_algorithms(case):
    model = case.made(scoring_steps=30, memory_size=20).learn(70)
    probe = probe_model(model, case.sequence_env(), n_eval_episodes=1, rescore=False)
    assert ("east", "skill neurons") in probe.performance and probe.seed_overlap == {}


@pytest.fixture
def diagnosed(monkeypatch):
    """The tasks that the diagnostics were made in."""
    tasks = []
    monkeypatch.setattr(study, "_diagnostics", lambda model, env, task, seed: tasks.append(task) or {})
    return tasks


def test_plasticity_is_that_in_the_task_whose_visit_ended_last(diagnosed, tmp_path):
    order = {"order": ("east", "west", "east"), "cycles": 1, "steps": 40}
    model = NBSPSAC("MlpPolicy", sequence_env(**order), **NBSP_SETTINGS).learn(90)
    probe_model(model, sequence_env(**order), n_eval_episodes=1, rescore=False)  # in the middle of east's second visit
    model.learn(30, reset_num_timesteps=False)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=sequence_env(**order))
    for finished in (model, loaded):
        probe_model(finished, sequence_env(**order), n_eval_episodes=1, rescore=False)
    assert diagnosed == ["west", "east", "east"] and model.learned_tasks == ["east", "west"]


def test_plasticity_is_that_in_a_task_of_the_env(trained, diagnosed, tmp_path):
    """Also where another task was learned by hand, after the sequence."""
    trained.save(tmp_path / "model")
    model = NBSPSAC.load(tmp_path / "model", env=task_env())
    model.consolidate(task_env(), task="own")
    probe_model(model, sequence_env(), n_eval_episodes=1, rescore=False)
    assert diagnosed == ["west"] and model.learned_tasks == ["east", "west", "own"]


def test_a_model_without_scores_is_refused():
    model = NBSPSAC("MlpPolicy", sequence_env(), **{**NBSP_SETTINGS, "skill_fraction": 0.0}).learn(70)
    with pytest.raises(ValueError, match="has skill neurons of no task, the env goes through"):
        probe_model(model, sequence_env(), 1)


def test_scoring_again_repeats_what_consolidation_found():
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS).learn(40)
    one, other = (model.score_neurons(task_env(), "east", seed) for seed in (4, 5))
    assert one == model.score_neurons(task_env(), "east", 4) != other
    assert model.learned_tasks == [] and not model.actor.optimizer.is_masking
