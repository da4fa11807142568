"""NBSPSAC's files: everything is in them, and runs go on."""

import io
import json
import os
import zipfile

import pytest
from helpers import (
    SETTINGS,
    same,
    sequence_env,
    task_env,
)
from helpers.cases import every_case
from helpers.sac_models import (
    EAST,
    FROZEN,
    STEPS,
    WEST,
    Counting,
    after_east,
    held_positions,
    made,
    remembered_ids,
    saved_and_loaded,
    values_at,
    weights,
)
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import CheckpointCallback

from sb3_nbsp import NBSPSAC
from sb3_nbsp.rehearsal import MixedReplayBuffer

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def test_everything_is_in_the_file(tmp_path):
    model = made(sequence_env(cycles=2), skill_fraction=0.3).learn(150)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model.zip")
    assert loaded.learned_tasks == ["east", "west"] and loaded.skill_neurons == model.skill_neurons
    assert same(loaded.neuron_masks.state_dict(), model.neuron_masks.state_dict())
    assert same(loaded.replay_buffer.memory.state_dict(), model.replay_buffer.memory.state_dict())
    assert len(loaded.replay_buffer.memory) == len(model.replay_buffer.memory) == 50  # of west: east is learned again
    assert loaded.position.steps == 150
    assert loaded.skill_fraction == 0.3 and loaded.position.task == "east"
    factors, theirs = loaded.neuron_masks.parameter_factors(), model.neuron_masks.parameter_factors()
    assert same(list(factors.values()), list(theirs.values()))
    assert repr(loaded.actor.optimizer).endswith(repr(model.actor.optimizer).rsplit("held", 1)[1])  # masks are in force


@pytest.mark.parametrize("at, one_hot", [(40, [1, 0]), (90, [0, 1]), (130, [1, 0]), (230, [0, 1]), (260, [0, 1])])
def test_goes_on_in_the_right_task_of_a_fresh_env(at, one_hot):
    model = made(sequence_env(cycles=2), task_warmup=0, train_freq=10).learn(at)
    loaded = saved_and_loaded(model, sequence_env(cycles=2))
    loaded.learn(10, reset_num_timesteps=False)
    assert (loaded.replay_buffer.observations[:10, 0, [EAST, WEST]] == one_hot).all()
    assert loaded.env.get_attr("sequence_steps") == [at + 10] and loaded.num_timesteps == at + 10


def test_a_resumed_run_consolidates_like_an_uninterrupted_one(calls):
    model = made(sequence_env(cycles=2), Counting, train_freq=5).learn(100)
    saved_and_loaded(model, sequence_env(cycles=2)).learn(140, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120), ("east", 180), ("west", 240)]


@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_pending_consolidation_survives_a_checkpoint(n_envs, tmp_path, calls):
    checkpoint = CheckpointCallback(STEPS // n_envs, tmp_path, save_replay_buffer=True)
    made(sequence_env(n_envs, cycles=2), Counting).learn(STEPS + 10, callback=checkpoint)
    calls.clear()
    loaded = Counting.load(tmp_path / "rl_model_60_steps", env=sequence_env(n_envs, cycles=2))
    assert loaded.position.pending == "east" and loaded.learned_tasks == []
    loaded.load_replay_buffer(tmp_path / "rl_model_replay_buffer_60_steps")
    loaded.learn(STEPS, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120)]
    assert (remembered_ids(loaded, 0) == [1, 0]).all() and len(remembered_ids(loaded, 0)) == 50


def test_memory_of_a_task_survives_a_checkpoint_at_its_second_end(tmp_path):
    """A model's file holds the memory but no replay buffer: what was remembered of the task is all there is."""
    checkpoint = CheckpointCallback(3 * STEPS, tmp_path)
    made(sequence_env(cycles=2)).learn(3 * STEPS, callback=checkpoint)
    loaded = NBSPSAC.load(tmp_path / "rl_model_180_steps", env=sequence_env(cycles=2))
    assert loaded.position.pending == "east" and set(loaded.replay_buffer.memory._tasks) == {0, 1}
    loaded.learn(10, reset_num_timesteps=False)
    assert len(loaded.replay_buffer.memory._tasks[0]) > 0


def test_with_a_replay_buffer_file_the_memory_stays_the_models(tmp_path):
    model = made(sequence_env(cycles=2)).learn(100)
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = saved_and_loaded(model, sequence_env(cycles=2), replay_interval=3)
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.size() == 40 and len(loaded.replay_buffer.memory._tasks[0]) == 50
    assert loaded.replay_buffer.replay_interval == 3


