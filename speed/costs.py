"""
What NBSP costs: gradient steps of NBSPSAC with masks and memory beside SB3's SAC in the same process, and the scoring.

Rounds of gradient steps alternate between the variants; reported is the median over rounds of the ratio of CPU times to
SAC's in the same round, with the interquartile range. Networks that learned other things also differ in speed (numbers close
to zero are slow); what masks cost is therefore measured on one network, with and without them.

    OMP_NUM_THREADS=1 python speed/costs.py
"""

import argparse
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch as th
from gymnasium import Env, spaces
from stable_baselines3 import SAC

from sb3_nbsp import NBSPSAC
from sb3_nbsp.tasks.metaworld import metaworld_sequence


class RandomEnv(Env):
    """Observations and rewards of Meta-World's shape, without a simulator."""

    observation_space = spaces.Box(-np.inf, np.inf, (39,), np.float32)
    action_space = spaces.Box(-1, 1, (4,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """A random observation."""
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Another one."""
        self.steps += 1
        return self._observe(), float(self.np_random.normal()), False, self.steps >= 100, {"success": self.steps > 50}

    def _observe(self) -> np.ndarray:
        return self.np_random.normal(size=39).astype(np.float32)


def make(cls: type[SAC], width: int, batch_size: int, **arguments: Any) -> SAC:
    """A model with 5,000 transitions in its buffer, with one task behind it if it is ours."""
    kwargs = {"policy_kwargs": {"net_arch": [width, width]}, "batch_size": batch_size, "buffer_size": 20_000, "seed": 0}
    model = cls("MlpPolicy", RandomEnv(), learning_starts=10_000, **kwargs, **arguments)
    model.learn(5_000)
    if isinstance(model, NBSPSAC):
        model.consolidate(RandomEnv(), "A")
        model.learn(5_000, reset_num_timesteps=False)
    return model


def measure_updates(width: int, batch_size: int, rounds: int, n_updates: int) -> None:
    """Print one row per variant."""
    off = {"skill_fraction": 0.0, "memory_size": 0, "task_warmup": 0}
    # With SB3's own train(): what masks and memory cost in the fast one stands in learner.py's table.
    ours = partial(make, NBSPSAC, width, batch_size, fast_update=False, rehearsal="replay")
    models = {
        "SAC": make(SAC, width, batch_size),
        "NBSPSAC, all off": ours(**off),
        "masks (update)": ours(task_warmup=0, memory_size=0),
        "masks (gradient)": ours(task_warmup=0, memory_size=0, mask_target="gradient"),
        "memory (every 10th batch)": ours(task_warmup=0, skill_fraction=0.0),
        "memory (half of each batch)": ours(task_warmup=0, skill_fraction=0.0, replay_mode="share"),
        "masks and memory": ours(task_warmup=0),
    }
    masked = ["masks (update)", "masks (gradient)", "masks and memory"]
    factors = {name: models[name].neuron_masks.parameter_factors() for name in masked}  # type: ignore[attr-defined]
    models |= {f"{name}: masks off": models[name] for name in masked}
    times: dict[str, list[float]] = {name: [] for name in models}
    for i in range(rounds + 1):
        order = list(models) if i % 2 else list(models)[::-1]
        for name in order:
            if name.removesuffix(": masks off") in masked:
                for optimizer in (models[name].actor.optimizer, models[name].critic.optimizer):
                    optimizer.set_factors(factors.get(name, {}))  # type: ignore[attr-defined]
            started = time.process_time()
            models[name].train(n_updates, batch_size)
            if i > 0:  # the first round warms up
                times[name].append((time.process_time() - started) / n_updates * 1000)
    print(f"\n[{width}, {width}], batch {batch_size}: {rounds} rounds of {n_updates} gradient steps")
    print(f"{'variant':<30}{'ms per step':>12}{'ratio':>8}{'IQR':>18}   to")
    references = [(name, "SAC") for name in times] + [(name, f"{name}: masks off") for name in masked]
    for name, reference in references:
        ratios = np.array(times[name]) / np.array(times[reference])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(f"{name:<30}{np.median(times[name]):>12.2f}{middle:>8.3f}   [{low:.3f}, {high:.3f}]   {reference}")


def measure_scoring(n_steps: int) -> None:
    """Print how long scoring takes on a real Meta-World task."""
    env = metaworld_sequence(("window-open", "window-close"), steps_per_task=1000).make_task_env("window-open")
    model = NBSPSAC("MlpPolicy", env, seed=0, scoring_steps=n_steps, memory_size=0, buffer_size=1000)
    started = time.perf_counter()
    model.consolidate(env, "window-open")
    print(f"\nscoring {n_steps} steps of Meta-World window-open, [256, 256]: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=40, help="gradient steps per round")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"torch {th.__version__}, {th.get_num_threads()} thread(s)")
    for width in args.width:
        measure_updates(width, args.batch_size, args.rounds, args.updates)
    measure_scoring(5_000)
