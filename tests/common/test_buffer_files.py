"""A replay buffer's file: the memory is always the model's; other tasks' transitions do not count for the current one."""

import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, Case, off_policy_cases, on_cases
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.rehearsal import MixedReplayBuffer

OLDER = Path(__file__).parents[1] / "data" / "commit-2a43d91"
pytestmark = [
    pytest.mark.filterwarnings("error:No transition of the task"),
    pytest.mark.filterwarnings("error:.* was saved while another task"),
]


def of_task(case: Case, name: str, n_envs: int = 1) -> DummyVecEnv:
    return DummyVecEnv([lambda: case.task_env(name)] * n_envs)


def east_and_its_buffer(case: Case, folder: Path, n_envs: int = 1, **kwargs):
    """A model that has consolidated east, and a buffer file from before."""
    model = case.made(of_task(case, "east", n_envs), **kwargs).learn(40)
    model.save_replay_buffer(folder / "before")
    model.consolidate(case.task_env("east"), "east")
    model.save(folder / "model")
    return model


@pytest.mark.parametrize("n_envs", [1, 4])
@off_policy_cases
def test_a_buffer_from_before_a_consolidation_is_left_out(case, n_envs, tmp_path):
    model = east_and_its_buffer(case, tmp_path, n_envs)
    kept = model.memory.tasks[0].actions.copy()
    loaded = case.cls.load(tmp_path / "model", env=of_task(case, "west", n_envs))
    with pytest.warns(UserWarning, match=r"before.* was saved while another task.* are left out.*stays the model's"):
        loaded.load_replay_buffer(tmp_path / "before")
    assert loaded.replay_buffer.size() == 0 and len(loaded.memory) == 40
    np.testing.assert_array_equal(loaded.memory.tasks[0].actions, kept)
    loaded.learn(24, reset_num_timesteps=False)
    loaded.consolidate(case.task_env("west"), "west")
    assert {task: len(samples) for task, samples in loaded.memory.tasks.items()} == {0: 40, 1: 24}


def test_what_is_learned_now_stays_where_an_older_file_is_left_out(tmp_path):
    model = east_and_its_buffer(SAC_CASE, tmp_path).learn(25, reset_num_timesteps=False)
    with pytest.warns(UserWarning, match="left out"):
        model.load_replay_buffer(tmp_path / "before")
    assert model.replay_buffer.size() == model.replay_buffer.n_rows_of_task == 25


def test_without_reset_older_transitions_are_learned_from_and_not_counted(tmp_path):
    model = east_and_its_buffer(SAC_CASE, tmp_path, reset_replay_buffer=False)
    with pytest.warns(UserWarning, match="was saved while another task.* learned from, but none of them will enter"):
        model.load_replay_buffer(tmp_path / "before")
    assert model.replay_buffer.size() == 40 and model.replay_buffer.n_rows_of_task == 0
    model.learn(15, reset_num_timesteps=False).consolidate(task="west")
    assert len(model.memory.tasks[0]) == 40 and len(model.memory.tasks[1]) == 15


@pytest.mark.parametrize("reset", [True, False])
@on_cases(SAC_CASE, DQN_CASE)
def test_a_buffer_of_the_current_task_goes_on(case, reset, tmp_path):
    model = east_and_its_buffer(case, tmp_path, reset_replay_buffer=reset).learn(30, reset_num_timesteps=False)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = case.cls.load(tmp_path / "model", env=of_task(case, "west"))
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.size() == (30 if reset else 70) and loaded.replay_buffer.n_rows_of_task == 30
    loaded.consolidate(task="west")
    assert len(loaded.memory.tasks[0]) == 40 and len(loaded.memory.tasks[1]) == 30


def test_a_task_that_was_learned_again_is_another_visit(tmp_path):
    """No name is added then: the names alone would not tell the two apart."""
    model = east_and_its_buffer(SAC_CASE, tmp_path).learn(30, reset_num_timesteps=False)
    model.save_replay_buffer(tmp_path / "again")
    model.consolidate(task="east")
    assert model.learned_tasks == ["east"]
    with pytest.warns(UserWarning, match="left out"):
        model.load_replay_buffer(tmp_path / "again")


