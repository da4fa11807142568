"""What a consolidation logs reaches TensorBoard and CSV at once, by hand and on a sequence, the last one too."""

import csv
from pathlib import Path

import pytest
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, Case, on_cases
from stable_baselines3.common.logger import configure

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

cases = on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
KEYS = {
    "nbsp/tasks_held",
    "nbsp/free_share",
    "nbsp/memory",
    "nbsp/good_share",
    "nbsp/silent_share",
    "nbsp/chosen_silent_share",
}


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of every scalar in all event files below a folder."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        reader = event_accumulator.EventAccumulator(str(file))
        reader.Reload()
        for tag in reader.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in reader.Scalars(tag))
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    """Rows of progress.csv that tell of a consolidation."""
    with open(folder / "progress.csv") as file:
        return [row for row in csv.DictReader(file) if row.get("nbsp/tasks_held")]


def with_files(case: Case, env, folder: Path):
    model = case.made(env)
    model.set_logger(configure(str(folder), ["csv", "tensorboard", "json", "log"]))
    return model


@cases
def test_on_a_sequence_each_consolidation_is_written(case, tmp_path):
    with_files(case, None, tmp_path).learn(128)
    found = events(tmp_path)
    assert found.keys() >= KEYS
    assert [value for _, value in found["nbsp/tasks_held"]] == [1, 2]
    assert [row["nbsp/tasks_held"] for row in rows(tmp_path)] == ["1", "2"]
    assert 60 <= int(rows(tmp_path)[0]["time/total_timesteps"]) < 80 <= int(rows(tmp_path)[1]["time/total_timesteps"])


@cases
def test_by_hand_each_consolidation_is_written(case, tmp_path):
    model = with_files(case, case.task_env("east"), tmp_path).learn(32)
    model.consolidate(task="east")
    assert [row["time/total_timesteps"] for row in rows(tmp_path)] == ["32"]  # at once
    model.set_env(case.task_env("west"))
    model.learn(32, reset_num_timesteps=False)
    model.consolidate(task="west")
    found = events(tmp_path)
    assert found["nbsp/tasks_held"] == [(32, 1), (64, 2)] and found.keys() >= KEYS
    assert [row["nbsp/tasks_held"] for row in rows(tmp_path)] == ["1", "2"]


@cases
def test_by_hand_with_tensorboard_log(case, tmp_path):
    model = case.made(case.task_env("east"), tensorboard_log=str(tmp_path)).learn(32)
    model.consolidate(task="east")
    model.learn(32, reset_num_timesteps=False)
    model.consolidate(task="west")
    assert events(tmp_path)["nbsp/tasks_held"] == [(32, 1), (64, 2)]


def test_what_sb3_has_recorded_waits_for_its_own_dump(tmp_path):
    model = with_files(SAC_CASE, SAC_CASE.task_env(), tmp_path).learn(32)
    model.logger.record("train/mine", 3.0)
    model.consolidate(task="east")
    assert model.logger.name_to_value["train/mine"] == 3.0 and "train/mine" not in events(tmp_path)
    model.logger.dump(40)
    assert events(tmp_path)["train/mine"] == [(40, 3.0)]


def test_without_protection_what_there_is_is_written(tmp_path):
    model = with_files(SAC_CASE, SAC_CASE.task_env(), tmp_path)
    model.skill_fraction = 0.0
    model.consolidate(task="east")
    assert events(tmp_path)["nbsp/tasks_held"] == [(0, 0)] and "nbsp/good_share" not in events(tmp_path)
