"""How the mixed buffers normalise, mix and save what they remember."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers.transitions import (
    BOX,
    DICT,
    fill,
    first_part,
    identities,
    made,
    pairs,
    same_samples,
    steps_of,
    vec_normalize,
)
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer

from sb3_nbsp.rehearsal import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer

# Normalisation


@pytest.mark.parametrize("n_envs", [1, 2])
@pairs
def test_memory_is_normalised_like_the_ring(mixed, parent, space, n_envs):
    """Full memory, batch of every transition: the ring's own samples, sorted."""
    buffer = made(mixed, space, 30 * n_envs, n_envs, memory_size=1000)
    fill(buffer, 20)
    buffer.remember(0)
    env = vec_normalize(space)
    old = buffer._to_samples(buffer.memory._tasks[0], env)
    memory = dict(zip(identities(old), old.rewards[:, 0].tolist(), strict=True))
    assert len(memory) == 20 * n_envs
    samples = buffer._get_samples(np.random.randint(20, size=300), env)
    for row, reward in zip(identities(samples), samples.rewards[:, 0].tolist(), strict=True):
        assert memory[row] == pytest.approx(reward, rel=1e-5)
    raw = buffer._to_samples(buffer.memory._tasks[0], None)
    assert not th.equal(first_part(raw.observations), first_part(old.observations))


def test_memory_follows_the_statistics_of_now():
    buffer = made()
    fill(buffer, 20)
    buffer.remember(0)
    env = vec_normalize()
    before = buffer._to_samples(buffer.memory._tasks[0], env).observations
    env.obs_rms.mean += 1.0
    assert not th.equal(before, buffer._to_samples(buffer.memory._tasks[0], env).observations)


# Mixing


def with_old_tasks(cls=MixedReplayBuffer, space=BOX, n_old=1, **kwargs) -> ReplayBuffer:
    """Old task i has the steps from 1000 (i + 1), the ring has those below 1000."""
    buffer = made(cls, space, **kwargs)
    for task in range(n_old):
        fill(buffer, 20, first=1000 * (task + 1))
        buffer.remember(task)
        buffer.reset()
    fill(buffer, 30)
    return buffer


@pytest.mark.known_answer
@pairs
@pytest.mark.parametrize("interval", [1, 2, 5])
def test_every_kth_batch_comes_from_the_memory(mixed, parent, space, interval):
    buffer = with_old_tasks(mixed, space, replay_interval=interval)
    batches = [steps_of(buffer.sample(8)) for _ in range(20)]
    from_memory = [all(step >= 1000 for step in batch) for batch in batches]
    assert from_memory == [number % interval == 0 for number in range(1, 21)]
    assert all(max(batch) < 1000 for batch, old in zip(batches, from_memory, strict=True) if not old)
    assert {len(batch) for batch in batches} == {8}


@pytest.mark.known_answer
@pairs
@pytest.mark.parametrize("fraction, n_old", [(0.0, 0), (0.1, 1), (0.5, 5), (0.75, 8), (1.0, 10)])
def test_exact_share_of_every_batch(mixed, parent, space, fraction, n_old):
    buffer = with_old_tasks(mixed, space, replay_mode="share", old_task_fraction=fraction)
    for _ in range(10):
        samples = buffer.sample(10)
        assert sum(step >= 1000 for step in steps_of(samples)) == n_old
        sizes = {len(first_part(value)) for value in samples if value is not None}
        assert sizes == {10}
        assert (samples.discounts is None) == (mixed is not MixedNStepReplayBuffer)


@pytest.mark.parametrize("cls, expected", [(MixedReplayBuffer, ReplayBuffer), (MixedDictReplayBuffer, DictReplayBuffer)])
@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_mixed_batches_look_like_the_parents(cls, expected, fraction):
    space = DICT if cls is MixedDictReplayBuffer else BOX
    buffer = with_old_tasks(cls, space, replay_mode="share", old_task_fraction=fraction)
    plain = made(expected, space)
    fill(plain, 30)
    mine, theirs = buffer.sample(10), plain.sample(10)
    assert type(mine) is type(theirs)
    for ours, reference in zip(mine, theirs, strict=True):
        if isinstance(reference, th.Tensor):
            assert ours.shape == reference.shape and ours.dtype == reference.dtype


