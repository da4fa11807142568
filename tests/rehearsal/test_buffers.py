"""The mixed buffers against SB3's, and against transitions that carry their own step number."""

import numpy as np
import pytest
import torch as th
from helpers.transitions import (
    fill,
    first_part,
    identities,
    made,
    pairs,
    same_samples,
    steps_of,
    vec_normalize,
)
from stable_baselines3.common.buffers import ReplayBuffer

from sb3_nbsp.rehearsal import MixedNStepReplayBuffer

# Without a memory


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("replay_mode", ["interval", "share"])
@pairs
def test_empty_memory_samples_like_the_parent(mixed, parent, space, replay_mode, n_envs):
    ours, theirs = (
        made(mixed, space, n_envs=n_envs, replay_mode=replay_mode, replay_interval=1),
        made(parent, space, n_envs=n_envs),
    )
    for buffer in (ours, theirs):
        fill(buffer, 45)
    for env in (None, vec_normalize(space)):
        np.random.seed(3)
        mine = [ours.sample(9, env) for _ in range(4)]
        state = np.random.get_state()[2]
        np.random.seed(3)
        assert all(same_samples(a, theirs.sample(9, env)) for a in mine)
        assert np.random.get_state()[2] == state


@pytest.mark.parametrize("kwargs", [{"memory_size": 0}, {"old_task_fraction": 0.0, "replay_mode": "share"}])
def test_a_memory_that_is_switched_off_samples_like_the_parent(kwargs):
    ours, theirs = made(**kwargs), made(ReplayBuffer)
    fill(theirs, 50)
    fill(ours, 50)
    ours.remember(0)
    np.random.seed(0)
    mine = ours.sample(30)
    np.random.seed(0)
    assert same_samples(mine, theirs.sample(30))


# What is remembered


@pytest.mark.known_answer
@pytest.mark.parametrize("n_rows", [7, 20, 33, 50])  # of 20: filling up, full, wrapped around twice
@pytest.mark.parametrize("n_envs", [1, 3])
@pairs
def test_recent(mixed, parent, space, n_envs, n_rows):
    buffer = made(mixed, space, 20 * n_envs, n_envs, memory_size=4 * n_envs, memory_retention="recent")
    fill(buffer, n_rows)
    assert buffer.remember(0) == 4 * n_envs
    expected = {(t, e) for t in range(n_rows - 4, n_rows) for e in range(n_envs)}
    kept = identities(buffer.memory._tasks[0])
    assert set(kept) == expected and len(kept) == len(expected)


@pytest.mark.known_answer
def test_recent_takes_part_of_a_row():
    buffer = made(n_envs=3, memory_size=4, memory_retention="recent")
    fill(buffer, 10)
    buffer.remember(0)
    kept = identities(buffer.memory._tasks[0])
    assert len(set(kept)) == 4 and {(9.0, 0.0), (9.0, 1.0), (9.0, 2.0)} < set(kept) and {t for t, _ in kept} == {8.0, 9.0}


@pytest.mark.parametrize("n_rows", [7, 20, 33])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_uniform_without_replacement(n_envs, n_rows):
    buffer = made(size=20 * n_envs, n_envs=n_envs, memory_size=15)
    fill(buffer, n_rows)
    stored = {(float(t), float(e)) for t in range(max(0, n_rows - 20), n_rows) for e in range(n_envs)}
    assert buffer.remember(0) == min(15, len(stored))
    kept = identities(buffer.memory._tasks[0])
    assert len(kept) == len(set(kept)) == min(15, len(stored)) and set(kept) <= stored


def test_uniform_takes_every_transition_equally_often():
    np.random.seed(0)
    buffer = made(size=30, n_envs=3, memory_size=10)
    fill(buffer, 15)  # 10 rows, wrapped around
    counts: dict = {}
    for _ in range(600):
        buffer.n_rows_of_task = 15
        buffer.remember(0)
        for key in identities(buffer.memory._tasks[0]):
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 30 and min(counts.values()) > 140 and max(counts.values()) < 260  # 200 expected, sigma 11.5


@pairs
def test_everything_of_a_transition_is_kept(mixed, parent, space):
    kwargs = {"n_steps": 1} if mixed is MixedNStepReplayBuffer else {}
    buffer = made(mixed, space, 40, 2, **kwargs)
    fill(buffer, 30)
    buffer.remember(0)
    samples = buffer._to_samples(buffer.memory._tasks[0], None)
    now, after = first_part(samples.observations), first_part(samples.next_observations)
    th.testing.assert_close(after, now + th.tensor([0.5, 0.0]))
    th.testing.assert_close(samples.rewards[:, 0], now[:, 0] + 100 * now[:, 1])
    th.testing.assert_close(samples.actions[:, 0], now[:, 0] / 1000)
    number = (now[:, 0] + now[:, 1]).long()
    ends = (number % 7 == 6) & (number % 3 != 0)  # those with number % 3 == 0 ended by a time limit
    assert th.equal(samples.dones[:, 0] == 1, ends) and 0 < ends.sum() < (number % 7 == 6).sum()
    assert buffer.memory.nbytes > 0


