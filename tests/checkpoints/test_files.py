"""What lies in a folder of checkpoints: the last two, each blob once, and nothing that is half written counts."""

import json
import os
import pickle
import resource
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import ToyEnv, same
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE
from helpers.outcomes import everything
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_nbsp import NBSPDQN, NBSPSAC
from sb3_nbsp.checkpoints import files
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.checkpoints.manifest import damage_of, newest_whole
from sb3_nbsp.checkpoints.random_states import random_states, restore_random_states
from sb3_nbsp.checkpoints.ring import MAX_STRETCHES, restore_ring, ring_state
from sb3_nbsp.checkpoints.store import Store
from sb3_nbsp.rehearsal.replay_buffers import MixedReplayBuffer
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*"))


@pytest.fixture
def run(tmp_path) -> Path:
    """Two checkpoints of a run of 100 steps."""
    SAC_CASE.made().learn(100, callback=RunCheckpoints(tmp_path, freq=20))
    return tmp_path


def test_the_last_two_are_kept_and_every_blob_is_used(run):
    assert len(checkpoints(run)) == 2
    assert [damage_of(path) for path in checkpoints(run)] == [None, None]
    named = {blob for path in checkpoints(run) for blob in json.loads((path / "checkpoint.json").read_text())["blobs"]}
    assert {path.stem for path in (run / "store").iterdir()} == named


@pytest.mark.parametrize("file", ["model.zip", "state.npz", "state.json", "checkpoint.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_is_skipped_and_named(run, file, how):
    older, newer = checkpoints(run)
    content = (newer / file).read_bytes()
    middle = len(content) // 2
    if how == "gone":
        (newer / file).unlink()
    else:
        changed = bytes([content[middle] ^ 1]) + content[middle + 1 :]
        (newer / file).write_bytes(content[:middle] if how == "cut" else content[:middle] + changed)
    with pytest.warns(UserWarning, match=newer.name):
        model = NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env())
    assert model.num_timesteps == int(older.name)


def test_none_that_is_whole_is_an_error_that_says_why(run):
    for path in checkpoints(run):
        (path / "model.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no whole checkpoint in .* has 0 bytes instead of"):
        NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env())
    assert newest_whole(run)[0] is None


def test_another_class_and_another_number_of_sub_envs_are_refused(run):
    with pytest.raises(ValueError, match="was written by NBSPSAC"):
        NBSPDQN.load_checkpoint(run, DQN_CASE.sequence_env())
    with pytest.raises(ValueError, match="1 sub-envs, this env has 2"):
        NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env(2))


def test_another_runs_checkpoints_are_not_replaced(run):
    with pytest.raises(ValueError, match="holds the checkpoints of another run"):
        SAC_CASE.made().save_checkpoint(run)


def test_one_run_may_write_to_several_folders(tmp_path):
    model = SAC_CASE.made().learn(20)
    for name in "aba":
        model.save_checkpoint(tmp_path / name)
    again = NBSPSAC.load_checkpoint(tmp_path / "a", SAC_CASE.sequence_env()).learn(10, reset_num_timesteps=False)
    again.save_checkpoint(tmp_path / "b")
    assert [path.name for path in checkpoints(tmp_path / "b")] == ["0000000020", "0000000030"]
    with pytest.raises(ValueError, match="holds the checkpoints of another run"):
        SAC_CASE.made().learn(20).save_checkpoint(tmp_path / "b")


def test_a_replaced_folder_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    """Also where the second rename fails, or the process is killed before it, once or twice."""
    target, rename = tmp_path / "0000000100", os.rename

    def write(text: str) -> None:
        with files.new_folder(target) as folder:
            (folder / "a").write_text(text)

    def fail(error: BaseException, calls: Any) -> Any:
        def renamed(old: Any, new: Any) -> None:
            if Path(new) == target and next(calls):
                raise error
            rename(old, new)

        return renamed

    write("1")
    monkeypatch.setattr(files.os, "rename", fail(OSError(28, "No space"), iter([True, False])))
    with pytest.raises(OSError, match="No space"):
        write("2")
    assert [path.name for path in tmp_path.iterdir()] == [target.name] and (target / "a").read_text() == "1"
    for sweep in (files.sweep, files.put_back):
        monkeypatch.setattr(files.os, "rename", fail(SystemExit(), repeat(True)))
        with pytest.raises(SystemExit):
            write("2")
        monkeypatch.setattr(files.os, "rename", rename)
        assert not target.exists()
        sweep(tmp_path)
        assert (target / "a").read_text() == "1"
    write("3")
    assert [path.name for path in tmp_path.iterdir()] == [target.name] and (target / "a").read_text() == "3"


