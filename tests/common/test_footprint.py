"""The memory that buffers take: computed to the byte, stated, and refused where it cannot fit."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces
from helpers import IMAGE, VECTOR, VECTORS, toy_sequence_env
from stable_baselines3.common.buffers import DictReplayBuffer, DictRolloutBuffer, ReplayBuffer, RolloutBuffer

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.arrays import each
from sb3_nbsp.common import ram_estimate
from sb3_nbsp.common.ram_estimate import (
    Part,
    check_footprint,
    clones_bytes,
    gigabytes,
    machine_memory,
    replay_buffer_bytes,
    rollout_buffer_bytes,
    scoring_bytes,
    transitions_bytes,
)
from sb3_nbsp.neurons.rollout import run_for_scoring
from sb3_nbsp.rehearsal.memory import Clones, JoinedMemory
from sb3_nbsp.rehearsal.replay_buffers import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer

ACTIONS = {
    "box": spaces.Box(-1.0, 1.0, (2,)),
    "float64": spaces.Box(-1.0, 1.0, (3,), np.float64),
    "discrete": spaces.Discrete(18),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
}
OBSERVATIONS = {
    "vector": VECTOR,
    "float64": spaces.Box(-1.0, 1.0, (5,), np.float64),
    "image": IMAGE,
    "discrete": spaces.Discrete(7),
    "dict": spaces.Dict({"image": IMAGE, **VECTORS.spaces}),
}


def array_bytes(holder: object) -> int:
    """Bytes of all arrays that an object holds."""
    values = [part for value in vars(holder).values() for part in (value.values() if isinstance(value, dict) else [value])]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("observation", OBSERVATIONS.values(), ids=OBSERVATIONS)
@pytest.mark.parametrize("n_envs", [1, 3])
def test_buffers_take_what_was_computed(observation, action, n_envs):
    is_dict = isinstance(observation, spaces.Dict)
    replay = (DictReplayBuffer if is_dict else ReplayBuffer)(50, observation, action, "cpu", n_envs)
    assert array_bytes(replay) == replay_buffer_bytes(observation, action, 50, n_envs)
    rollout = (DictRolloutBuffer if is_dict else RolloutBuffer)(20, observation, action, "cpu", n_envs=n_envs)
    assert array_bytes(rollout) == rollout_buffer_bytes(observation, action, 20, n_envs)


def test_a_replay_buffer_without_next_observations():
    settings = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    buffer = ReplayBuffer(50, IMAGE, ACTIONS["discrete"], "cpu", **settings)
    assert array_bytes(buffer) == replay_buffer_bytes(IMAGE, ACTIONS["discrete"], 50, optimize_memory_usage=True)


@pytest.mark.parametrize(
    "buffer_class, observation, n_steps",
    [(MixedReplayBuffer, IMAGE, 1), (MixedDictReplayBuffer, VECTORS, 1), (MixedNStepReplayBuffer, VECTOR, 3)],
)
def test_a_tasks_memory_takes_what_was_computed(buffer_class, observation, n_steps):
    action = ACTIONS["box"]
    n_step = {"n_steps": n_steps, "gamma": 0.9} if n_steps > 1 else {}
    buffer = buffer_class(60, observation, action, "cpu", memory_size=20, **n_step)
    sample = observation.sample()
    row = {key: value[None] for key, value in sample.items()} if isinstance(sample, dict) else sample[None]
    for _ in range(40):
        buffer.add(row, row, np.zeros((1, 2)), np.zeros(1), np.zeros(1), [{}])
    for task in range(2):
        buffer.memory.store(task, buffer._transitions(np.arange(20), np.zeros(20, int)), 20)
    assert buffer.memory.nbytes == 2 * transitions_bytes(observation, action, 20, n_steps)


@pytest.mark.parametrize("observation", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_what_is_cloned_on_takes_what_was_computed(observation):
    """float64 is kept as float32."""
    memory = JoinedMemory(Clones)
    buffer_class = DictReplayBuffer if isinstance(observation, spaces.Dict) else ReplayBuffer
    kept = buffer_class(20, observation, ACTIONS["box"], "cpu").observations
    kept = each(lambda array: array[:, 0].astype(np.float32 if array.dtype == np.float64 else array.dtype), kept)
    for task in range(2):
        memory.store(task, Clones(observations=kept, outputs=np.zeros((20, 4), np.float32)), 20)
    assert memory.nbytes == 2 * clones_bytes(observation, 20, 4)


@pytest.mark.known_answer
def test_a_hundred_observations_of_meta_world_are_as_large_as_documented():
    space = spaces.Box(-np.inf, np.inf, (39,), np.float64)
    assert clones_bytes(space, 100, 2 * 4) == 18_800


def test_the_footprint_names_what_is_cloned_on():
    parts = {}
    for rehearsal in ("replay", "clone", "both"):
        settings = {"policy_kwargs": {"net_arch": [8]}, "buffer_size": 10, "memory_size": 20, "rehearsal": rehearsal}
        model = NBSPSAC("MlpPolicy", toy_sequence_env(space=VECTOR), **settings)
        sizes = {part.name: part.n_bytes for part in model._footprint(3)}
        parts[rehearsal] = sizes["memory of 3 tasks"], sizes["observations of 3 tasks to clone on"]
    replayed, cloned = 3 * transitions_bytes(VECTOR, spaces.Box(-2.0, 2.0, (2,)), 20), 3 * clones_bytes(VECTOR, 20, 4)
    assert parts == {"replay": (replayed, 0), "clone": (0, cloned), "both": (replayed, cloned)}


def test_scored_steps_take_what_was_computed():
    model = NBSPSAC("MlpPolicy", toy_sequence_env(space=VECTOR), policy_kwargs={"net_arch": [8]}, buffer_size=10)
    rollout = run_for_scoring(model, model.env, 30)
    held = rollout.observations.nbytes + rollout.next_observations.nbytes
    assert scoring_bytes(model.observation_space, 30) == 2 * held  # steps, and the arrays made of them


@pytest.mark.known_answer
def test_atari_is_as_large_as_documented():
    space, action = spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(18)
    assert gigabytes(replay_buffer_bytes(space, action, 100_000)) == "5.6 GB"
    assert gigabytes(transitions_bytes(space, action, 10_000)) == "0.6 GB"
    assert gigabytes(scoring_bytes(space, 5000)) == "0.6 GB"
    assert gigabytes(rollout_buffer_bytes(space, action, 128, 8)) == "28.9 MB"


PARTS = [Part("replay buffer", 6_000_000_000, "buffer_size"), Part("memory of 2 tasks", 2_000_000_000, "memory_size")]


@pytest.mark.known_answer
def test_the_statement_names_every_part():
    statement = check_footprint(PARTS, memory=24_000_000_000)
    assert statement == "Memory when full: replay buffer 6.0 GB, memory of 2 tasks 2.0 GB, of 24.0 GB"
    assert check_footprint(PARTS, memory=8_000_000_000).endswith("of 8.0 GB")


def test_what_cannot_fit_is_refused():
    with pytest.raises(MemoryError) as error:
        check_footprint([*PARTS, Part("scoring", 0, "scoring_steps")], memory=7_999_999_999)
    assert str(error.value) == (
        "The run would fill 8.0 GB of memory (replay buffer 6.0 GB, memory of 2 tasks 2.0 GB), but there are "
        "8.0 GB. Lower buffer_size or memory_size."
    )


def test_nothing_is_refused_where_the_memory_is_not_known(monkeypatch):
    monkeypatch.setattr(ram_estimate, "machine_memory", lambda: None)
    assert check_footprint(PARTS) == "Memory when full: replay buffer 6.0 GB, memory of 2 tasks 2.0 GB"


def test_the_machines_memory_is_known():
    assert 1e8 < machine_memory() < 1e14


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    for name, text in (("one", "123456789\n"), ("two", "max\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(ram_estimate, "CONTAINER_LIMITS", (tmp_path / "one", tmp_path / "two", tmp_path / "none"))
    assert machine_memory() == 123456789


def test_psutil_is_asked_where_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: SimpleNamespace(total=4321)))
    assert machine_memory() == 4321


def small_model(verbose: int = 0, **kwargs) -> NBSPSAC:
    small = {"buffer_size": 500, "learning_starts": 20, "scoring_steps": 30, "memory_size": 40}
    settings = {**small, "rehearsal": "replay", **kwargs}
    env = toy_sequence_env(steps=60, n_tasks=3, cycles=2)
    return NBSPSAC("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, verbose=verbose, **settings)


def test_a_run_that_cannot_fit_does_not_start(monkeypatch):
    monkeypatch.setattr(ram_estimate, "machine_memory", lambda: 1000)
    model = small_model()
    with pytest.raises(
        MemoryError, match=r"memory of 3 tasks .* but there are 0.0 MB. Lower buffer_size or memory_size or sc"
    ):
        model.learn(60)
    assert model.num_timesteps == 0


def test_the_bound_holds_at_the_end_of_a_run():
    model = small_model()
    model.learn(360)
    stated = {part.name: part.n_bytes for part in model._footprint(3)}
    assert model.replay_buffer.memory.nbytes == stated["memory of 3 tasks"] > 0
    assert array_bytes(model.replay_buffer) == stated["replay buffer"]


@pytest.mark.parametrize("verbose", [0, 1])
def test_the_run_says_what_it_takes_before_its_first_step(capsys, verbose):
    model = small_model(verbose)
    capsys.readouterr()
    model.learn(1)
    printed = capsys.readouterr().out
    assert printed.startswith("Memory when full: replay buffer 0.0 MB, memory of 3 tasks 0.0 MB, scoring 0.0 MB") == bool(
        verbose
    )
    assert bool(printed) == bool(verbose)


def test_memory_that_is_switched_off_takes_none():
    assert [part.n_bytes for part in small_model(memory_size=0)._footprint(3)][1] == 0


def test_a_buffer_that_cannot_even_be_made_names_the_argument():
    with pytest.raises(MemoryError, match=r"replay buffer 4400000.0 GB\), but there are .* Lower buffer_size\.$"):
        small_model(buffer_size=10**14)
