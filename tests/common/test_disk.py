"""What files take on disk: a model's is deflated and stays SB3's format; sizes are said before a run."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import same
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, every_case, on_cases
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file

from sb3_nbsp.common.ram_estimate import Part, disk_statement, network_bytes
from sb3_nbsp.common.settings_file import SETTINGS

PARTS = [
    Part("replay buffer", 6_000_000_000, "buffer_size"),
    Part("memory of 2 tasks", 2_000_000_000, "memory_size"),
    Part("scoring", 5_000, "scoring_steps"),
]
IMAGES = spaces.Box(0, 255, (36, 36, 3), np.uint8)


def entries(file) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        return archive.infolist()


@every_case
def test_a_models_file_is_one_deflated_archive_with_what_sb3_would_write_and_its_settings(case, tmp_path):
    model = case.made().learn(80)
    model.save(tmp_path / "model")
    BaseAlgorithm.save(model, tmp_path / "stored")
    ours, stored = entries(tmp_path / "model.zip"), entries(tmp_path / "stored.zip")
    assert [entry.filename for entry in ours] == [*(entry.filename for entry in stored), SETTINGS]
    assert {entry.compress_type for entry in ours} == {zipfile.ZIP_DEFLATED}
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("stored.zip", "model.zip")] == []
    read, expected = (load_from_zip_file(tmp_path / name, device="cpu") for name in ("model", "stored"))
    assert read[0].keys() == expected[0].keys() and same(read[1], expected[1])
    loaded = case.cls.load(tmp_path / "model")
    assert same(loaded.get_parameters(), model.get_parameters())


@on_cases(SAC_CASE, PPO_CASE)
def test_open_files_get_it_too(case, tmp_path):
    model = case.made().learn(80)
    memory = io.BytesIO()
    model.save(memory)
    with open(tmp_path / "open", "wb") as file:
        model.save(file)
    for file in (memory, tmp_path / "open"):
        assert {entry.compress_type for entry in entries(file)} == {zipfile.ZIP_DEFLATED}
    memory.seek(0)
    with open(tmp_path / "open", "rb") as file:
        for source in (memory, file):
            assert same(case.cls.load(source).get_parameters(), model.get_parameters())


def test_a_memory_of_images_is_small_in_a_file(tmp_path):
    model = DQN_CASE.made(
        DQN_CASE.toy_env(IMAGES), policy="CnnPolicy", memory_size=200, skill_fraction=0.0, net_arch=(4,)
    ).learn(200)
    for observations in (model.replay_buffer.observations, model.replay_buffer.next_observations):
        observations[:] = 7  # they are noise
    model.consolidate(task="A")
    model.save(tmp_path / "model")
    (memory,) = (entry for entry in entries(tmp_path / "model.zip") if entry.filename.endswith("memory.pth"))
    assert memory.file_size > model.memory.nbytes > 40 * memory.compress_size


def test_a_save_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    model = SAC_CASE.made().learn(30)
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr("sb3_nbsp.common.save_util.shutil.copyfileobj", fail)
    with pytest.raises(OSError, match="no space left"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_what_files_take_is_said(tmp_path, monkeypatch):
    said = disk_statement(PARTS, 100_000_000)
    assert said == "Disk: each saved model up to 2.1 GB, deflated; each saved replay buffer 6.0 GB"
    assert disk_statement(PARTS[1:], 0) == "Disk: each saved model up to 2.0 GB, deflated"
    free = type("usage", (), {"free": 3_000_000_000})
    monkeypatch.setattr("sb3_nbsp.common.ram_estimate.shutil.disk_usage", lambda path: free)
    said = disk_statement(PARTS, 0, tmp_path / "not" / "made" / "yet")
    assert said.endswith(f"; 3.0 GB are free in {tmp_path / 'not' / 'made' / 'yet'}")
    free.free = 1_999_999_999
    with pytest.warns(UserWarning, match=r"may take 2\.0 GB when all tasks were learned.*2\.0 GB left\. Lower memory_size"):
        disk_statement(PARTS, 0, Path())


@on_cases(SAC_CASE, PPO_CASE)
def test_it_is_said_before_a_run(case, capsys, tmp_path):
    case.made(verbose=1, tensorboard_log=str(tmp_path)).learn(16)
    out = capsys.readouterr().out
    assert "Memory when full" in out and "Disk: each saved model up to" in out and "are free in" in out
    assert ("each saved replay buffer" in out) != case.on_policy


@on_cases(SAC_CASE, PPO_CASE)
def test_the_networks_are_estimated(case, tmp_path):
    model = case.made(memory_size=60, net_arch=(64, 64)).learn(120)
    model.save(tmp_path / "model")
    entry = {e.filename: e.file_size for e in entries(tmp_path / "model.zip")}
    networks = sum(size for name, size in entry.items() if "policy" in name or "optimizer" in name)
    assert 0.5 * networks < network_bytes(model.policy) < 1.5 * networks
    assert network_bytes(th.nn.Linear(3, 4)) == 3 * 4 * 16