def test_a_checkpoint_is_loaded_without_trust(run, monkeypatch):
    monkeypatch.setattr(pickle, "loads", None), monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr("stable_baselines3.common.save_util.cloudpickle.loads", None)
    whole = NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env(), trust=False)
    assert whole.goes_on_exactly and whole.replay_buffer.size() > 0


class Own(ReplayBuffer):
    """A user's class."""


def test_a_buffer_of_an_own_class_needs_trust(tmp_path):
    model = SAC_CASE.made(SAC_CASE.task_env(), replay_buffer_class=Own, memory_size=0).learn(20)
    model.save_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"trust=False: its replay buffer .*replay_buffer\.pkl"):
        NBSPSAC.load_checkpoint(tmp_path, SAC_CASE.task_env(), trust=False)


def test_device_and_packages_are_written_down(run, monkeypatch):
    path = checkpoints(run)[-1] / "checkpoint.json"
    manifest = json.loads(path.read_text())
    told = manifest["versions"]
    assert told["device"] == "cpu" and told["sb3-nbsp"] and told["sb3-contrib"]
    given: list[Any] = []
    load = NBSPSAC.load
    monkeypatch.setattr(NBSPSAC, "load", lambda *args, **kwargs: (given.append(kwargs["device"]), load(*args, **kwargs))[1])
    path.write_text(json.dumps({**manifest, "versions": {**told, "device": "cuda:0", "mujoco": "1"}}))
    with pytest.warns(UserWarning, match=r"not to the bit: .*(device cuda:0 then, cpu now.*mujoco 1 then|mujoco 1 .* device)"):
        NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env())
    for versions in (told, {name: value for name, value in told.items() if name != "device"}):  # an earlier version
        path.write_text(json.dumps({**manifest, "versions": versions}))
        NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env(), device="auto")
    assert given == ["auto", "cpu", "auto"]  # "cuda:0" is not there


