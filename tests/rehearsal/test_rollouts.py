"""The mixed rollout buffers against SB3's, and the memory that NBSPPPO fills from them."""

import copy
import io
import pickle
from itertools import chain

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTOR, VECTORS, ToyEnv, same, sequence_env, task_env, toy_sequence
from helpers.cases import PPO_CASE
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp import NBSPPPO
from sb3_nbsp.rehearsal import MixedDictRolloutBuffer, MixedRolloutBuffer
from sb3_nbsp.tasks import TaskSequenceEnv

BOX = spaces.Box(-np.inf, np.inf, (2,))
DICT = spaces.Dict({"a": BOX, "b": spaces.Box(-np.inf, np.inf, (1,))})
PAIRS = [
    pytest.param(MixedRolloutBuffer, RolloutBuffer, BOX, id="plain"),
    pytest.param(MixedDictRolloutBuffer, DictRolloutBuffer, DICT, id="dict"),
]
pairs = pytest.mark.parametrize("mixed, parent, space", PAIRS)
sub_envs = pytest.mark.parametrize("n_envs", [1, 3])
GAMMA, LAMBDA = 0.9, 0.8

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


def made(cls=MixedRolloutBuffer, space=BOX, n_rows=20, n_envs=1, **settings):
    action = spaces.Box(-1.0, 1.0, (1,))
    buffer = cls(n_rows, space, action, device="cpu", gae_lambda=LAMBDA, gamma=GAMMA, n_envs=n_envs)
    if cls in (MixedRolloutBuffer, MixedDictRolloutBuffer):
        buffer.__dict__.update({"memory_size": 1000, **settings})
    return buffer


def fill(buffer, n_rows: int = 20, first: int = 0, starts: tuple[int, ...] = ()):
    """Row t of sub-env e observes [t, e]; all else is random, the same for the same rows."""
    for t in range(first, first + n_rows):
        random = np.random.default_rng(t)
        both = np.array([[t, e] for e in range(buffer.n_envs)], dtype=np.float32)
        obs = {"a": both, "b": both[:, :1]} if isinstance(buffer.observation_space, spaces.Dict) else both
        start = (random.random(buffer.n_envs) < 0.15) | (t in starts)
        rewards, values, log_probs = random.normal(size=(3, buffer.n_envs)).astype(np.float32)
        buffer.add(obs, np.full((buffer.n_envs, 1), t / 1000), rewards, start, th.tensor(values), th.tensor(log_probs))
    if buffer.full:
        buffer.compute_returns_and_advantage(th.full((buffer.n_envs, 1), 0.7), np.full(buffer.n_envs, t + 1 in starts))
    return buffer


def end_task(buffer):
    buffer.end_task(th.full((buffer.n_envs, 1), 99.0), np.ones(buffer.n_envs))
    return buffer.recent.take(buffer.memory_size)


def with_memory(cls=MixedRolloutBuffer, space=BOX, n_tasks=1, n_envs=1, **settings):
    """Old task i has the steps from 1000 (i + 1), the rollout those below 20."""
    buffer = made(cls, space, n_envs=n_envs, **settings)
    for task in range(n_tasks):
        buffer.reset()
        buffer.remember(task, end_task(fill(buffer, first=1000 * (task + 1))))
    buffer.reset()
    return fill(buffer)


def identities(samples) -> list[tuple[float, float]]:
    observations = samples.observations["a"] if isinstance(samples.observations, dict) else samples.observations
    return [tuple(row) for row in observations.tolist()]


def rows_of(begin: int, end: int, n_envs: int) -> list[tuple[float, float]]:
    return [(float(t), float(e)) for t in range(begin, end) for e in range(n_envs)]


# Minibatches