def test_tasks_are_drawn_equally_often_whatever_their_size():
    buffer = made(replay_interval=1)
    for task, n_rows in enumerate((40, 4, 20)):
        fill(buffer, n_rows, first=1000 * (task + 1))
        buffer.remember(task)
        buffer.reset()
    np.random.seed(0)
    steps = np.array(steps_of(buffer.sample(6000)))
    assert np.bincount((steps // 1000).astype(int), minlength=4)[1:] == pytest.approx([2000] * 3, abs=150)
    assert len(set(steps)) == 64


def test_the_current_task_is_not_drawn():
    buffer = with_old_tasks(n_old=3, replay_interval=1)
    buffer.memory.current_task = 1
    assert {step // 1000 for step in steps_of(buffer.sample(200))} == {1.0, 3.0}
    assert buffer.memory.old_tasks == [0, 2] and len(buffer.memory) == 40


def test_only_the_current_task_is_remembered():
    buffer = with_old_tasks(n_old=1, replay_interval=1)
    buffer.memory.current_task = 0
    assert max(steps_of(buffer.sample(50))) < 1000


def test_resetting_the_ring_keeps_the_memory():
    buffer = with_old_tasks(n_old=2)
    buffer.reset()
    assert buffer.size() == 0 and len(buffer.memory) == 40


# Saving


@pairs
def test_state_dict_round_trip(mixed, parent, space, tmp_path):
    buffer, fresh = with_old_tasks(mixed, space, n_old=2, replay_interval=1), made(mixed, space, replay_interval=1)
    th.save(buffer.memory.state_dict(), tmp_path / "memory.pth")
    fresh.memory.load_state_dict(th.load(tmp_path / "memory.pth", weights_only=True))
    fill(fresh, 30)
    np.random.seed(0)
    mine = [buffer.sample(7) for _ in range(3)]
    np.random.seed(0)
    assert all(same_samples(a, fresh.sample(7)) for a in mine)
    assert fresh.memory.nbytes == buffer.memory.nbytes


def test_state_dict_of_images_and_discrete_actions():
    buffer = MixedReplayBuffer(10, spaces.Box(0, 255, (1, 4, 4), np.uint8), spaces.Discrete(5), device="cpu")
    fresh = MixedReplayBuffer(10, buffer.observation_space, buffer.action_space, device="cpu", replay_interval=1)
    for t in range(5):
        image = np.full((1, 1, 4, 4), t, dtype=np.uint8)
        buffer.add(image, image, np.array([t]), np.array([0.0]), np.array([False]), [{}])
    buffer.remember(0)
    fresh.memory.load_state_dict(buffer.memory.state_dict())
    samples = fresh.sample(20)
    assert samples.observations.dtype == th.uint8 and samples.actions.dtype == th.int64
    assert th.equal(samples.actions[:, 0], samples.observations[:, 0, 0, 0].long())


def test_empty_state_dict():
    memory = with_old_tasks().memory
    memory.load_state_dict(made().memory.state_dict())
    assert len(memory) == 0


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("memory_size", -1, "a whole number, 0 or more transitions per old task; got -1"),
        ("memory_retention", "all", "one of uniform, recent; got 'all'"),
        ("replay_mode", "mix", "one of interval, share; got 'mix'"),
        ("replay_interval", 0, "1 or more batches; got 0"),
        ("old_task_fraction", -0.1, r"a share in \[0, 1\]; got -0.1"),
        ("old_task_fraction", 1.1, r"a share in \[0, 1\]; got 1.1"),
    ],
)
@pairs
def test_arguments_out_of_range_are_refused(mixed, parent, space, name, value, words):
    with pytest.raises(ValueError, match=f"{name} must be {words}"):
        made(mixed, space, **{name: value})


def test_a_memory_size_that_is_no_integer_is_refused_or_works():
    """YAML writes 1.0e+4: a run must not fail at its first switch, hours after the start."""
    try:
        buffer = made(memory_size=10.0)
    except (TypeError, ValueError):
        return
    fill(buffer, 20)
    assert buffer.remember(0) == 10
