"""NBSPPPO's files: everything is in them, and runs go on."""

import io
import zipfile

import pytest
from gymnasium import spaces
from helpers import AnyActionEnv, same, sequence_env, task_env
from helpers.ppo_models import (
    FROZEN,
    RUN,
    made,
    quiet,
    saved_and_loaded,
    weights,
)
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import CheckpointCallback

from sb3_nbsp import NBSPDQN, NBSPPPO
from sb3_nbsp.rehearsal import MixedRolloutBuffer

pytestmark = quiet


def test_everything_is_in_the_file():
    model = made(sequence_env(cycles=2), rehearsal="clip", reset_log_std=False).learn(80)
    loaded = saved_and_loaded(model)
    assert (loaded.learned_tasks, loaded.position.task, loaded.position.steps) == (["east"], "west", 92)
    for part in ("memory", "recent"):
        theirs = getattr(model.rollout_buffer, part).state_dict()
        assert theirs and same(getattr(loaded.rollout_buffer, part).state_dict(), theirs)
    assert (loaded.rehearsal, loaded.reset_log_std) == ("clip", False) and loaded.policy.optimizer.is_masking


@pytest.mark.parametrize("at", [32, 56, 60, 96])
def test_a_run_goes_on_from_a_checkpoint(at, tmp_path):
    """In mid-task, within a rollout, and at the very switch: what complete rollouts brought is remembered."""
    made(sequence_env(cycles=2)).learn(at + 4, callback=CheckpointCallback(at, tmp_path))
    loaded = NBSPPPO.load(tmp_path / f"rl_model_{at}_steps", env=sequence_env(cycles=2))
    assert loaded.position.pending == ("east" if at == 60 else None)
    loaded.learn(120 - at + 8, reset_num_timesteps=False)
    memory = loaded.rollout_buffer.memory
    assert loaded.learned_tasks == ["east", "west"] and set(memory._tasks) == {0, 1}
    for task, one_hot in enumerate(([1, 0], [0, 1])):
        assert (memory._tasks[task].observations[:, 4:] == one_hot).all() and len(memory._tasks[task]) >= 44


def test_a_smaller_memory_after_loading():
    model = made(task_env())
    model.begin_task("east")  # without it the file would have the parent's form
    loaded = saved_and_loaded(model.learn(64), task_env(), memory_size=10)
    loaded.consolidate(task_env(), "east")
    assert len(loaded.rollout_buffer.memory._tasks[0]) == 10


@pytest.mark.parametrize("steps", [0, 32])
def test_a_file_saved_before_the_first_task_has_the_parents_form(steps):
    model = made(task_env()).learn(steps) if steps else made(task_env())
    file = io.BytesIO()
    model.save(file)
    with zipfile.ZipFile(file) as archive:
        names = {name for name in archive.namelist() if name.endswith(".pth")}
    assert names == {"policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"}
    assert same(weights(saved_and_loaded(model, cls=PPO)), weights(model))


def test_set_parameters(tmp_path):
    model, fresh = made(**FROZEN).learn(70), made(**FROZEN)
    fresh.save(tmp_path / "early")
    fresh.set_parameters(model.get_parameters())
    assert same(weights(fresh), weights(model)) and len(fresh.rollout_buffer.memory) == 50
    assert fresh.policy.optimizer.is_masking and fresh.neuron_masks.n_tasks == 1
    model.set_parameters(tmp_path / "early.zip")
    assert model.neuron_masks.free_share() == 1 and len(model.rollout_buffer.memory) == 0


def test_newest_samples_are_of_the_task_that_is_learned(tmp_path):
    """Not of the one that a file's model was in: they would become the memory of another."""
    east = made(sequence_env(cycles=1)).learn(32)
    east.save(tmp_path / "east")
    assert len(east.rollout_buffer.recent) > 0
    fresh = made(task_env("west"))
    fresh.set_parameters(tmp_path / "east.zip")
    assert same(weights(fresh), weights(east)) and len(fresh.rollout_buffer.recent) == 0
    west = made(sequence_env(cycles=1, tasks=("west", "east"))).learn(32)
    before = west.rollout_buffer.recent.state_dict()
    west.set_parameters(tmp_path / "east.zip")
    assert same(west.rollout_buffer.recent.state_dict(), before)
    loaded = NBSPPPO.load(tmp_path / "east")
    assert same(loaded.rollout_buffer.recent.state_dict(), east.rollout_buffer.recent.state_dict())
    loaded.set_parameters(west.get_parameters())
    assert same(loaded.rollout_buffer.recent.state_dict(), east.rollout_buffer.recent.state_dict())


@pytest.mark.parametrize("theirs, ours", [(PPO, NBSPPPO), (DQN, NBSPPPO), (NBSPDQN, NBSPPPO), (NBSPPPO, NBSPDQN)])
def test_files_of_others_are_refused_in_words(theirs, ours):
    words = (
        rf"was not saved by {ours.__name__}.*from_sb3\(|cannot be loaded as {ours.__name__}.*another class"
        rf"|was saved by {theirs.__name__}, not by {ours.__name__}"
    )
    with pytest.raises(ValueError, match=words):
        saved_and_loaded(theirs("MlpPolicy", AnyActionEnv(spaces.Discrete(2))), cls=ours)


@pytest.mark.parametrize("from_file", [True, False])
def test_from_sb3(from_file, tmp_path):
    model = PPO("MlpPolicy", task_env(), **RUN, clip_range_vf=0.3, use_sde=True).learn(100)
    model.save(tmp_path / "ppo.zip")
    new = NBSPPPO.from_sb3(tmp_path / "ppo.zip" if from_file else model, task_env(), memory_size=7, scoring_steps=40)
    assert same(new.get_parameters(), model.get_parameters()) and type(new.rollout_buffer) is MixedRolloutBuffer
    assert (new.clip_range_vf(1), new.num_timesteps, new.n_steps, new.memory_size) == (0.3, 100, 50, 7)
    before = weights(model)
    new.learn(50, reset_num_timesteps=False).consolidate(task_env(), "east")
    assert same(weights(model), before) and not same(weights(new), before) and len(new.rollout_buffer.memory) == 7
    with pytest.raises(TypeError, match="from_sb3 takes a PPO model; got NBSPPPO"):
        NBSPPPO.from_sb3(new)
