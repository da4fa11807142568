"""
How large a model's file is and how long it takes, stored (as SB3 writes it) and deflated (as ours do).

    OMP_NUM_THREADS=1 python speed/files.py --memory 10000
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file

import sb3_nbsp.tasks  # noqa: F401  registers the sequences
from sb3_nbsp import NBSPDQN, NBSPSAC

ROUNDS = 5


def seconds(call: Callable[[], Any]) -> float:
    """The best of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken)


def measure(name: str, model: Any) -> None:
    """Print one row per way to write a model, which has consolidated one task by random actions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.zip")
        for way, save in {"stored": partial(BaseAlgorithm.save, model), "deflated": model.save}.items():
            writing = seconds(partial(save, path))
            reading = seconds(partial(load_from_zip_file, path, device="cpu"))
            print(f"| {name} | {way} | {os.path.getsize(path) / 1e6:.1f} | {writing:.2f} | {reading:.2f} |")


def main() -> None:
    """Atari's images and Meta-World's vectors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", type=int, default=10_000, help="transitions of the task that was consolidated")
    memory = parser.parse_args().memory
    th.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| model | way | MB | s to save | s to read |\n| --- | --- | --- | --- | --- |")
    settings = {"buffer_size": memory, "memory_size": memory, "learning_starts": 10**9, "scoring_steps": 100, "seed": 0}
    images = NBSPDQN("CnnPolicy", gym.make("sb3_nbsp/PongSpaceInvaders-v0"), **settings).learn(memory)
    images.consolidate(task="Pong")
    measure(f"NBSPDQN, Pong, memory of {memory}", images)
    vectors = NBSPSAC("MlpPolicy", gym.make("Pendulum-v1"), **settings).learn(memory)
    vectors.consolidate(task="swing")
    measure(f"NBSPSAC, Pendulum, memory of {memory}", vectors)


if __name__ == "__main__":
    main()