@pairs
@sub_envs
@pytest.mark.parametrize("settings", [{}, {"memory_size": 0}, {"mixes": False}, {"old_task_fraction": 0.0}])
def test_with_nothing_to_mix_in_it_is_the_parent(mixed, parent, space, n_envs, settings):
    has_memory = "mixes" in settings or "old_task_fraction" in settings
    ours = with_memory(mixed, space, int(has_memory), n_envs, replay_mode="share", **settings)
    theirs = fill(made(parent, space, n_envs=n_envs))
    for batch_size in (7, None):
        outcomes = []
        for buffer in (ours, theirs):
            np.random.seed(0)
            outcomes.append(([tuple(batch) for batch in buffer.get(batch_size)], np.random.random()))
        assert same(*outcomes)


@pairs
@sub_envs
@pytest.mark.parametrize("interval", [1, 2, 5])
def test_a_minibatch_of_old_samples_follows_every_kth(mixed, parent, space, n_envs, interval):
    buffer = with_memory(mixed, space, n_envs=n_envs, replay_interval=interval)
    reference = next(iter(fill(made(parent, space, n_envs=n_envs)).get(4)))
    n_batches = 0
    for _ in range(2):
        is_old, new, expected = [], [], []
        for _ in range(5 * n_envs):
            n_batches += 1
            expected += [False, True] if n_batches % interval == 0 else [False]
        for batch in buffer.get(4):
            steps = [step for step, _ in identities(batch)]
            is_old.append(min(steps) >= 1000)
            assert is_old[-1] == (max(steps) >= 1000)  # never both
            assert [(x.dtype, x.shape) for x in batch[1:6]] == [(x.dtype, x.shape) for x in reference[1:6]]
            new += [] if is_old[-1] else identities(batch)
        assert sorted(new) == rows_of(0, 20, n_envs)
        assert is_old == expected


def test_the_interval_counts_on_from_pass_to_pass():
    """A pass of few minibatches would else never rehearse."""
    buffer = with_memory(replay_interval=8)
    is_old = [identities(batch)[0][0] >= 1000 for _ in range(4) for batch in buffer.get(4)]  # 4 passes of 5
    assert [i for i, old in enumerate(is_old) if old] == [8, 17]


@pairs
@sub_envs
@pytest.mark.parametrize("fraction, n_old", [(0.1, 1), (0.5, 4), (0.75, 6), (1.0, 7)])
def test_a_share_of_every_minibatch_is_old(mixed, parent, space, n_envs, fraction, n_old):
    buffer = with_memory(mixed, space, n_envs=n_envs, replay_mode="share", old_task_fraction=fraction)
    batches = [identities(batch) for batch in buffer.get(8)]
    n_beside = [sum(step >= 1000 for step, _ in steps) for steps in batches]
    assert {len(steps) for steps in batches[:-1]} == {8} and set(n_beside[:-1]) == {n_old}
    assert n_beside[-1] == n_old * (len(batches[-1]) - n_beside[-1]) // (8 - n_old)  # the last one may be smaller
    assert sorted(chain.from_iterable(batches))[: 20 * n_envs] == rows_of(0, 20, n_envs)


# What of a rollout belongs to a task, and its advantages


def by_hand(rewards, values, starts, last_value, done) -> np.ndarray:
    """GAE of one sub-env as a plain sum of discounted temporal differences."""
    goes_on = 1 - np.append(starts[1:], done).astype(float)
    deltas = rewards + GAMMA * np.append(values[1:], last_value) * goes_on - values
    weights = [np.cumprod(np.append(1.0, GAMMA * LAMBDA * goes_on[t:-1])) for t in range(len(rewards))]
    return np.array([(weights[t] * deltas[t:]).sum() for t in range(len(rewards))])