def test_the_parents_replay_buffer_file_leaves_the_memory(tmp_path):
    sac = SAC("MlpPolicy", sequence_env(), **SETTINGS).learn(30)
    sac.save_replay_buffer(tmp_path / "buffer")
    model = made().learn(STEPS)
    with pytest.warns(UserWarning, match="does not say when it was saved.*none of them will enter the memory"):
        model.load_replay_buffer(tmp_path / "buffer.pkl")
    assert type(model.replay_buffer) is MixedReplayBuffer and model.replay_buffer.size() == 30
    assert len(model.replay_buffer.memory._tasks.get(0, [])) == 50


def test_current_task_is_not_rehearsed_after_loading_either():
    model = after_east("by hand")
    model.begin_task("east")
    assert len(model.replay_buffer.memory) == 0
    loaded = saved_and_loaded(model, task_env("east"))
    assert loaded.position.task == "east" and len(loaded.replay_buffer.memory) == 0


def test_what_is_not_needed_is_not_pickled():
    file = io.BytesIO()
    made(task_env()).save(file)
    with zipfile.ZipFile(file) as archive:
        data = json.loads(archive.read("data"))
    assert "neuron_masks" not in data
    assert not {key for key in data if "memory" in key} - {"memory_size", "memory_retention", "optimize_memory_usage"}


def test_set_parameters_puts_masks_in_force():
    model, fresh = after_east("sequence", **FROZEN), made(**FROZEN)
    fresh.set_parameters(model.get_parameters())
    assert same(weights(fresh), weights(model)) and fresh.neuron_masks.n_tasks == 1
    positions = held_positions(fresh)
    before = values_at(fresh, positions)
    fresh.learn(40)
    assert positions and same(values_at(fresh, positions), before)


def test_set_parameters_of_a_time_before_the_first_task(tmp_path):
    """Going back to an early checkpoint takes the masks back too."""
    model = made(sequence_env())
    model.save(tmp_path / "early")
    model.learn(STEPS)
    model.set_parameters(tmp_path / "early.zip")
    assert model.neuron_masks.free_share() == 1.0


def test_a_file_saved_before_the_first_task_has_the_parents_form():
    ours, theirs = io.BytesIO(), io.BytesIO()
    made(task_env()).save(ours)
    SAC("MlpPolicy", task_env(), **SETTINGS).save(theirs)
    with zipfile.ZipFile(ours) as mine, zipfile.ZipFile(theirs) as parents:
        assert [name for name in mine.namelist() if name != "settings.json"] == parents.namelist()
    ours.seek(0)
    assert isinstance(SAC.load(ours), SAC)


@pytest.mark.parametrize("what", ["save", "save_replay_buffer"])
def test_a_failing_save_leaves_the_old_file(tmp_path, monkeypatch, what):
    model = made(task_env())
    path = tmp_path / ("model.zip" if what == "save" else "model.pkl")
    getattr(model, what)(path)
    before = path.read_bytes()

    def failing(*args):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", failing)
    model.learn(30)
    with pytest.raises(OSError, match="killed"):
        getattr(model, what)(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    monkeypatch.undo()
    getattr(model, what)(path)
    assert path.read_bytes() != before


@pytest.mark.parametrize("name, written", [("new/model", "new/model.zip"), ("model.zip", "model.zip"), ("m.v1", "m.v1")])
def test_file_names_are_sb3s(tmp_path, name, written):
    made(task_env()).save(str(tmp_path / name))
    assert (tmp_path / written).exists()
    assert NBSPSAC.load(tmp_path / written).num_timesteps == 0


@every_case
def test_a_file_of_the_parent_is_refused_in_words(tmp_path, case):
    case.made_parent().save(tmp_path / "model")
    name = case.cls.__name__
    with pytest.raises(ValueError, match=rf"not saved by {name}.*{name}.from_sb3\("):
        case.cls.load(tmp_path / "model")


def test_a_file_of_another_algorithm_is_refused_in_words(tmp_path):
    PPO("MlpPolicy", task_env(), n_steps=4, batch_size=4).save(tmp_path / "ppo")
    with pytest.raises(ValueError, match=r"not saved by NBSPSAC: it holds policy.optimizer.pth, policy.pth"):
        NBSPSAC.load(tmp_path / "ppo.zip")


def test_other_files_are_refused_as_by_sb3(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="wasn't a zip-file"):
        NBSPSAC.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        NBSPSAC.load(tmp_path / "missing")
