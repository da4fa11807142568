"""Tasks told by first observations: hand-made ones, whose answer is known."""

import numpy as np
import pytest

from sb3_nbsp.task_ids import TaskRecogniser, doubts, told_as

RNG = np.random.default_rng(0)


ONE = np.ones(1)


def around(centre, n=100, spread=1.0, seed=0):
    return (np.asarray(centre) + spread * np.random.default_rng(seed).normal(size=(n, len(centre)))).astype(np.float32)


def test_the_border_lies_half_way_between_two_means():
    fitted = TaskRecogniser.fit({"a": np.array([[-1.0], [1.0]]), "b": np.array([[3.0], [5.0]])}, ONE)
    assert fitted.tasks == ("a", "b")
    assert fitted.recognise(np.array([[-9.0], [1.99], [2.01], [9.0]])).tolist() == [0, 0, 1, 1]


def test_what_varies_together_in_all_tasks_does_not_hide_what_tells_them_apart():
    # A handle and its goal lie anywhere, by a hundred times what tells the tasks apart: on which side of it the goal lies.
    place = np.random.default_rng(1).uniform(-1, 1, (300, 1))
    left, right = np.hstack([place, place - 0.02]), np.hstack([place, place + 0.02])
    seen = {"left": left[:100], "right": right[100:200]}
    assert not doubts(seen, left.std(axis=0))
    fitted = TaskRecogniser.fit(seen, left.std(axis=0))
    assert set(fitted.recognise(left[200:])) == {0} and set(fitted.recognise(right[200:])) == {1}


def test_units_do_not_matter():
    a, b, unknown = around([0, 0, 0]), around([2, 0, 0], seed=1), around([1, 0, 0], seed=2)
    plain = TaskRecogniser.fit({"a": a, "b": b}, np.ones(3)).recognise(unknown)
    units = np.array([1e-3, 1.0, 1e3])
    scaled = TaskRecogniser.fit({"a": a * units, "b": b * units}, units).recognise(unknown * units)
    assert (plain == scaled).mean() > 0.98 and len(set(plain)) == 2


def test_tasks_far_apart_are_told_and_those_that_look_alike_are_named():
    seen = {"a": around([0, 0]), "b": around([20, 0], seed=1), "c": around([0, 0], seed=2)}
    told = told_as(seen, np.ones(2))
    np.testing.assert_allclose(told.sum(axis=1), 1.0)
    assert told[1, 1] == 1.0 and told[0, 1] == told[2, 1] == 0.0
    unsure = doubts(seen, np.ones(2))
    assert set(unsure) == {"a", "c"} and "a looks like c" in unsure["a"] and "c looks like a" in unsure["c"]
    assert not doubts({task: seen[task] for task in "ab"}, np.ones(2))


def test_an_observation_that_was_seen_before_proves_nothing():
    """25 starts in 100 dimensions, each four times: a rule that remembers them all tells every one of them right."""
    seen = {task: np.repeat(around([0.0] * 100, n=25, seed=seed), 4, axis=0) for seed, task in enumerate("ab")}
    remembering = TaskRecogniser.fit(seen, np.ones(100))
    assert np.mean([(remembering.recognise(rows) == i).mean() for i, rows in enumerate(seen.values())]) > 0.9
    assert set(doubts(seen, np.ones(100))) == {"a", "b"}


@pytest.mark.parametrize("difference, told", [(0.0, False), (1e-6, False), (0.5, True)])
def test_episodes_that_all_begin_alike(difference, told):
    """Of a rounding error nothing is made."""
    a, b = np.full((30, 3), 1.0), np.full((30, 3), 1.0)
    b[:, 1] += difference
    noisy = [rows + 1e-6 * RNG.normal(size=rows.shape) for rows in (a, b)]
    spread = np.concatenate(noisy).std(axis=0)
    assert bool(doubts({"a": noisy[0], "b": noisy[1]}, spread)) is not told
    assert not told or not doubts({"a": a, "b": b}, spread)


def test_what_never_varies_at_the_beginning_decides_nothing_where_it_does_later():
    """A hand begins a hair's breadth apart in two tasks, and moves by a thousand of these; the handle tells them apart."""
    hand, handle = np.array([0.0, 0.001]), around([0.0], spread=0.1)
    seen = {task: np.hstack([np.full((100, 1), hand[i]), handle + i]) for i, task in enumerate("ab")}
    moved = [rows + np.array([away, 0.0]) for rows, away in zip(seen.values(), (0.5, -0.5), strict=True)]
    fitted = TaskRecogniser.fit(seen, np.array([0.5, 0.5]))
    assert [set(fitted.recognise(rows)) for rows in moved] == [{0}, {1}]
    at_the_beginning = TaskRecogniser.fit(seen, np.concatenate(list(seen.values())).std(axis=0))
    assert [set(at_the_beginning.recognise(rows)) for rows in moved] == [{1}, {0}]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_like_no_task(wrong):
    seen = {"a": around([0.0, 0.0]), "b": around([9.0, 0.0], seed=1)}
    fitted = TaskRecogniser.fit(seen, np.ones(2))
    with pytest.raises(ValueError, match=rf"Expected first observations of finite numbers, got \[ *{wrong} +0\.\]"):
        fitted.recognise(np.array([[9.0, 0.0], [wrong, 0.0]]))
    seen["a"][3, 1] = wrong
    assert doubts(seen, np.ones(2)) == {"a": "a was trained on observations that are not finite."}
    assert set(doubts({task: around([0.0, 0.0]) for task in "ab"}, np.array([1.0, wrong]))) == {"a", "b"}


def test_too_few_observations_and_a_single_task():
    assert "a has 19 first observations" in doubts({"a": around([0.0], n=19), "b": around([9.0])}, ONE)["a"]
    assert "has 0" in doubts({"a": np.zeros((0, 0)), "b": around([9.0])}, ONE)["a"]
    assert doubts({"a": around([0.0])}, ONE) == {} and doubts({}, ONE) == {}