@pairs
@sub_envs
@pytest.mark.parametrize("switches", [(13,), (20,), (40,), (33,), (5, 9, 10, 17), (5, 31, 40), (1, 50)])
@pytest.mark.parametrize("memory_size", [4, 10, 1000])
def test_memory_of_each_task(mixed, parent, space, n_envs, switches, memory_size):
    """Tasks end after the given rows, in the middle or at the end of rollouts of 20, and with them their episodes."""
    buffer = made(mixed, space, 20, n_envs, memory_size=memory_size)
    log, taken = [], []
    for t in range(max(switches) + 1):
        if t in switches:
            taken.append(end_task(buffer))
            assert end_task(buffer) is None  # it is taken once
        if t % 20 == 0:
            buffer.reset()
        fill(buffer, 1, t, starts=switches)
        log.append([getattr(buffer, name)[buffer.pos - 1].copy() for name in ("rewards", "values", "episode_starts")])
        assert len(buffer.recent) <= memory_size
    arrays = np.array(log, dtype=np.float64).transpose(1, 0, 2)
    for samples, begin, end in zip(taken, (0, *switches), switches, strict=False):
        size = min(memory_size, (end - begin) * n_envs)
        assert identities(samples) == rows_of(begin, end, n_envs)[-size:]
        expected = np.zeros((end, n_envs))
        for e in range(n_envs):
            for start in range(begin - begin % 20, end, 20):  # each rollout is bootstrapped on its own
                part = slice(max(start, begin), min(start + 20, end))
                expected[part, e] = by_hand(*arrays[:, part, e], 0.7, part.stop == end)
        advantages, values = expected[begin:].ravel()[-size:], arrays[1, begin:end].ravel()[-size:]
        np.testing.assert_allclose(samples.advantages, advantages, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(samples.returns, advantages + values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(samples.values, values, rtol=1e-6)


def test_memory_is_bounded_standardised_and_a_copy():
    buffer = made(memory_size=30)
    for rollout in range(5):
        buffer.reset()
        samples = end_task(fill(buffer, first=20 * rollout))
        buffer.remember(0, samples)
        kept, new = buffer.memory._tasks[0], buffer.memory._tasks[0].rows(slice(20))
        assert len(kept) == min(20 * (rollout + 1), 30)  # older ones of the task fill up
        assert identities(new) == rows_of(20 * rollout, 20 * rollout + 20, 1) and same(new.returns, samples.returns)
        assert (new.advantages.mean(), new.advantages.std()) == pytest.approx((0, 1), abs=1e-5)
    before = copy.deepcopy(kept)
    buffer.observations[:] = buffer.advantages[:] = -1
    assert same(kept.state_dict(), before.state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda buffer: pickle.loads(pickle.dumps(buffer))])
@pairs
def test_copies(mixed, parent, space, duplicate):
    env = VecNormalize(DummyVecEnv([lambda: ToyEnv(space)]))
    env.reset()
    buffer = with_memory(mixed, space, replay_mode="share", vec_normalize=env)
    batches = []
    for each in (buffer, twin := duplicate(buffer)):
        np.random.seed(0)
        batches.append([tuple(batch) for batch in each.get(8)])
    assert same(*batches)
    buffer.memory.reset()
    assert len(twin.memory) == 20


# The memory of a model

SETTINGS = PPO_CASE.settings((8,), batch_size=16, scoring_steps=20)
CONSTANT = {**SETTINGS, "learning_rate": 0.0, "reset_log_std": False}  # all that the policy said can be asked again


class Log(BaseCallback):
    """Every step: (task, observation, reward, next observation, whether the episode is over, whether it terminated)."""

    def __init__(self, stop_at: int | None = None):
        super().__init__()
        self.steps: list[list] = []
        self.stop_at = stop_at

    def _on_step(self) -> bool:
        rows = []
        for e, info in enumerate(self.locals["infos"]):
            reward, done = float(self.locals["rewards"][e]), bool(self.locals["dones"][e])
            after = info["terminal_observation"] if done else self.locals["new_obs"][e]
            terminated = done and not info.get("TimeLimit.truncated", False)
            rows.append((info.get("task_name"), self.model._last_obs[e].copy(), reward, after.copy(), done, terminated))
        self.steps.append(rows)
        return self.num_timesteps != self.stop_at


def toy_env(n_envs: int, **kwargs) -> DummyVecEnv:
    sequence = toy_sequence(**kwargs)
    return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence, n_envs))] * n_envs)