def test_random_states_of_missing_gpus_are_told(monkeypatch):
    model, restored = SAC_CASE.made(), []
    states = {**random_states(model), "cuda": [th.zeros(16, dtype=th.uint8)] * 3}
    monkeypatch.setattr(th.cuda, "is_available", lambda: True), monkeypatch.setattr(th.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(th.cuda, "set_rng_state", lambda state, device: restored.append(device))
    with pytest.warns(UserWarning, match="3 CUDA devices, 2 are there now"):
        restore_random_states(model, states)
    assert restored == [0, 1]


def test_to_count_anew_is_said(run):
    model = NBSPSAC.load_checkpoint(run, SAC_CASE.sequence_env())
    with pytest.warns(UserWarning, match="reset_num_timesteps=False"):
        model.learn(5)


def test_no_checkpoint_with_a_parameter_that_is_not_finite(tmp_path):
    model = SAC_CASE.made().learn(30)
    with th.no_grad():
        model.actor.mu.bias[0] = np.nan
    with pytest.raises(ValueError, match=r"actor\.mu\.bias is not finite"):
        model.save_checkpoint(tmp_path)
    assert not checkpoints(tmp_path)


def test_on_a_full_disk_training_goes_on_and_the_next_checkpoint_is_tried(tmp_path):
    """A limit on the size of files stands for the full disk: to write more is an OSError, too."""
    model = SAC_CASE.made()
    model.learn(30, callback=RunCheckpoints(tmp_path, freq=10))
    before = [path.name for path in checkpoints(tmp_path)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    callback = RunCheckpoints(tmp_path, freq=10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.warns(UserWarning, match="Training goes on") as warnings:
            model.learn(40, callback=callback, reset_num_timesteps=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sum("Training goes on" in str(warning.message) for warning in warnings) == 1
    assert [path.name for path in checkpoints(tmp_path)] == before
    assert not list(tmp_path.rglob(".writing-*"))
    assert NBSPSAC.load_checkpoint(tmp_path, SAC_CASE.sequence_env()).num_timesteps == int(before[-1])
    model.learn(20, callback=RunCheckpoints(tmp_path, freq=10), reset_num_timesteps=False)
    assert int(checkpoints(tmp_path)[-1].name) > 70


def filled(buffer: Any, n: int, first: int) -> None:
    for i in range(first, first + n):
        one = np.full((1, 2), i, dtype=np.float32)
        buffer.add(one, one + 0.5, one, np.array([i]), np.array([i % 7 == 0]), [{}])


def new_buffer(size: int, **kwargs: Any) -> MixedReplayBuffer:
    box = SAC_CASE.toy_env().action_space
    return MixedReplayBuffer(size, box, box, **kwargs)


@pytest.mark.parametrize("size", [10, 150, 1000])
def test_a_ring_comes_back_from_its_stretches(size, tmp_path):
    """Over several rounds, with a reset, with more stretches than are kept apart."""
    store, buffer, stretches = Store(tmp_path), new_buffer(size), []
    for n in range(60):
        filled(buffer, n % 7 + 1, n * 10)
        if n == 20:
            buffer.reset()
        state, stretches = ring_state(buffer, stretches, store)
        assert len(stretches) <= MAX_STRETCHES
        other = new_buffer(size)
        assert restore_ring(other, state, store) == stretches
        assert (other.pos, other.full, other.n_added) == (buffer.pos, buffer.full, buffer.n_added)
        rows = slice(None) if buffer.full else slice(0, buffer.pos)
        for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
            assert np.array_equal(getattr(other, name)[rows], getattr(buffer, name)[rows])


class ChangesRows(BaseCallback):
    """In place, after they lie in the store."""

    def _on_step(self) -> bool:
        if self.num_timesteps == 95:
            self.model.replay_buffer.rewards[:] = 7
            self.model.memory.tasks[0].rewards[:] = 5
            self.model.replay_buffer.rows_changed()
        return True


def test_rows_that_were_changed_in_place_come_back_changed(tmp_path):
    model = SAC_CASE.made(rehearsal="replay").learn(120, callback=[ChangesRows(), RunCheckpoints(tmp_path, freq=10)])
    loaded = NBSPSAC.load_checkpoint(tmp_path, SAC_CASE.sequence_env())
    rows = loaded.replay_buffer.size()
    assert (model.replay_buffer.rewards[:9] == 7).all() and (loaded.memory.tasks[0].rewards == 5).all()
    assert np.array_equal(loaded.replay_buffer.rewards[:rows], model.replay_buffer.rewards[:rows])


def test_rows_are_written_a_few_times_however_many_checkpoints(tmp_path):
    written = []

    class Counting(Store):
        def put(self, arrays: Any) -> str:
            written.append(len(arrays["actions"]))
            return super().put(arrays)

    buffer, stretches = new_buffer(10_000), []
    for n in range(200):
        filled(buffer, 10, n * 10)
        _, stretches = ring_state(buffer, stretches, Counting(tmp_path))
    assert sum(written) < 6 * 2_000  # all of the ring at each checkpoint would be 100 times


class HiddenState(ToyEnv):
    """Shows each episode otherwise, for a reason that is not in its generator."""

    episodes = 0

    def reset(self, **kwargs: Any) -> Any:
        self.episodes += 1
        return super().reset(**kwargs)

    def _observe(self) -> Any:
        return super()._observe() + np.float32(self.episodes / 100)


def hidden_env() -> VecEnv:
    space = SAC_CASE.toy_env().observation_space
    sequence = TaskSequence(tuple(Task(name, lambda mode: HiddenState(space)) for name in "ab"), 60)
    return DummyVecEnv([lambda: TaskSequenceEnv(sequence)])


def test_an_episode_that_cannot_be_played_again_begins_anew_the_same_each_time(tmp_path):
    SAC_CASE.made(hidden_env()).learn(58, callback=RunCheckpoints(tmp_path, freq=35))
    outcomes = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="they begin anew"):
            model = NBSPSAC.load_checkpoint(tmp_path, hidden_env())
        outcomes.append(everything(model.learn(model.steps_left, reset_num_timesteps=False)))
    assert same(*outcomes)


def test_a_memory_is_written_once(tmp_path):
    model = PPO_CASE.made().learn(70, callback=RunCheckpoints(tmp_path, freq=0))
    first = model.save_checkpoint(tmp_path)
    blobs = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()}
    assert blobs
    model.learn(16, reset_num_timesteps=False)
    assert model.save_checkpoint(tmp_path) != first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()} == blobs
