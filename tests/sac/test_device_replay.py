"""The mirror of replay buffers against the buffers, on the CPU: which device it is on changes nothing but its place."""

import numpy as np
import pytest
import torch as th
from helpers import VECTOR, ToyEnv, same
from helpers.fast_updates import filled, made
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp.base.random_states import ProcessStreams, RandomStates, RandomStreams
from sb3_nbsp.sac import device_replay
from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.buffer_reader import BufferReader, is_plain
from sb3_nbsp.sac.device_replay import DeviceReplay
from sb3_nbsp.sac.mirrored_rows import filled_bytes, mirror_bytes

SIZE = 40
FIELDS = ("taken", "now_observations", "next_observations", "rewards", "discounts")


def own_streams(models) -> list[RandomStreams]:
    np.random.seed(5), th.manual_seed(5)
    return [RandomStreams(RandomStates()) for _ in models]


class Pair:
    """The same batches, read from the buffers and from the mirror."""

    def __init__(self, models, n_old: int = 0):
        self.models, self.n_old = models, n_old
        stack = AgentStack(models)
        self.batches = [AgentBatches(SIZE, self.n_old, stack) for _ in range(2)]
        self.readers = [BufferReader(*pair) for pair in zip(models, own_streams(models), strict=True)]
        self.replay = DeviceReplay(models, own_streams(models), stack.actor.first_weight)
        self.gamma = th.tensor([model.gamma for model in models])

    def assert_same(self, n_steps: int = 3) -> None:
        counts = [model.replay_buffer.n_batches for model in self.models]
        self.replay.prepare(n_steps, self.batches[1])
        for model, count in zip(self.models, counts, strict=True):
            model.replay_buffer.n_batches = count  # both see the same batches of the memory
        for step in range(n_steps):
            for batch in self.batches:
                for name in FIELDS:
                    getattr(batch, name).fill_(-7.0)
            for agent, reader in enumerate(self.readers):
                reader.read(self.batches[0], agent)
            self.replay.before_step(self.batches[1], step)
            self.replay.load(self.batches[1], self.gamma)
            for name in FIELDS:
                one, other = (getattr(batch, name) for batch in self.batches)
                assert th.allclose(one, other, rtol=1e-6, atol=1e-7), name
                assert float(one.std()) > 0
            for agent, model in enumerate(self.models if self.n_old else []):
                if model.cloning.is_due():
                    assert th.equal(*(batch.old_observations[agent] for batch in self.batches))
                    assert th.equal(*(batch.kept[agent] for batch in self.batches))


def agents(*sizes, **kwargs):
    own = [{"buffer_size": size} for size in sizes] or [{}, {}]
    gammas = 0.9, 0.99, 0.95
    return [made(double=False, seed=i, gamma=gammas[i], **settings, **kwargs) for i, settings in enumerate(own)]


@pytest.mark.parametrize("n_envs", [1, 4])
def test_rings_that_grow_run_over_and_are_emptied(n_envs):
    models = agents(buffer_size=400, wrap=lambda env: DummyVecEnv([lambda: ToyEnv(VECTOR)] * n_envs))
    pair = Pair(models)
    pair.assert_same()
    for i, n in enumerate((1, 1, 150, 90, 300)):
        for model in models:
            add(model, n, seed=i)
        pair.assert_same()
    for model in models:
        model.replay_buffer.reset()
        add(model, 330, seed=9)  # beyond where the last copy ended
    pair.assert_same()
    filled(models[1].env.envs[0], models[1])  # emptied and filled: one agent only
    pair.assert_same()


@pytest.mark.parametrize("sizes", [(50, 400, 70), (400, 50, 50), (50, 50, 400)])
def test_rings_of_different_sizes(sizes):
    models = agents(*sizes, memory_size=20, replay_interval=2)
    pair = Pair(models)
    for i, n in enumerate((1, 40, 60)):
        for model in models:
            add(model, n, seed=i)
        models[i].replay_buffer.remember(0)
        pair.assert_same(4)
    models[1].replay_buffer = made(double=False, buffer_size=600, memory_size=20).replay_buffer  # another, larger one
    pair.assert_same(4)


def test_rows_that_are_changed_in_place():
    models = agents(memory_size=30, replay_interval=2)
    models[0].replay_buffer.remember(0)
    pair = Pair(models)
    pair.assert_same()
    for model in models:
        model.replay_buffer.rewards[:] *= 0.5
        model.replay_buffer.rows_changed()
    models[0].memory.tasks[0].rewards[:] *= 0.5
    pair.assert_same(4)