@pytest.mark.known_answer
def test_timeouts_count_as_ends_where_they_are_not_handled():
    buffer = made(handle_timeout_termination=False)
    fill(buffer, 30)
    buffer.remember(0)
    samples = buffer._to_samples(buffer.memory._tasks[0], None)
    assert th.equal(samples.dones[:, 0] == 1, samples.observations[:, 0] % 7 == 6)


def test_memory_is_a_copy():
    buffer = made(size=20, memory_size=20)
    fill(buffer, 20)
    buffer.remember(0)
    buffer.reset()
    fill(buffer, 20, first=500)
    assert max(t for t, _ in identities(buffer.memory._tasks[0])) < 20


@pytest.mark.known_answer
def test_memory_is_bounded_and_a_task_replaces_its_own():
    buffer = made(memory_size=5)
    fill(buffer, 10)
    sizes = []
    for task in (0, 1, 0, 1, 0):
        fill(buffer, 20)
        buffer.remember(task)
        sizes.append(len(buffer.memory))
    assert sizes == [5, 10, 10, 10, 10]


def test_a_task_that_is_met_again_brings_new_transitions():
    buffer = made(size=10, memory_size=10)
    fill(buffer, 10)
    buffer.remember(0)
    fill(buffer, 10, first=100)
    buffer.remember(0)
    assert min(t for t, _ in identities(buffer.memory._tasks[0])) == 100


def test_an_empty_buffer_does_not_wipe_what_is_remembered():
    """E.g. consolidating twice, or right after loading a model, whose file holds no replay buffer."""
    buffer = made(size=10, memory_size=10)
    fill(buffer, 10)
    buffer.remember(0)
    buffer.reset()
    buffer.remember(0)
    assert len(buffer.memory) == 10


def test_remembering_nothing():
    buffer = made()
    assert buffer.remember(0) == 0 and len(buffer.memory) == 0 and buffer.memory.old_tasks == []
    fill(buffer, 5)
    assert len(steps_of(buffer.sample(4))) == 4


def test_optimize_memory_usage_is_refused():
    buffer = made(optimize_memory_usage=True, handle_timeout_termination=False)
    fill(buffer, 5)
    with pytest.raises(ValueError, match="optimize_memory_usage=True stores no next observations"):
        buffer.remember(0)


# n-step returns


def n_step_by_hand(buffer, row: int, env: int, n_steps: int, gamma: float):
    """(return, discount, done, row of the next observation), step by step."""
    total, newest = 0.0, (buffer.pos - 1) % buffer.buffer_size
    for i in range(n_steps):
        at = (row + i) % buffer.buffer_size
        total += gamma**i * buffer.rewards[at, env]
        if buffer.dones[at, env] or buffer.timeouts[at, env] or at == newest or i == n_steps - 1:
            done = buffer.dones[at, env] and not buffer.timeouts[at, env]
            return total, gamma ** (i + 1), float(done), at
    raise AssertionError


@pytest.mark.known_answer
@pytest.mark.parametrize("n_rows", [12, 20, 33])
@pytest.mark.parametrize("n_steps", [1, 3, 10])
@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("normalized", [False, True])
def test_n_step_memory_equals_the_parents_samples(n_envs, n_steps, n_rows, normalized, monkeypatch):
    buffer = made(MixedNStepReplayBuffer, size=20 * n_envs, n_envs=n_envs, n_steps=n_steps, gamma=0.9)
    fill(buffer, n_rows)
    env = vec_normalize() if normalized else None
    rows = np.repeat(np.arange(buffer.size()), n_envs)  # every transition, the newest row among them
    envs = np.tile(np.arange(n_envs), buffer.size())
    mine = buffer._to_samples(buffer._transitions(rows, envs), env)
    monkeypatch.setattr(np.random, "randint", lambda *args, **kwargs: envs)
    parents = buffer._get_samples(rows, env)
    for name in parents._fields:
        ours, theirs = getattr(mine, name), getattr(parents, name)
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, name
        th.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, msg=name)
    if not normalized:
        by_hand = [n_step_by_hand(buffer, r, e, n_steps, 0.9) for r, e in zip(rows, envs, strict=True)]
        total, discount, done, last = (np.array(values) for values in zip(*by_hand, strict=True))
        np.testing.assert_allclose(mine.rewards[:, 0], total, rtol=1e-5)
        np.testing.assert_allclose(mine.discounts[:, 0], discount, rtol=1e-5)
        np.testing.assert_array_equal(mine.dones[:, 0], done)
        np.testing.assert_array_equal(mine.next_observations, buffer.next_observations[last, envs])


@pytest.mark.known_answer
def test_n_step_memory_does_not_change_when_the_ring_goes_on():
    buffer = made(MixedNStepReplayBuffer, size=20, n_steps=3, memory_retention="recent", memory_size=1)
    fill(buffer, 10)
    buffer.remember(0)  # row 9, the newest
    fill(buffer, 5, first=500)
    samples = buffer._to_samples(buffer.memory._tasks[0], None)
    assert samples.rewards.item() == 9.0 and samples.next_observations[0, 0] == 9.5
