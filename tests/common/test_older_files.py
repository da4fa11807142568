"""Models and buffers that commit 2a43d91 saved (tests/data/commit-2a43d91/make.py) are read as what they were, and go on."""

import sys
from contextlib import nullcontext
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPSAC
from sb3_nbsp.common.older_files import MOVED, moved_modules
from sb3_nbsp.common.position import OLDER_NAMES
from sb3_nbsp.rehearsal import MixedReplayBuffer

FOLDER = Path(__file__).parents[1] / "data" / "commit-2a43d91"
POINT, DISCRETE = "sb3_nbsp/PointGoal-v0", "sb3_nbsp/PointGoalDiscrete-v0"
# Name of the file: class, how its env is made, env steps taken, those in the sequence, the task that was consolidated
FILES = {
    "sac": (NBSPSAC, lambda: gym.make(POINT, steps_per_task=120), 150, 150, "east"),
    "sac_gates": (NBSPSAC, lambda: gym.make(POINT, steps_per_task=120, task_id=True), 150, 150, "east"),
    "sac_by_hand": (NBSPSAC, lambda: gym.make("Pendulum-v1"), 70, 0, "swing"),
    "dqn": (NBSPDQN, lambda: gym.make(DISCRETE, steps_per_task=120), 152, 152, "east"),
    "ppo": (NBSPPPO, lambda: gym.make(DISCRETE, steps_per_task=120), 160, 160, "east"),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The current task's transitions so far"),
    pytest.mark.filterwarnings("ignore:The model's file is of an older version and names no tasks"),
]


@pytest.mark.parametrize("name", FILES)
def test_a_model_is_what_it_was(name):
    cls, _, steps, in_sequence, task = FILES[name]
    model = cls.load(FOLDER / name, device="cpu")
    observations = np.random.default_rng(0).standard_normal((5, *model.observation_space.shape)).astype(np.float32)
    actions = model.predict(observations, deterministic=True)[0]
    np.testing.assert_allclose(actions, np.load(FOLDER / f"{name}_actions.npy"), rtol=1e-5, atol=1e-6)
    assert model.learned_tasks == [task] and model.num_timesteps == steps and model.position.steps == in_sequence
    assert set(model.skill_neurons) == {task} and model.neuron_masks.n_held == 1
    assert model.memory is not None and set(model.memory._tasks) == {0} and len(model.memory._tasks[0]) == 20
    assert (model.gates is not None) == (name == "sac_gates")
    assert model.gates is None or model.gates.owns(0)
    assert model.position.task == ("west" if in_sequence else None)
    assert not set(OLDER_NAMES) & set(vars(model))
    assert model.rehearsal == ("clone" if name == "ppo" else "replay")  # there was nothing else


@pytest.mark.parametrize("name", FILES)
def test_a_model_goes_on_and_is_saved_as_today(name, tmp_path):
    cls, make_env, _steps, in_sequence, _task = FILES[name]
    model = cls.load(FOLDER / name, env=make_env(), device="cpu")
    words = f"names no tasks.*goes on at step {in_sequence} of east, west"
    with pytest.warns(UserWarning, match=words) if in_sequence else nullcontext():
        model.learn(100, reset_num_timesteps=False)
    if in_sequence:
        assert model.learned_tasks == ["east", "west"] and model.position.segment_steps == [120] * 4
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", device="cpu")
    assert loaded.position_record == model.position_record and loaded.learned_tasks == model.learned_tasks
    assert (tmp_path / "model.zip").is_file() and b"sb3_nbsp.common.buffers" not in (tmp_path / "model.zip").read_bytes()


def test_tasks_of_the_same_lengths_are_not_taken_for_the_one_that_is_learned():
    model = NBSPSAC.load(FOLDER / "sac", env=gym.make(POINT, tasks=("east", "north"), steps_per_task=120), device="cpu")
    with pytest.raises(ValueError, match="west is learned since 30 env steps"):
        model.learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize("name", ["sac", "dqn"])
def test_a_buffer_is_what_it_was(name):
    cls, make_env, *_ = FILES[name]
    model = cls.load(FOLDER / name, env=make_env(), device="cpu")
    model.load_replay_buffer(FOLDER / f"{name}_buffer")
    assert type(model.replay_buffer) is MixedReplayBuffer
    assert model.replay_buffer.size() * model.n_envs == model.position.steps - 120
    assert len(model.memory._tasks[0]) == 20 and model.replay_buffer.memory_size == 20
    model.learn(10, reset_num_timesteps=False)
    assert model.replay_buffer.size() == model.position.steps - 120


def test_old_paths_are_known_inside_the_block_only():
    with pytest.raises(ImportError):
        import sb3_nbsp.common.buffers  # noqa: F401
    with moved_modules():
        from sb3_nbsp.common.buffers import MixedReplayBuffer as old

        assert old is MixedReplayBuffer
    assert not set(MOVED) & set(sys.modules)