@pytest.mark.parametrize("n_envs", [1, 4])
def test_changes_that_nobody_told_of_are_found(n_envs, monkeypatch):
    monkeypatch.setattr(device_replay, "CHECK_INTERVAL", 2)
    models = agents(wrap=lambda env: DummyVecEnv([lambda: ToyEnv(VECTOR)] * n_envs))
    pair = Pair(models)
    pair.assert_same()
    models[1].replay_buffer.observations[:] += 1.0
    with pytest.warns(UserWarning, match=r"call replay_buffer.rows_changed\(\)"):
        pair.assert_same()
    for _ in range(4):
        pair.assert_same()


@pytest.mark.parametrize("replay", [{"replay_interval": 2}, {"replay_mode": "share", "replay_interval": 1}])
def test_memories_of_old_tasks(replay):
    models = agents(memory_size=30, **replay)
    pair = Pair(models)
    pair.assert_same()
    for task in range(3):  # nobody told of tasks: the mirror grows
        for model in models[: 1 + task % 2]:
            add(model, 50, seed=task)
            model.replay_buffer.remember(task % 2)
        pair.assert_same(4)
    models[0].replay_buffer.memory.current_task = 0
    pair.assert_same(4)


def test_what_is_cloned_on():
    models = agents(memory_size=30, clone_batch_size=16)
    models[0].rehearsal, models[1].rehearsal = "clone", "both"
    pair = Pair(models, n_old=16)
    for task in range(2):
        for model in models[: task + 1]:
            add(model, 50, seed=task)
            model.cloning.remember(task, model.replay_buffer.observations_of_task(30))
        pair.assert_same()
        assert [model.cloning.is_due() for model in models] == [True, task == 1]


def test_another_buffer_is_noticed(tmp_path):
    models = agents()
    pair = Pair(models)
    pair.assert_same()
    models[0].save_replay_buffer(tmp_path / "buffer")
    add(models[0], 20, seed=3)
    pair.assert_same()
    models[0].load_replay_buffer(tmp_path / "buffer")
    pair.assert_same()


def test_the_size_is_told_before():
    models = agents(buffer_size=1000, memory_size=30)
    replay = Pair(models).replay
    assert mirror_bytes(models) == replay.rows.nbytes == 2 * 1000 * (3 + 2 + 3 + 2) * 4


def test_what_is_cloned_takes_no_room_among_transitions():
    models = agents(buffer_size=1000, memory_size=30, rehearsal="clone")
    for model in models:
        model.position.record["visits"] = [["east", 10], ["west", 10]]
    assert mirror_bytes(models) == 2 * 1000 * (3 + 2 + 3 + 2) * 4
    assert mirror_bytes(agents(buffer_size=1000, memory_size=30)[:1]) == 1000 * (3 + 2 + 3 + 2) * 4


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("replay_mode", ["interval", "share"])
def test_a_readers_samples_are_the_buffers(n_envs, replay_mode):
    wrap = {"wrap": lambda env: DummyVecEnv([lambda: ToyEnv(VECTOR)] * n_envs)}
    model = made(double=False, memory_size=30, replay_interval=2, replay_mode=replay_mode, buffer_size=400, **wrap)
    add(model, 150, seed=0)  # runs over
    model.replay_buffer.remember(0)
    reader = BufferReader(model, ProcessStreams())
    found = []
    for sample in (model.replay_buffer.sample, reader.samples):
        np.random.seed(0)
        model.replay_buffer.n_batches = 0
        found.append(([sample(SIZE) for _ in range(4)], np.random.random()))
    assert same(*found) and 0 < float(found[0][0][0].dones.mean()) < float(model.replay_buffer.dones.mean())


def test_only_rows_that_will_be_filled_count_on_the_cpu():
    models = agents(buffer_size=10**6, memory_size=30)  # 300 rows are there
    assert filled_bytes(models) == 2 * 300 * (3 + 2 + 3 + 2) * 4
    for model in models:
        model._total_timesteps, model.num_timesteps = 1_000, 400
    assert filled_bytes(models) == 2 * (300 + 600) * (3 + 2 + 3 + 2) * 4
    for model in models:
        model._total_timesteps = 10**9
    assert filled_bytes(models) == mirror_bytes(models)


def test_what_is_no_ordinary_buffer():
    assert is_plain(made(double=False)) and not is_plain(made())  # the helper wraps sample()
    assert not is_plain(made(double=False, wrap=lambda env: VecNormalize(env)))
    assert not is_plain(made(double=False, n_steps=3))


def add(model, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        observations, new = rng.normal(size=(2, model.n_envs, 3)).astype(np.float32)
        ends = rng.random(model.n_envs) < 0.2
        infos = [{"TimeLimit.truncated": bool(rng.random() < 0.5)} for _ in range(model.n_envs)]
        actions = rng.uniform(-1, 1, (model.n_envs, 2)).astype(np.float32)
        model.replay_buffer.add(observations, new, actions, rng.normal(size=model.n_envs), ends, infos)
