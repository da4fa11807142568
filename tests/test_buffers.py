"""The mixed buffers against SB3's, and against transitions that carry their own step number."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp.rehearsal import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer

BOX = spaces.Box(-np.inf, np.inf, (2,))
DICT = spaces.Dict({"a": BOX, "b": spaces.Box(-np.inf, np.inf, (1,))})
ACTION = spaces.Box(-1.0, 1.0, (1,))
PAIRS = [
    pytest.param(MixedReplayBuffer, ReplayBuffer, BOX, id="plain"),
    pytest.param(MixedDictReplayBuffer, DictReplayBuffer, DICT, id="dict"),
    pytest.param(MixedNStepReplayBuffer, NStepReplayBuffer, BOX, id="n-step"),
]
pairs = pytest.mark.parametrize("mixed, parent, space", PAIRS)


def observation(space, step: int, n_envs: int):
    """[step, sub-env] of every sub-env."""
    both = np.array([[step, env] for env in range(n_envs)], dtype=np.float32)
    return {"a": both, "b": both[:, :1]} if isinstance(space, spaces.Dict) else both


def fill(buffer: ReplayBuffer, n_rows: int, first: int = 0, done_every: int = 7, timeout_every: int = 3) -> None:
    """
    Row t of sub-env e: from observation [t, e] to [t + 0.5, e], with reward t + 100 e.

    Episodes end at different rows in each sub-env, some of them by a time limit.
    """
    n_envs = buffer.n_envs
    for t in range(first, first + n_rows):
        rewards = np.array([t + 100.0 * e for e in range(n_envs)])
        dones = np.array([(t + e) % done_every == done_every - 1 for e in range(n_envs)])
        infos = [{"TimeLimit.truncated": bool(d) and (t + e) % timeout_every == 0} for e, d in enumerate(dones)]
        after = observation(buffer.observation_space, t + 0.5, n_envs)
        actions = np.full((n_envs, 1), t / 1000.0, dtype=np.float32)
        buffer.add(observation(buffer.observation_space, t, n_envs), after, actions, rewards, dones, infos)


def made(cls=MixedReplayBuffer, space=BOX, size=60, n_envs=1, **kwargs) -> ReplayBuffer:
    return cls(size, space, ACTION, device="cpu", n_envs=n_envs, **kwargs)


def first_part(observations) -> th.Tensor:
    return observations["a"] if isinstance(observations, dict) else observations


def steps_of(samples) -> list[float]:
    return first_part(samples.observations)[:, 0].tolist()


def identities(transitions) -> list[tuple[float, float]]:
    return [tuple(row) for row in first_part(transitions.observations).tolist()]


def same_samples(one, other) -> bool:
    def flat(samples):
        parts = []
        for value in samples:
            parts += [] if value is None else list(value.values()) if isinstance(value, dict) else [value]
        return parts

    return type(one) is type(other) and all(
        a.dtype == b.dtype and th.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True)
    )


def vec_normalize(space=BOX, n_envs=1) -> VecNormalize:
    """Statistics that leave the filled-in numbers inside the clipping range, so that they stay apart."""
    env = VecNormalize(DummyVecEnv([lambda: ToyEnv(space)] * n_envs), training=False)
    for statistics in env.obs_rms.values() if isinstance(space, spaces.Dict) else [env.obs_rms]:
        statistics.mean, statistics.var = statistics.mean + 3.0, statistics.var * 400.0
    env.ret_rms.var = np.float64(900.0)
    return env


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


def test_n_step_memory_does_not_change_when_the_ring_goes_on():
    buffer = made(MixedNStepReplayBuffer, size=20, n_steps=3, memory_retention="recent", memory_size=1)
    fill(buffer, 10)
    buffer.remember(0)  # row 9, the newest
    fill(buffer, 5, first=500)
    samples = buffer._to_samples(buffer.memory._tasks[0], None)
    assert samples.rewards.item() == 9.0 and samples.next_observations[0, 0] == 9.5


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


@pairs
@pytest.mark.parametrize("interval", [1, 2, 5])
def test_every_kth_batch_comes_from_the_memory(mixed, parent, space, interval):
    buffer = with_old_tasks(mixed, space, replay_interval=interval)
    batches = [steps_of(buffer.sample(8)) for _ in range(20)]
    from_memory = [all(step >= 1000 for step in batch) for batch in batches]
    assert from_memory == [number % interval == 0 for number in range(1, 21)]
    assert all(max(batch) < 1000 for batch, old in zip(batches, from_memory, strict=True) if not old)
    assert {len(batch) for batch in batches} == {8}


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
