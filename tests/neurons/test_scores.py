"""Scores on series whose answer can be counted by hand."""

import random

import numpy as np
import pytest
import torch as th

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
    scores_of,
    taylor_score,
    try_own_score,
)


def data(activations, goal, **kwargs) -> ScoringData:
    return ScoringData(th.tensor(activations).float(), th.tensor(goal).float(), **kwargs)


def column(values) -> list[list[float]]:
    return [[v] for v in values]


def score_of(score, activation, goal) -> float:
    return float(score(data(column(activation), goal))[0])


GOAL = [0, 0, 0, 1, 1, 1, 1, 1]  # p = 5/8


@pytest.mark.known_answer
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


@pytest.mark.known_answer
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


@pytest.mark.known_answer
@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_corrected_score_of_a_constant_goal_says_nothing(constant):
    assert score_of(corrected_score, [0, 1, 2, 3], [constant] * 4) == 0.5


@pytest.mark.known_answer
def test_goal_metric_may_be_any_number():
    assert score_of(published_score, [0, 1, 0, 1], [-7.5, -3.0, -9.0, -1.0]) == 1.0


@pytest.mark.known_answer
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


@pytest.mark.known_answer
@pytest.mark.parametrize(
    "score, expected",
    [(activity_score, [0.75, 0.5, 1.0]), (dormant_score, [0.75, 1.0, 0.5]), (taylor_score, [0.5, 1.0, 0.75])],
)
def test_controls_rank(score, expected):
    activations = [[-2, 0, 3], [2, 0.1, -4]]
    loss_change = th.tensor([[0.0, 5.0, 1.0], [0.1, 0.0, 1.0]])
    assert score(data(activations, [0, 1], loss_change=loss_change)).tolist() == expected


@pytest.mark.known_answer
def test_rank_of_a_single_neuron():
    assert activity_score(data([[1.0], [2.0]], [0, 1])).tolist() == [0.5]


def test_random_score_is_a_permutation_from_its_generator():
    series = data([[0.0] * 5] * 2, [0, 1], generator=th.Generator().manual_seed(3))
    again = data([[0.0] * 5] * 2, [0, 1], generator=th.Generator().manual_seed(3))
    first, second = random_score(series), random_score(series)
    assert sorted(first.tolist()) == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert first.tolist() != second.tolist() and th.equal(random_score(again), first)


@pytest.mark.known_answer
def test_active_share():
    assert active_share(th.tensor([[0.0, 1.0, -1.0], [0.0, 0.0, 2.0]])).tolist() == [0.0, 0.5, 1.0]


MISTAKES = {
    "one number": (lambda d: th.tensor([0.5]), r"got shape \(1,\)"),
    "column": (lambda d: th.full((d.activations.shape[1], 1), 0.7), r"got shape \(5, 1\)"),
    "per step": (lambda d: th.full((len(d.activations),), 0.7), r"got shape \(20,\)"),
    "numpy": (lambda d: np.full(d.activations.shape[1], 0.7), "got ndarray"),
    "list": (lambda d: [0.5] * d.activations.shape[1], "got list"),
    "nothing": (lambda d: None, "got NoneType"),
    "ranks": (lambda d: d.activations.mean(dim=0).argsort(), r"got torch\.int64"),
    "above": (lambda d: 0.5 + th.arange(5) / 4, r"got 0\.5 to 1\.5"),
    "below": (lambda d: th.linspace(0, 1, 5), "got 0 to 1"),
    "NaN": (lambda d: d.activations.mean(dim=0) * th.nan, "got NaN"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("check", ["scored", "tried"])
def test_a_score_that_is_none_is_refused_by_name(name, check, monkeypatch):
    function, words = MISTAKES[name]
    monkeypatch.setitem(SCORES, "my score", function)
    with pytest.raises(ValueError, match=rf"score 'my score' must give a tensor of 5 numbers in \[0\.5, 1\].*; {words}"):
        if check == "scored":
            scores_of("my score", ScoringData(th.rand(20, 5), th.arange(20) % 2.0))
        else:
            try_own_score("my score", [5], 20)


def test_a_score_is_tried_on_layers_of_the_real_sizes_and_leaves_no_trace(monkeypatch):
    seen = []

    def draws(data):
        seen.append((tuple(data.activations.shape), data.goal.unique().tolist(), data.loss_change))
        random.random(), np.random.rand()
        return 0.5 + 0.5 * th.rand(data.activations.shape[1])

    monkeypatch.setitem(SCORES, "draws", draws)
    before = random.getstate(), np.random.get_state()[1].tolist(), th.get_rng_state().tolist()
    try_own_score("draws", [3, 7], 20)
    assert seen == [((20, 3), [0, 1], None), ((20, 7), [0, 1], None)]
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), th.get_rng_state().tolist())


def test_what_is_no_function_is_refused_and_our_own_are_not_tried(monkeypatch):
    try_own_score("taylor", [3], 20)  # which needs the loss
    monkeypatch.setitem(SCORES, "half", 0.5)
    with pytest.raises(TypeError, match=r"SCORES\['half'\] must be a function of ScoringData; got 0\.5"):
        try_own_score("half", [3], 20)


def test_a_score_that_needs_a_gradient_is_told_as_numbers(monkeypatch):
    weights = th.full((4,), 0.7, requires_grad=True)
    monkeypatch.setitem(SCORES, "learned", lambda data: weights * 1.0)
    assert not scores_of("learned", ScoringData(th.rand(20, 4), th.arange(20) % 2.0)).requires_grad