def values_of(model, observations: list) -> np.ndarray:
    with th.no_grad():
        return model.policy.predict_values(th.tensor(np.array(observations))).flatten().numpy()


def advantages_by_hand(model, rows: list, first: int) -> np.ndarray:
    """GAE of one sub-env, of a policy that does not change; ``first`` is the number of its first step."""
    _, before, rewards, after, dones, terminated = zip(*rows, strict=True)
    deltas = np.array(rewards) + model.gamma * values_of(model, after) * ~np.array(terminated) - values_of(model, before)
    advantages = np.append(np.zeros(len(rows)), 0.0)
    for t in reversed(range(len(rows))):
        goes_on = not dones[t] and (first + t + 1) % model.n_steps != 0
        advantages[t] = deltas[t] + model.gamma * model.gae_lambda * advantages[t + 1] * goes_on
    return advantages[:-1]


@pytest.mark.known_answer
@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("steps, n_steps", [(64, 16), (60, 32), (20, 64)])
@pytest.mark.parametrize("memory_size", [22, 1000])
def test_memory_of_a_sequence(n_envs, steps, n_steps, memory_size):
    """Episodes end by termination, time limit and task; rollouts end with tasks, some have one step."""
    env = toy_env(n_envs, steps=steps * n_envs, n_tasks=3)
    settings = {**CONSTANT, "n_steps": n_steps, "memory_size": memory_size, "skill_fraction": 0.0}
    model, log = NBSPPPO("MlpPolicy", env, **settings), Log()
    model.learn(3 * steps * n_envs, callback=log)
    assert model.learned_tasks == ["a", "b", "c"] and any(row[5] for rows in log.steps for row in rows)
    for task, name in enumerate("abc"):
        own = [i for i, rows in enumerate(log.steps[: 3 * steps]) if rows[0][0] == name]
        assert own == list(range(task * steps, (task + 1) * steps))
        by_env = [advantages_by_hand(model, [log.steps[i][e] for i in own], 0) for e in range(n_envs)]
        samples, size = model.rollout_buffer.memory._tasks[task], min(memory_size, steps * n_envs)
        observations = np.array([log.steps[i][e][1] for i in own for e in range(n_envs)])[-size:]
        assert np.array_equal(samples.observations, observations)
        advantages, values = np.array(by_env).T.ravel()[-size:], values_of(model, observations)
        np.testing.assert_allclose(samples.values, values, atol=1e-5)
        np.testing.assert_allclose(samples.returns, advantages + values, atol=1e-4)
        np.testing.assert_allclose(samples.advantages, (advantages - advantages.mean()) / advantages.std(), atol=1e-3)


OBSERVATIONS = [
    (VECTORS, "MultiInputPolicy", {}),
    (CHANNEL_FIRST_IMAGE, "CnnPolicy", {"features_dim": 8}),
    (spaces.Dict({"i": CHANNEL_FIRST_IMAGE, "v": VECTOR}), "MultiInputPolicy", {"cnn_output_dim": 8}),
    (spaces.Discrete(4), "MlpPolicy", {}),
]


@pytest.mark.parametrize("space, policy, kwargs", OBSERVATIONS)
@pytest.mark.parametrize("rehearsal", ["clone", "clip"])
def test_other_observations(space, policy, kwargs, rehearsal):
    settings = {**SETTINGS, "rehearsal": rehearsal, "replay_interval": 1}
    settings["policy_kwargs"] = {"net_arch": [8], "features_extractor_kwargs": kwargs}
    model = NBSPPPO(policy, toy_env(2, space=space, steps=40), memory_size=30, **settings).learn(96)
    kept = model.rollout_buffer.memory._tasks[0].observations
    parts = [(kept[key], space[key]) for key in space] if isinstance(space, spaces.Dict) else [(kept, space)]
    assert all(array.dtype == part.dtype and len(array) == 30 for array, part in parts)
    file = io.BytesIO()
    model.save(file)
    loaded = NBSPPPO.load(file, env=toy_env(2, space=space, steps=40))
    assert same(loaded.rollout_buffer.memory.state_dict(), model.rollout_buffer.memory.state_dict())
    loaded.learn(32)


