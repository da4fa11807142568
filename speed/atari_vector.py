"""
Steps per second of Atari games: ale-py's vector emulator in SB3's VecEnv, beside SB3's own DummyVecEnv + AtariWrapper.

    OMP_NUM_THREADS=1 python speed/atari_vector.py [games]      # 8 sub-envs, random actions, in alternating pairs

CPU time is that of the whole process, the emulator's threads included: it tells what a step costs on a busy machine too. The
wall clock tells what the threads give where cores are free.
"""

import os
import sys
import time

import numpy as np
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack

from sb3_nbsp.tasks import GymnasiumVecEnv
from sb3_nbsp.tasks.atari_vector import make_atari_vector

N_ENVS, STEPS, PAIRS = 8, 200, 5  # steps of all sub-envs together


def vector(game: str) -> VecEnv:
    """Ours."""
    return GymnasiumVecEnv(make_atari_vector(game, N_ENVS))


def one_by_one(game: str) -> VecEnv:
    """SB3's, with all 18 actions too."""
    kwargs = {"full_action_space": True}
    env = make_atari_env(f"{game}NoFrameskip-v4", N_ENVS, seed=0, vec_env_cls=DummyVecEnv, env_kwargs=kwargs)
    return VecFrameStack(env, 4)


def measured(env: VecEnv, seed: int) -> tuple[float, float]:
    """Agent steps per second of the clock, and of CPU time."""
    actions = np.random.default_rng(seed).integers(18, size=(STEPS, N_ENVS))
    wall, cpu = time.perf_counter(), time.process_time()
    for row in actions:
        env.step(row)
    n = STEPS * N_ENVS
    return n / (time.perf_counter() - wall), n / (time.process_time() - cpu)


def main() -> None:
    """The command above."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {N_ENVS} sub-envs, {PAIRS} pairs of {STEPS * N_ENVS} steps")
    for game in sys.argv[1:] or ("Breakout", "Pong", "SpaceInvaders"):
        envs = (vector(game), one_by_one(game))
        for env in envs:
            env.seed(0)
            env.reset()
            measured(env, 99)  # warm
        found = np.array([[measured(env, pair) for env in envs] for pair in range(PAIRS)])  # pair, env, clock
        for clock, name in enumerate(("wall clock", "CPU time")):
            ours, theirs = np.median(found[:, :, clock], axis=0)
            times = found[:, 0, clock] / found[:, 1, clock]
            print(
                f"{game}, {name}: vector {ours:,.0f}/s, one by one {theirs:,.0f}/s; "
                f"{np.median(times):.2f} times (pairs {times.min():.2f} to {times.max():.2f})"
            )
        for env in envs:
            env.close()


if __name__ == "__main__":
    main()
