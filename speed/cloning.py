"""
What cloning costs: gradient steps with the cloning term beside the same steps without it, on the same model, in one process.

Rounds alternate between the variants; reported is the median over rounds of the ratio of CPU times to the same model without
the term in the same round, with the interquartile range. One old task of 100 observations; a cloning batch of half the batch.

    OMP_NUM_THREADS=1 python speed/cloning.py
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from costs import RandomEnv
from gymnasium import spaces

from sb3_nbsp import NBSPDQN, NBSPQRDQN, NBSPSAC, NBSPTQC
from sb3_nbsp.baselines import BehaviouralCloning

MODELS = {
    "NBSPSAC": (NBSPSAC, {}),
    "NBSPSAC, SB3's train()": (NBSPSAC, {"fast_update": False}),
    "NBSPTQC": (NBSPTQC, {}),
    "NBSPDQN": (NBSPDQN, {}),
    "NBSPQRDQN": (NBSPQRDQN, {}),
}


class RandomDiscreteEnv(RandomEnv):
    """The same with ten actions."""

    action_space = spaces.Discrete(10)  # type: ignore[assignment]


def make(cls: Any, width: int, batch_size: int, callback: bool, **arguments: Any) -> Any:
    """A model with one task of 100 observations behind it, cloned by the class or by the callback."""
    env = RandomDiscreteEnv() if cls in (NBSPDQN, NBSPQRDQN) else RandomEnv()
    settings = {"policy_kwargs": {"net_arch": [width, width]}, "buffer_size": 20_000, "learning_starts": 10_000, "seed": 0}
    cloning = {"rehearsal": "clone", "memory_size": 0 if callback else 100, "clone_batch_size": batch_size // 2}
    model = cls("MlpPolicy", env, batch_size=batch_size, skill_fraction=0.0, task_warmup=0, **settings, **cloning, **arguments)
    cloner = BehaviouralCloning(memory_size=100, batch_size=batch_size // 2)
    model.learn(1_000, callback=cloner if callback else None)
    if callback:
        cloner.end_task("A")
    model.consolidate(task="A")
    model.learn(1_000, callback=cloner if callback else None, reset_num_timesteps=False)
    if callback:
        _, started = model._setup_learn(1, cloner, False)
        started.on_training_start({}, {})
    return model


def switches(width: int, batch_size: int, only: list[str] | None) -> dict[str, tuple[Any, Callable[[bool], None]]]:
    """By variant: a model, and what switches its cloning on and off."""
    found: dict[str, tuple[Any, Callable[[bool], None]]] = {}
    for name, (cls, arguments) in MODELS.items():
        if only and name not in only:
            continue
        model = make(cls, width, batch_size, callback=False, **arguments)
        found[name] = model, lambda on, model=model: setattr(model, "rehearsal", "clone" if on else "replay")
    model = make(NBSPSAC, width, batch_size, callback=True)
    found["NBSPSAC, callback"] = model, lambda on: None
    return found


def measure(width: int, batch_size: int, only: list[str] | None, rounds: int, n_updates: int) -> None:
    """Print one row per variant."""
    variants = switches(width, batch_size, only)
    times: dict[tuple[str, bool], list[float]] = {(name, on): [] for name in variants for on in (False, True)}
    for i in range(rounds + 1):
        for name, on in list(times)[:: 1 if i % 2 else -1]:
            model, switch = variants[name]
            switch(on)
            model.train(1, batch_size)
            started = time.process_time()
            for _ in range(n_updates):  # one by one, as in training
                model.train(1, batch_size)
            if i > 0:  # the first round warms up
                times[name, on].append((time.process_time() - started) / n_updates * 1000)
    print(f"\n[{width}, {width}], batch {batch_size} + {batch_size // 2}: {rounds} rounds of {n_updates} gradient steps")
    print(f"{'variant':<26}{'ms without':>12}{'ms with':>10}{'ratio':>8}{'IQR':>18}")
    for name in variants:
        # The callback cannot be switched off within a training: its reference is NBSPSAC without cloning.
        reference = "NBSPSAC" if "callback" in name else name
        ratios = np.array(times[name, True]) / np.array(times[reference, False])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        without, with_it = np.median(times[reference, False]), np.median(times[name, True])
        print(f"{name:<26}{without:>12.2f}{with_it:>10.2f}{middle:>8.3f}   [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=MODELS, help="these classes, and the callback")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=40, help="gradient steps per round")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"torch {th.__version__}, {th.get_num_threads()} thread(s)")
    for width in args.width:
        measure(width, args.batch_size, args.only, args.rounds, args.updates)