@pytest.mark.parametrize("anew", [False, True])
def test_tasks_do_not_mix_where_they_are_met_again(anew):
    """In a second cycle, or in the same sequence begun anew in the midst of its second task."""
    model = NBSPPPO("MlpPolicy", sequence_env(cycles=2), **SETTINGS, memory_size=50).learn(100 if anew else 120)
    first = model.rollout_buffer.memory._tasks[0]
    if anew:
        model.restart_sequence()
        model.set_env(sequence_env(cycles=2, steps=40))
    model.learn(80 if anew else 120, reset_num_timesteps=anew)
    memory = model.rollout_buffer.memory
    assert [len(memory._tasks[task]) for task in range(2)] == ([50, 40] if anew else [50, 50])
    for task, one_hot in enumerate(([1, 0], [0, 1])):
        assert (memory._tasks[task].observations[:, 4:] == one_hot).all()
    assert not same(memory._tasks[0].observations, first.observations)


@pytest.mark.parametrize("on_training_env", [False, True])
def test_a_rollout_that_a_callback_stopped_counts_for_the_task(on_training_env):
    """Its tail is bootstrapped, on whichever env the task is scored."""
    model, log = NBSPPPO("MlpPolicy", DummyVecEnv([lambda: task_env("east")]), **CONSTANT), Log(stop_at=22)
    model.learn(100, callback=log)
    model.consolidate(None if on_training_env else task_env("east"), "east")
    old, rows = model.rollout_buffer.memory._tasks[0], [rows[0] for rows in log.steps[:-1]]  # SB3 drops the last step
    observations = [row[1] for row in rows]
    assert same(old.observations, np.array(observations)) and len(old) == 21
    np.testing.assert_allclose(old.returns, advantages_by_hand(model, rows, 0) + values_of(model, observations), atol=1e-4)
    model.learn(32, reset_num_timesteps=False)
    model.consolidate(task_env("east"), "west")
    assert len(model.rollout_buffer.memory._tasks[1]) == 32


# VecNormalize


def test_fixed_statistics_are_undone_and_done_again():
    env = VecNormalize(sequence_env(2), training=False)
    env.obs_rms.mean, env.obs_rms.var = env.obs_rms.mean + 0.3, env.obs_rms.var * 4.0
    buffer = NBSPPPO("MlpPolicy", env, **SETTINGS, memory_size=50).learn(64).rollout_buffer
    np.testing.assert_allclose(buffer.memory._tasks[0].observations[:, 4:], np.tile([1.0, 0.0], (50, 1)), atol=1e-6)
    np.testing.assert_allclose(buffer.sample_memory(5).observations[:, 4:], [[0.35, -0.15]] * 5, atol=1e-6)
    env.obs_rms.mean = env.obs_rms.mean * 0
    np.testing.assert_allclose(buffer.sample_memory(5).observations[:, 4:], [[0.5, 0.0]] * 5, atol=1e-6)


def test_memory_holds_what_the_env_observed_whatever_the_statistics_were():
    """They move on while a task is learned; the task id, by which the policy tells tasks apart, must not."""
    model = NBSPPPO("MlpPolicy", VecNormalize(sequence_env(2, steps=400)), **SETTINGS, memory_size=200).learn(800)
    for task, one_hot in enumerate(([1, 0], [0, 1])):
        raw = model.rollout_buffer.memory._tasks[task].observations
        np.testing.assert_allclose(raw[:, 4:], np.tile(one_hot, (200, 1)), atol=1e-3)
        assert raw.dtype == np.float32
