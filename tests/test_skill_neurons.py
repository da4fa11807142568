"""Scores and selection on series whose answer can be counted by hand."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_nbsp.neurons import SkillNeurons
from sb3_nbsp.neurons.networks import Network, NeuronLayer
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scores import (
    SCORES,
    ScoringData,
    above_mean,
    active_share,
    activity_score,
    corrected_score,
    dormant_score,
    published_score,
    random_score,
    taylor_score,
)
from sb3_nbsp.neurons.scoring import choose_goal, score_networks, warn_of_silent
from sb3_nbsp.neurons.skill_neurons import LayerSkill, select_top


def data(activations, goal, **kwargs) -> ScoringData:
    return ScoringData(th.tensor(activations).float(), th.tensor(goal).float(), **kwargs)


def column(values) -> list[list[float]]:
    return [[v] for v in values]


def score_of(score, activation, goal) -> float:
    return float(score(data(column(activation), goal))[0])


GOAL = [0, 0, 0, 1, 1, 1, 1, 1]  # p = 5/8


@pytest.mark.parametrize(
    "activation, published, corrected",
    [
        ([0, 0, 0, 1, 1, 1, 1, 1], 1.0, 1.0),  # agrees
        ([9, 9, 9, 2, 2, 2, 2, 2], 1.0, 1.0),  # inverted
        ([0] * 8, 5 / 8, 0.5),  # dead
        ([3] * 8, 5 / 8, 0.5),  # constant
        ([0, 0, 1, 0, 1, 1, 1, 1], 6 / 8, (4 / 5 + 2 / 3) / 2),
        ([0, 0, 0, 0, 0, 0, 0, 1], 4 / 8, (1 / 5 + 1) / 2),  # 4 of 8 agree; balanced sees that it never fires falsely
    ],
)
def test_published_and_corrected_score(activation, published, corrected):
    assert score_of(published_score, activation, GOAL) == pytest.approx(published)
    assert score_of(corrected_score, activation, GOAL) == pytest.approx(corrected)


def test_scores_of_a_mastered_task():
    """95 % good steps: a dead neuron looks skilled to the published score, a truly related one does not."""
    goal = [0.0] * 5 + [1.0] * 95
    dead = [0.0] * 100
    related = [0.0] * 5 + [1.0] * 50 + [0.0] * 45  # silent on all bad steps, active on 50 of 95 good ones
    assert score_of(published_score, dead, goal) == pytest.approx(0.95)
    assert score_of(published_score, related, goal) == pytest.approx(0.55)
    assert score_of(corrected_score, dead, goal) == pytest.approx(0.5)
    assert score_of(corrected_score, related, goal) == pytest.approx((50 / 95 + 1) / 2)


@pytest.mark.parametrize("score", [published_score, corrected_score])
def test_score_is_blind_to_the_sign(score):
    activations = th.rand(50, 6, generator=th.Generator().manual_seed(0))
    goal = (th.rand(50, generator=th.Generator().manual_seed(1)) > 0.3).float()
    one, inverted = score(ScoringData(activations, goal)), score(ScoringData(-activations, goal))
    th.testing.assert_close(one, inverted)
    assert (one >= 0.5).all() and (one <= 1).all() and one.std() > 0


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_corrected_score_of_a_constant_goal_says_nothing(constant):
    assert score_of(corrected_score, [0, 1, 2, 3], [constant] * 4) == 0.5


def test_goal_metric_may_be_any_number():
    assert score_of(published_score, [0, 1, 0, 1], [-7.5, -3.0, -9.0, -1.0]) == 1.0


def test_above_mean_is_strict():
    assert above_mean(th.tensor([1.0, 2.0, 3.0])).tolist() == [False, False, True]
    columns = th.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert above_mean(columns).tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize("name", SCORES)
def test_every_score_lies_in_range(name):
    generator = th.Generator().manual_seed(0)
    loss_change = th.rand(20, 7, generator=generator)
    goal = (th.arange(20) % 3 == 0).float()
    scores = SCORES[name](ScoringData(th.randn(20, 7, generator=generator), goal, loss_change, generator))
    assert scores.shape == (7,) and (scores >= 0.5).all() and (scores <= 1).all()


@pytest.mark.parametrize(
    "score, expected",
    [(activity_score, [0.75, 0.5, 1.0]), (dormant_score, [0.75, 1.0, 0.5]), (taylor_score, [0.5, 1.0, 0.75])],
)
def test_controls_rank(score, expected):
    activations = [[-2, 0, 3], [2, 0.1, -4]]
    loss_change = th.tensor([[0.0, 5.0, 1.0], [0.1, 0.0, 1.0]])
    assert score(data(activations, [0, 1], loss_change=loss_change)).tolist() == expected


def test_rank_of_a_single_neuron():
    assert activity_score(data([[1.0], [2.0]], [0, 1])).tolist() == [0.5]


def test_random_score_is_a_permutation_from_its_generator():
    series = data([[0.0] * 5] * 2, [0, 1], generator=th.Generator().manual_seed(3))
    again = data([[0.0] * 5] * 2, [0, 1], generator=th.Generator().manual_seed(3))
    first, second = random_score(series), random_score(series)
    assert sorted(first.tolist()) == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert first.tolist() != second.tolist() and th.equal(random_score(again), first)


def test_active_share():
    assert active_share(th.tensor([[0.0, 1.0, -1.0], [0.0, 0.0, 2.0]])).tolist() == [0.0, 0.5, 1.0]


# Selection


def chosen(scores, fraction, eligible=None) -> dict[str, list[int]]:
    tensors = {name: th.tensor(values) for name, values in scores.items()}
    allowed = None if eligible is None else {name: th.tensor(values) for name, values in eligible.items()}
    return {name: mask.nonzero()[:, 0].tolist() for name, mask in select_top(tensors, fraction, allowed).items()}


def test_whole_network_is_ranked_together():
    assert chosen({"a": [0.6, 0.5, 0.7], "b": [0.9, 0.8]}, 0.4) == {"a": [], "b": [0, 1]}
    assert chosen({"a": [0.6, 0.5, 0.7], "b": [0.9, 0.8]}, 0.6) == {"a": [2], "b": [0, 1]}


def test_ties_go_to_the_earlier_neuron():
    assert chosen({"a": [0.5, 0.5, 0.5], "b": [0.5, 0.5, 0.5]}, 0.5) == {"a": [0, 1, 2], "b": []}


@pytest.mark.parametrize("fraction, n", [(0.0, 0), (0.2, 2), (0.26, 3), (0.99, 10), (1.0, 10)])
def test_fraction_of_all_neurons(fraction, n):
    scores = {"a": th.rand(4), "b": th.rand(6)}
    assert sum(int(mask.sum()) for mask in select_top(scores, fraction).values()) == n


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


def test_counts():
    assert result().counts() == {
        "actor": {"neurons": 5, "chosen": 3, "silent": 2, "chosen_silent": 1},
        "critic": {"neurons": 1, "chosen": 0, "silent": 1, "chosen_silent": 0},
    }


def test_chosen_as_a_mask():
    assert result().chosen("a").tolist() == [True, False, True] and result().chosen("c").tolist() == [False]


def test_overlap():
    assert result().overlap(result()) == 1.0
    assert result().overlap(result(chosen_a=[0], chosen_b=[0])) == 1 / 4  # a0 of a0, a2, b0, b1
    assert result([], []).overlap(result([], [])) == 0.0


def test_table_tells_the_counts():
    lines = result().table().splitlines()
    assert "east" in lines[0] and "25%" in lines[0] and "success" in lines[0] and "100 steps" in lines[0]
    assert lines[2].split() == ["actor", "5", "3", "2", "1"] and lines[3].split() == ["critic", "1", "0", "1", "0"]


# Goal metrics


def rollout(rewards, starts=None, successes=None) -> ScoringSteps:
    n = len(rewards)
    nothing = np.zeros((n, 1), dtype=np.float32)
    starts = np.array(starts if starts is not None else [True] + [False] * (n - 1))
    successes = np.array(successes if successes is not None else [np.nan] * n, dtype=float)
    return ScoringSteps(nothing, nothing, np.array(rewards, dtype=float), nothing, np.zeros(n), starts, successes)


def test_return_belongs_to_every_step_of_its_episode():
    steps = rollout([1, 2, 4, 8, 16], starts=[True, False, True, False, True])
    assert replace(steps, ended=True).goal("return").tolist() == [3, 3, 12, 12, 16]
    assert steps.goal("return").tolist() == [3, 3, 12, 12, 7.5]  # cut off: counts as an average one


def test_goal_reward_and_success():
    steps = rollout([1, 2], successes=[0, 1])
    assert steps.goal("reward").tolist() == [1, 2] and steps.goal("success").tolist() == [0, 1]


@pytest.mark.parametrize("successes", [[np.nan, np.nan], [1.0, np.nan]])
def test_success_that_is_not_told_is_refused(successes):
    with pytest.raises(ValueError, match=r'goal_metric="success" needs `success` or `is_success`.*"return" or "reward"'):
        rollout([1, 2], successes=successes).goal("success")


def test_auto_takes_success_if_told():
    name, goal = choose_goal(rollout([1, 2, 3], successes=[0, 1, 1]), "auto")
    assert (name, goal.tolist()) == ("success", [0, 1, 1])


def test_auto_takes_the_return_if_success_is_not_told():
    name, goal = choose_goal(replace(rollout([1, 2, 4], starts=[True, False, True]), ended=True), "auto")
    assert (name, goal.tolist()) == ("return", [3, 3, 4])


@pytest.mark.parametrize("metric", ["auto", "success"])
def test_constant_success_falls_back_to_the_reward(metric):
    with pytest.warns(UserWarning, match=r"q\(t\) = success is constant at 1 over the 3 .*the reward of the step is used"):
        name, goal = choose_goal(rollout([1, 2, 3], successes=[1, 1, 1]), metric)
    assert (name, goal.tolist()) == ("reward", [1, 2, 3])


@pytest.mark.parametrize("metric", ["auto", "return"])
def test_one_long_episode_falls_back_to_the_reward(metric):
    with pytest.warns(UserWarning, match=r"q\(t\) = return is constant at 6"):
        assert choose_goal(rollout([1, 2, 3]), metric)[0] == "reward"


@pytest.mark.parametrize("metric", ["auto", "success", "return", "reward"])
def test_constant_everything_is_told_in_words(metric):
    steps = rollout([2, 2, 2, 2], starts=[True, False, True, False], successes=[0, 0, 0, 0])
    with pytest.warns(UserWarning, match="no neuron is held"):
        choose_goal(steps, metric)


def test_no_warning_where_the_goal_varies():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_goal(rollout([1, 2], successes=[0, 1]), "success")
        choose_goal(rollout([1, 2]), "reward")


def test_an_episode_that_was_cut_off_is_no_better_than_a_whole_one():
    """Where scoring stops in mid-episode, the rest of the return is missing: of minus distances, half of it looks good."""
    steps = rollout([-1.0] * 8 + [-1.5] * 2, starts=[True, False, False, False] * 2 + [True, False])
    _, goal = choose_goal(steps, "return")
    whole, cut = goal[0], goal[-1]
    assert cut <= whole


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
