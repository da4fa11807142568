"""
What `fast_update=True` brings to the relatives of NBSPSAC, beside their SB3 parents in the same process.

Rounds of updates alternate between the variants; reported is the median over rounds of the ratio of the parent's CPU time to
the variant's in the same round ("times SB3"), with the interquartile range.

    OMP_NUM_THREADS=1 python speed/other_algorithms.py
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPTQC
from sb3_nbsp.common.faster_updates import put_channels_last

WIDE = {"policy_kwargs": {"net_arch": [256, 256]}}
OFF: dict[str, Any] = {"skill_fraction": 0.0, "memory_size": 0}


class RandomEnv(gym.Env):
    """Observations and rewards without a simulator: vectors of Meta-World's shape, or stacked Atari frames."""

    def __init__(self, images: bool, discrete: bool):
        shape, low, high, dtype = ((4, 84, 84), 0, 255, np.uint8) if images else ((39,), -np.inf, np.inf, np.float32)
        self.observation_space = spaces.Box(low, high, shape, dtype)
        self.action_space = spaces.Discrete(6) if discrete else spaces.Box(-1, 1, (4,), np.float32)
        self.images = images

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """A random observation."""
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Another one."""
        self.steps += 1
        return self._observe(), float(self.np_random.normal()), False, self.steps >= 100, {}

    def _observe(self) -> np.ndarray:
        if self.images:
            return self.np_random.integers(0, 256, (4, 84, 84), dtype=np.uint8)
        return self.np_random.normal(size=39).astype(np.float32)


# name: policy, images, parent, ours, settings
CASES: dict[str, tuple[str, bool, type[BaseAlgorithm], type[BaseAlgorithm], dict[str, Any]]] = {
    "TQC [256, 256], batch 256": ("MlpPolicy", False, TQC, NBSPTQC, {"batch_size": 256}),
    "DQN [256, 256], batch 32": (
        "MlpPolicy",
        False,
        DQN,
        NBSPDQN,
        {"batch_size": 32, **WIDE},
    ),
    "QRDQN [256, 256], batch 32": ("MlpPolicy", False, QRDQN, NBSPQRDQN, WIDE),
    "PPO [64, 64], minibatch 64": ("MlpPolicy", False, PPO, NBSPPPO, {"n_steps": 512, "batch_size": 64, "n_epochs": 1}),
    "DQN NatureCNN, batch 32": ("CnnPolicy", True, DQN, NBSPDQN, {"batch_size": 32}),
    "PPO NatureCNN, minibatch 64": ("CnnPolicy", True, PPO, NBSPPPO, {"n_steps": 128, "batch_size": 64, "n_epochs": 1}),
}


def make(cls: type[BaseAlgorithm], policy: str, images: bool, settings: dict[str, Any]) -> BaseAlgorithm:
    """A model with something in its buffer."""
    env: Any = RandomEnv(images, discrete=cls not in (TQC, NBSPTQC))
    own: dict[str, Any] = {} if issubclass(cls, OnPolicyAlgorithm) else {"buffer_size": 600, "learning_starts": 10_000}
    model: Any = cls(policy, env, seed=0, device="cpu", **own, **settings)
    if isinstance(model, OnPolicyAlgorithm):
        _, callback = model._setup_learn(1)
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)  # type: ignore[arg-type]
    else:
        model.learn(500)
    model.set_logger(Logger(None, []))
    return model


def update(model: Any, n_updates: int) -> None:
    """PPO: one pass over its rollout."""
    if isinstance(model, OnPolicyAlgorithm):
        model.train()
    else:
        model.train(n_updates, model.batch_size)


def variants(name: str) -> dict[str, BaseAlgorithm]:
    """The parent and ours."""
    policy, images, parent, ours, settings = CASES[name]
    models = {
        "SB3": make(parent, policy, images, settings),
        "ours, off": make(ours, policy, images, {**settings, **OFF}),
        "fast_update": make(ours, policy, images, {**settings, **OFF, "fast_update": True}),
    }
    if images:  # which part of it is whose
        models["channels_last"] = make(ours, policy, images, {**settings, **OFF})
        put_channels_last(models["channels_last"].policy, models["channels_last"].device)
    return models


def cpu_time(function: Callable[[], None]) -> float:
    """Seconds of this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(name: str, rounds: int, n_updates: int) -> None:
    """Print one row per variant."""
    models = variants(name)
    for model in models.values():
        update(model, 2)
    times: dict[str, list[float]] = {label: [] for label in models}
    for _ in range(rounds):
        for label, model in models.items():
            times[label].append(cpu_time(lambda model=model: update(model, n_updates)))  # type: ignore[misc]
    print(f"\n{name}: {rounds} rounds\n{'variant':<32}{'ms per round':>14}{'times SB3':>12}{'IQR':>18}")
    for label, values in times.items():
        ratios = np.array(times["SB3"]) / np.array(values)
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(f"{label:<32}{1e3 * np.median(values):>14.1f}{middle:>12.2f}{f'[{low:.2f}, {high:.2f}]':>18}", flush=True)


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--updates", type=int, default=10, help="gradient steps per round (PPO: one pass)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    th.set_num_threads(1)
    print(f"torch {th.__version__}, one thread")
    for name in CASES:
        measure(name, arguments.rounds, arguments.updates)


if __name__ == "__main__":
    main()