def test_a_buffer_that_is_newer_than_the_model_is_left_out_too(tmp_path):
    east_and_its_buffer(SAC_CASE, tmp_path)
    model = NBSPSAC.load(tmp_path / "model", env=of_task(SAC_CASE, "west")).learn(30, reset_num_timesteps=False)
    model.consolidate(task="west")
    model.learn(10, reset_num_timesteps=False).save_replay_buffer(tmp_path / "later")
    earlier = NBSPSAC.load(tmp_path / "model", env=of_task(SAC_CASE, "west"))
    with pytest.warns(UserWarning, match="left out"):
        earlier.load_replay_buffer(tmp_path / "later")
    assert earlier.replay_buffer.size() == 0 and set(earlier.memory.tasks) == {0}


def test_a_task_that_was_left_without_consolidation_does_not_count_for_the_next(tmp_path):
    model = SAC_CASE.made(of_task(SAC_CASE, "east"))
    model.begin_task("east")
    model.learn(30).save_replay_buffer(tmp_path / "east")
    model.begin_task("west")
    with pytest.warns(UserWarning, match="left out"):
        model.load_replay_buffer(tmp_path / "east")


def test_the_memory_is_saved_once(tmp_path):
    model = east_and_its_buffer(SAC_CASE, tmp_path).learn(20, reset_num_timesteps=False)
    file = io.BytesIO()
    model.save_replay_buffer(file)
    file.seek(0)
    buffer = pickle.load(file)
    assert type(buffer) is MixedReplayBuffer and not buffer.memory.tasks and buffer.size() == 20
    assert len(model.memory.tasks[0]) == 40
    sac = SAC_CASE.made_parent(of_task(SAC_CASE, "west"))
    file.seek(0)
    sac.load_replay_buffer(file)
    assert sac.learn(10).replay_buffer.size() == 30


def test_a_buffer_used_by_itself_is_pickled_with_its_memory(tmp_path):
    sac = SAC("MlpPolicy", of_task(SAC_CASE, "east"), learning_starts=50, replay_buffer_class=MixedReplayBuffer).learn(20)
    sac.replay_buffer.remember(0)
    sac.save_replay_buffer(tmp_path / "buffer")
    sac.load_replay_buffer(tmp_path / "buffer")
    assert len(sac.replay_buffer.memory) == 20


@pytest.mark.parametrize("name", ["sac", "dqn"])
def test_an_older_versions_buffer_is_told_by_its_memory(name, tmp_path):
    """It does not count; the memory in it agrees with the model's if they were saved together."""
    case = {"sac": SAC_CASE, "dqn": DQN_CASE}[name]
    model = case.cls.load(OLDER / name, device="cpu")
    model.load_replay_buffer(OLDER / f"{name}_buffer")
    assert model.replay_buffer.n_rows_of_task * model.n_envs == model.position.steps - 120
    assert model.n_task_ends == model.replay_buffer.n_task_ends == 1
    model = case.made(case.sequence_env(model.n_envs)).learn(120)
    with pytest.warns(UserWarning, match="was saved while another task.*left out"):
        model.load_replay_buffer(OLDER / f"{name}_buffer")
    assert set(model.memory.tasks) == {0, 1} and model.replay_buffer.size() == 0


@pytest.mark.parametrize("case", [SAC_CASE, DQN_CASE, PPO_CASE], ids=lambda case: case.id)
def test_a_consolidation_that_keeps_nothing_says_so(case, tmp_path):
    case.made(of_task(case, "east")).learn(40).save(tmp_path / "best_model")
    loaded = case.cls.load(tmp_path / "best_model", env=of_task(case, "east"))
    match = "No step of the task that ends" if case.on_policy else "No transition of the task .*load_replay_buffer"
    with pytest.warns(UserWarning, match=match):
        loaded.consolidate(case.task_env("east"), "A")
    assert len(loaded.memory) == 0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No (step|transition) of the task")
        silent = case.cls.load(tmp_path / "best_model", env=of_task(case, "east"), memory_size=0)
        silent.consolidate(case.task_env("east"), "A")
