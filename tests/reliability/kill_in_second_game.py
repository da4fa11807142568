"""
A training on two Atari games that is killed in the second one, and gone on with by one command.

    kill_in_second_game.py FOLDER

prints where it was killed; an assertion fails where anything of the first game is lost. A script of its own, as kills.py is.
"""

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th
from kills import ended, start
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp import NBSPPPO
from sb3_nbsp.checkpoints.manifest import newest_whole

ENV = "BoxingKungFuMasterRam-v0"
FIRST, SECOND = 64, 512  # env steps of the games
N_ENVS = 2
COMMAND = [
    "--algo", "nbspppo", "--env", f"sb3_nbsp/{ENV}", "--env-kwargs", f"steps_per_task:({FIRST},{SECOND})",
    "-params", f"n_envs:{N_ENVS}", "n_steps:16", "batch_size:16", "n_epochs:1", "scoring_steps:20", "memory_size:20",
    "policy_kwargs:dict(net_arch=[8,8])", "score:'random'",
    "--checkpoint-freq", "32", "--eval-freq", "-1", "--seed", "1", "--verbose", "0", "--device", "cpu",
]  # fmt: skip


def newest_step(run: Path) -> int:
    """Of its checkpoints; 0 where there is none."""
    newest = newest_whole(run / "checkpoints")[0] if (run / "checkpoints").is_dir() else None
    return 0 if newest is None else newest.step


def kept_of_boxing(model: Any) -> list[th.Tensor]:
    """Everything that holds the first game: its memory, and how far each neuron is free."""
    masks = model.neuron_masks.state_dict()
    return [*leaves(model.memory.state_dict()["0"]), *(mask[0] for mask in masks.values())]


def leaves(tree: Any) -> list[th.Tensor]:
    return [tree] if isinstance(tree, th.Tensor) else [leaf for part in tree.values() for leaf in leaves(part)]


def main(folder: Path) -> None:
    """The steps above."""
    run = folder / "logs" / "nbspppo" / f"sb3_nbsp-{ENV}_1"
    process = start(folder, COMMAND)
    while newest_step(run) <= FIRST:
        assert os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None, (folder / "log.txt").read_text()
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL
    warnings.simplefilter("ignore")  # Kung Fu Master has lives: its running game begins anew
    envs = DummyVecEnv([lambda: gym.make(f"sb3_nbsp/{ENV}", steps_per_task=(FIRST, SECOND), n_envs=N_ENVS)] * N_ENVS)
    killed = NBSPPPO.load_checkpoint(run, envs)
    assert killed.learned_tasks == ["Boxing"] and 0 < killed.steps_left < SECOND
    before = kept_of_boxing(killed)
    assert len(killed.memory) == 20 and before
    assert ended(start(folder, ["--resume", str(run)])) == 0, (folder / "log.txt").read_text()
    model = NBSPPPO.load(run / f"sb3_nbsp-{ENV}.zip")
    assert model.learned_tasks == ["Boxing", "KungFuMaster"] and model.num_timesteps == FIRST + SECOND
    assert all(map(th.equal, before, kept_of_boxing(model)))
    print(f"killed at step {killed.num_timesteps} or later, gone on, {len(before)} tensors of Boxing as they were")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
