"""
What ``fast_update=True`` brings to NBSPDQN and NBSPPPO with NatureCNN on a GPU, beside SB3's DQN and PPO in the same process:
channels last and a fused Adam. Images are random, no env is stepped.

    python speed/cnn.py                  at most a minute on a GPU
    python speed/cnn.py --device cpu --seconds 2

Rounds of updates take turns between the variants; reported is the median over rounds of the ratio of SB3's time to the
variant's in the same round ("times SB3"), with the interquartile range. Seconds of the wall clock, the device's work included.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from other_algorithms import OFF, RandomEnv, update
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.logger import Logger

from sb3_nbsp import NBSPDQN, NBSPPPO

N_UPDATES = 20  # gradient steps of DQN in a round; a round of PPO is one pass over its rollout
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "DQN, batch 32": (DQN, NBSPDQN, {"buffer_size": 600, "learning_starts": 10_000, "batch_size": 32}),
    "DQN, batch 256": (DQN, NBSPDQN, {"buffer_size": 600, "learning_starts": 10_000, "batch_size": 256}),
    "PPO, minibatch 256": (PPO, NBSPPPO, {"n_steps": 1024, "batch_size": 256, "n_epochs": 1}),
}


def made(cls: Any, device: str, **settings: Any) -> Any:
    """A model with random rows in its buffer."""
    model = cls("CnnPolicy", RandomEnv(images=True, discrete=True), seed=0, device=device, **settings)
    model._setup_learn(1)
    model.set_logger(Logger(None, []))
    random = np.random.default_rng(0)
    buffer = model.rollout_buffer if hasattr(model, "rollout_buffer") else model.replay_buffer
    images = [
        getattr(buffer, name) for name in ("observations", "next_observations") if getattr(buffer, name, None) is not None
    ]
    for array in images:
        array[:] = random.integers(0, 256, array.shape, dtype=np.uint8)
    buffer.rewards[:] = random.normal(size=buffer.rewards.shape)
    buffer.actions[:] = random.integers(0, 6, buffer.actions.shape)
    buffer.full = True
    buffer.pos = buffer.buffer_size if hasattr(model, "rollout_buffer") else 0
    if hasattr(model, "rollout_buffer"):
        buffer.log_probs[:] = np.log(1 / 6)
        buffer.advantages[:] = random.normal(size=buffer.advantages.shape)
        buffer.returns[:] = random.normal(size=buffer.returns.shape)
    return model


def seconds_of(function: Callable[[], None], device: str) -> float:
    """Of the wall clock, until the device is done."""
    start = time.perf_counter()
    function()
    if device != "cpu":
        th.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, device: str, seconds: float) -> None:
    """Print one row per variant."""
    parent, ours, settings = CASES[name]
    models = {
        "SB3": made(parent, device, **settings),
        "ours, off": made(ours, device, **settings, **OFF),
        "fast_update": made(ours, device, **settings, **OFF, fast_update=True),
    }
    for model in models.values():
        update(model, 1)
    times: dict[str, list[float]] = {label: [] for label in models}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for label, model in models.items():
            times[label].append(seconds_of(lambda model=model: update(model, N_UPDATES), device))  # type: ignore[misc]
    print(f"\n{name}: {len(times['SB3'])} rounds\n{'variant':<16}{'ms per round':>14}{'times SB3':>12}{'IQR':>18}")
    for label, values in times.items():
        low, middle, high = np.percentile(np.array(times["SB3"]) / np.array(values), [25, 50, 75])
        print(f"{label:<16}{1e3 * np.median(values):>14.1f}{middle:>12.2f}{f'[{low:.2f}, {high:.2f}]':>18}", flush=True)


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if th.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each case")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    th.set_num_threads(1)
    where = th.cuda.get_device_name() if arguments.device != "cpu" else "CPU, one thread"
    print(f"torch {th.__version__}, {where}")
    for name in CASES:
        measure(name, arguments.device, arguments.seconds)


if __name__ == "__main__":
    main()
