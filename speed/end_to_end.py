"""
Env steps per second of NBSPSAC beside SB3's SAC on Meta-World: one env, one gradient step per env step.

Stretches of learning alternate between the two in one process; reported is the median over rounds of the ratio in the same
round, with the interquartile range. CPU time, so run it with one thread:

    OMP_NUM_THREADS=1 python speed/end_to_end.py
"""

import argparse
import time

import gymnasium as gym
import numpy as np
from stable_baselines3 import SAC

from sb3_nbsp import NBSPSAC
from sb3_nbsp.tasks import metaworld_sequence

SETTINGS = {"seed": 0, "buffer_size": 20_000, "learning_starts": 300}


def make_env() -> gym.Env:
    """Meta-World's window-open."""
    return metaworld_sequence(("window-open", "window-close"), steps_per_task=100_000).make_task_env("window-open")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=150, help="env steps of each model in a round")
    args = parser.parse_args()
    models = [SAC("MlpPolicy", make_env(), **SETTINGS), NBSPSAC("MlpPolicy", make_env(), **SETTINGS)]
    for model in models:
        model.learn(SETTINGS["learning_starts"] + 100)
    rates = np.zeros((args.rounds, 2))
    for i in range(args.rounds):
        for k in (0, 1) if i % 2 else (1, 0):
            start = time.process_time()
            models[k].learn(args.steps, reset_num_timesteps=False)
            rates[i, k] = args.steps / (time.process_time() - start)
    ratios = rates[:, 1] / rates[:, 0]
    low, high = np.percentile(ratios, [25, 75])
    sb3, ours = np.median(rates, axis=0)
    print(f"env steps per CPU second: SAC {sb3:.0f}, NBSPSAC {ours:.0f}")
    print(f"times SB3: {np.median(ratios):.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
