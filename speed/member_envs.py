"""
Many agents end to end on envs that take their time, with envs in the process and in worker processes.

    python speed/member_envs.py                      64 agents on Meta-World at action repeat 4, a minute for each line
    python speed/member_envs.py --step-ms 1          the same on an env that keeps a core busy for 1 ms: needs no Meta-World
    python speed/member_envs.py --device cpu --agents 4 --workers 0 2 --seconds 5 --step-ms 1

Networks [128, 128], batches of 128, 4 gradient steps per env step, as for CoffeeButtonWindowClose. Agent-updates (gradient
steps of one agent) per second of the wall clock, counted from the 20th update on.
"""

import argparse
import os
import time
from contextlib import suppress
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from measure import Clock, FreeEnv, machine
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.population import MemberEnvs, Population

ENV = "sb3_nbsp/CoffeeButtonWindowClose-v0"
SETTINGS: dict[str, Any] = {
    "policy_kwargs": {"net_arch": [128, 128]}, "batch_size": 128, "gradient_steps": 4, "gamma": 0.97, "learning_rate": 1e-3,
    "learning_starts": 128, "buffer_size": 50_000,
}  # fmt: skip


class BusyEnv(FreeEnv):
    """
    Keeps a core busy.

    :param step_ms: for this time in each step
    """

    def __init__(self, step_ms: float):
        super().__init__()
        self.step_ms = step_ms

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        end = time.perf_counter() + self.step_ms / 1e3
        while time.perf_counter() < end:
            pass
        return super().step(action)


class TimeIsUp(Exception):
    """The end of a measurement."""


class WallClock(Clock):
    """
    Ends the training of all members after a while, by the wall clock. One member has it: a population looks often at a member
    with a callback of somebody else's.
    """

    def __init__(self, seconds: float):
        super().__init__("wall", seconds)

    def _on_step(self) -> bool:
        if not super()._on_step():
            raise TimeIsUp
        return True


def make(step_ms: float | None, seed: int) -> gym.Env:
    if step_ms is not None:
        return Monitor(BusyEnv(step_ms))
    env = gym.make(ENV, action_repeat=4, horizon=50, steps_per_task=100_000)
    env.reset(seed=seed)  # Meta-World makes its goals here, half a second of which the workers take at once
    return Monitor(env)


def rate(agents: int, workers: int, seconds: float, device: str, step_ms: float | None) -> float:
    """Agent-updates per second."""
    makers = [partial(make, step_ms, seed) for seed in range(agents)]
    pool = MemberEnvs(makers, workers) if workers else None
    envs = list(pool) if pool is not None else [DummyVecEnv([maker]) for maker in makers]
    models = [NBSPSAC("MlpPolicy", env, seed=seed, device=device, verbose=0, **SETTINGS) for seed, env in enumerate(envs)]
    for model in models:
        model.set_logger(Logger(None, []))
    clock = WallClock(seconds)
    with suppress(TimeIsUp):
        Population(models).learn(90_000, callbacks=[clock, *[None] * (agents - 1)])
    for env in envs:
        env.close()
    return agents * clock.rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, max((os.cpu_count() or 2) - 1, 1)])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--device", default="cuda" if th.cuda.is_available() else "cpu")
    parser.add_argument("--step-ms", type=float, help="an env that keeps a core busy for this time, in place of Meta-World")
    args = parser.parse_args()
    th.set_num_threads(1)
    env = ENV if args.step_ms is None else f"an env of {args.step_ms} ms per step"
    print(f"{args.agents} agents on {env}, {args.device}: {machine()}", flush=True)
    for workers in args.workers:
        found = rate(args.agents, workers, args.seconds, args.device, args.step_ms)
        where = f"in {workers} worker processes" if workers else "in the process"
        print(f"envs {where}: {found:,.0f} agent-updates/s", flush=True)


if __name__ == "__main__":
    main()
