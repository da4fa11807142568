"""Selection, the result and whole networks, with answers that can be counted by hand."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from helpers.scoring_steps import rollout
from torch import nn

from sb3_nbsp.neurons import SkillNeurons
from sb3_nbsp.neurons.networks import Network, NeuronLayer
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scoring import score_networks, warn_of_silent
from sb3_nbsp.neurons.skill_neurons import LayerSkill, select_top

# Selection


def chosen(scores, fraction, eligible=None) -> dict[str, list[int]]:
    tensors = {name: th.tensor(values) for name, values in scores.items()}
    allowed = None if eligible is None else {name: th.tensor(values) for name, values in eligible.items()}
    return {name: mask.nonzero()[:, 0].tolist() for name, mask in select_top(tensors, fraction, allowed).items()}


@pytest.mark.known_answer
def test_whole_network_is_ranked_together():
    assert chosen({"a": [0.6, 0.5, 0.7], "b": [0.9, 0.8]}, 0.4) == {"a": [], "b": [0, 1]}
    assert chosen({"a": [0.6, 0.5, 0.7], "b": [0.9, 0.8]}, 0.6) == {"a": [2], "b": [0, 1]}


@pytest.mark.known_answer
def test_ties_go_to_the_earlier_neuron():
    assert chosen({"a": [0.5, 0.5, 0.5], "b": [0.5, 0.5, 0.5]}, 0.5) == {"a": [0, 1, 2], "b": []}


@pytest.mark.known_answer
@pytest.mark.parametrize("fraction, n", [(0.0, 0), (0.2, 2), (0.26, 3), (0.99, 10), (1.0, 10)])
def test_fraction_of_all_neurons(fraction, n):
    scores = {"a": th.rand(4), "b": th.rand(6)}
    assert sum(int(mask.sum()) for mask in select_top(scores, fraction).values()) == n


@pytest.mark.known_answer
def test_only_eligible_neurons_are_chosen():
    scores, eligible = {"a": [0.9, 0.8, 0.7, 0.6]}, {"a": [False, True, False, True]}
    assert chosen(scores, 0.25, eligible) == {"a": [1]}
    assert chosen(scores, 0.75, eligible) == {"a": [1, 3]}  # the share counts all neurons, but there are no more


def test_nothing_to_select_from():
    assert select_top({}, 0.2) == {}


# The result


def result(chosen_a=(0, 2), chosen_b=(1,)) -> SkillNeurons:
    layers = {
        "a": LayerSkill("actor", [0.9, 0.5, 0.8], [0.1, 0.0, 0.0], list(chosen_a)),
        "b": LayerSkill("actor", [0.5, 0.7], [1.0, 1.0], list(chosen_b)),
        "c": LayerSkill("critic", [0.5], [0.0], []),
    }
    return SkillNeurons("east", "published", "success", 0.25, 100, layers)


def test_json_round_trip(tmp_path):
    result().save(tmp_path / "new" / "skill.json")
    assert SkillNeurons.load(tmp_path / "new" / "skill.json") == result()
    assert SkillNeurons.from_dict(result().to_dict()) == result()


def test_json_keeps_every_digit(tmp_path):
    scores = th.rand(20).tolist()
    skill = SkillNeurons("t", "published", "reward", 1 / 3, 3, {"a": LayerSkill("actor", scores, scores, [])})
    skill.save(tmp_path / "skill.json")
    assert SkillNeurons.load(tmp_path / "skill.json").layers["a"].scores == scores


@pytest.mark.known_answer
def test_counts():
    assert result().counts() == {
        "actor": {"neurons": 5, "chosen": 3, "silent": 2, "chosen_silent": 1},
        "critic": {"neurons": 1, "chosen": 0, "silent": 1, "chosen_silent": 0},
    }


@pytest.mark.known_answer
def test_chosen_as_a_mask():
    assert result().chosen("a").tolist() == [True, False, True] and result().chosen("c").tolist() == [False]


@pytest.mark.known_answer
def test_overlap():
    assert result().overlap(result()) == 1.0
    assert result().overlap(result(chosen_a=[0], chosen_b=[0])) == 1 / 4  # a0 of a0, a2, b0, b1
    assert result([], []).overlap(result([], [])) == 0.0


def test_table_tells_the_counts():
    lines = result().table().splitlines()
    assert "east" in lines[0] and "25%" in lines[0] and "success" in lines[0] and "100 steps" in lines[0]
    assert lines[2].split() == ["actor", "5", "3", "2", "1"] and lines[3].split() == ["critic", "1", "0", "1", "0"]


# Networks


def linear_case() -> tuple[Network, Network, dict]:
    """loss = w1 a1 + w2 a2 + w3 a3 + w4 a4 on a = relu(x): |a dL/da| = |w x| exactly."""
    activation, critic_activation = nn.ReLU(), nn.ReLU()
    weights = th.tensor([1.0, -4.0, 2.0, 0.0])
    actor = Network("actor", "actor", [NeuronLayer("actor.0", activation, 4, [])])
    critic = Network("critic", "critic", [NeuronLayer("critic.0", critic_activation, 4, [])])

    def loss_of(module):
        def loss(steps, rows, recorder):
            observations = th.as_tensor(steps.observations[rows]).requires_grad_()
            with recorder:
                a = module(observations)
            return (a @ weights).mean()

        return loss

    return actor, critic, {"actor": loss_of(activation), "critic": loss_of(critic_activation)}


def scored(score="published", fraction=0.25, n=8, goal=None, observations=None, select_among="all", seed=0):
    actor, critic, losses = linear_case()
    goal = np.array(goal if goal is not None else [0, 1] * (n // 2), dtype=float)
    if observations is None:
        observations = np.tile(np.float32([1.0, 1.0, 1.0, 0.0]), (n, 1))
        observations[:, 2] = goal
    steps = rollout(goal)
    steps = ScoringSteps(observations, *(getattr(steps, f) for f in list(ScoringSteps.__dataclass_fields__)[1:]))
    return score_networks([actor, critic], steps, losses, "east", score, "reward", fraction, select_among, seed)


@pytest.mark.known_answer
def test_networks_are_scored_and_ranked_by_themselves():
    skill = scored()
    for name in ("actor.0", "critic.0"):
        assert skill.layers[name].scores == [0.5, 0.5, 1.0, 0.5]
        assert skill.layers[name].chosen == [2] and skill.layers[name].active_share == [1.0, 1.0, 0.5, 0.0]
    assert (skill.task, skill.score, skill.goal_metric, skill.good_share, skill.n_steps) == (
        *("east", "published", "reward"),
        0.5,
        8,
    )


@pytest.mark.known_answer
def test_taylor_on_a_linear_case():
    # |w a| = 1, 4, 2 * 0.5 (ties with the first in the mean: the later ranks higher), 0
    assert scored("taylor").layers["actor.0"].scores == pytest.approx([0.5 + 1 / 6, 1.0, 0.5 + 2 / 6, 0.5])


def test_loss_change_is_a_finite_difference():
    """|a dL/da| is what the loss of the step changes by, to first order, when the neuron is taken away."""
    from sb3_nbsp.neurons.scoring import run_networks

    th.manual_seed(0)
    hidden, activation, output = nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)
    network = Network("actor", "actor", [NeuronLayer("h", activation, 5, [])])
    observations = np.random.default_rng(0).normal(size=(2100, 3)).astype(np.float32)  # three batches

    def step_losses(keep):
        return output(activation(hidden(th.as_tensor(observations))) * keep)[:, 0] ** 2

    def loss(steps, rows, recorder):
        with recorder:
            a = activation(hidden(th.as_tensor(observations[rows])))
        return (output(a)[:, 0] ** 2).mean()

    _, changes = run_networks([network], SimpleNamespace(rewards=np.zeros(2100)), {"actor": loss}, with_gradients=True)
    keep, small = th.ones(5), 1e-2
    for neuron in range(5):
        keep[neuron] = 1 - small
        lower = step_losses(keep)
        keep[neuron] = 1 + small
        difference = (step_losses(keep) - lower) / (2 * small)
        keep[neuron] = 1
        th.testing.assert_close(changes["h"][:, neuron], difference.abs().detach(), atol=1e-3, rtol=1e-2)


def test_taylor_for_networks_without_hidden_layers():
    """net_arch=dict(pi=[], qf=[16]) has a linear actor."""
    _, critic, losses = linear_case()
    observations = np.ones((4, 4), dtype=np.float32)
    steps = rollout([0, 1, 0, 1])
    steps = ScoringSteps(observations, *(getattr(steps, f) for f in list(ScoringSteps.__dataclass_fields__)[1:]))
    networks = [Network("actor", "actor"), critic]
    skill = score_networks(networks, steps, losses, "east", "taylor", "reward", 0.25, "all")
    assert skill.layers["critic.0"].chosen == [1]


@pytest.mark.known_answer
def test_silent_neurons_are_not_chosen_among_the_active():
    goal = [0.0] + [1.0] * 7
    assert scored(goal=goal, fraction=1.0, select_among="active").layers["actor.0"].chosen == [0, 1, 2]
    assert scored(goal=goal, fraction=1.0, select_among="all").layers["actor.0"].chosen == [0, 1, 2, 3]


def test_a_constant_goal_holds_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        skill = scored(goal=[1.0] * 8)
    assert skill.layers["actor.0"].chosen == [] and skill.good_share == 0.0


def test_random_control_repeats_with_its_seed():
    assert scored("random", seed=4) == scored("random", seed=4)
    assert len({tuple(scored("random", seed=s).layers["actor.0"].scores) for s in range(8)}) > 1


@pytest.mark.known_answer
def test_many_steps_are_scored_in_batches():
    skill = scored(n=3000)
    assert skill.n_steps == 3000 and skill.layers["actor.0"].scores == [0.5, 0.5, 1.0, 0.5]


@pytest.mark.parametrize("score, n_silent", [("published", 0), ("published", 1), ("published", 2), ("corrected", 2)])
def test_silent_neurons_among_the_chosen_are_told(score, n_silent):
    """One good step in ten: the published score takes what never fires before what fires at half of the steps."""
    goal = [0.0] * 9 + [1.0]
    observations = np.zeros((10, 4), dtype=np.float32)
    observations[::2, n_silent:] = 1.0
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        skill = scored(score, 0.5, goal=goal, observations=observations)
        warn_of_silent(skill)
    assert skill.share("chosen_silent", "chosen") == (n_silent / 2 if score == "published" else 0)
    expected = ["100% of the neurons chosen for east put out 0 on all 10 scored steps (10.0% of them good)"]
    assert [str(w.message)[: len(expected[0])] for w in told] == (expected if (score, n_silent) == ("published", 2) else [])


@pytest.mark.parametrize("n", [1, 2])
def test_a_share_of_very_few_neurons_is_one(n):
    assert select_top({"layer": th.linspace(0.5, 1, n)}, 0.2)["layer"].sum() == 1
    assert select_top({"layer": th.linspace(0.5, 1, n)}, 0.0)["layer"].sum() == 0
