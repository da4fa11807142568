"""
Gradient steps under a baseline (its hooks, its activation function, its optimizer): NBSPSAC's update beside SB3's own
train(), each with the baseline in force.

Rounds alternate between the variants; reported is the median over rounds of the ratio of CPU times to SB3's train() with the
same baseline in the same round, with the interquartile range. One old task lies behind each model.

    OMP_NUM_THREADS=1 python speed/baselines.py
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch as th
from costs import RandomEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import (
    AGEM,
    EWC,
    NPC,
    UPGD,
    BehaviouralCloning,
    ContinualBackprop,
    CReLU,
    PackNet,
    PlasticityInjection,
    TaskBoundaryCallback,
)

REMEMBERS = {"memory_size": 1_000, "replay_mode": "share", "old_task_fraction": 0.0}
# By name: the callback, if it is one, arguments of the model, and of its policy.
BASELINES: dict[str, tuple[Callable[[], TaskBoundaryCallback] | None, dict[str, Any], dict[str, Any]]] = {
    "EWC": (lambda: EWC(networks="all"), {}, {}),
    "PackNet": (lambda: PackNet(n_tasks=3, retrain_steps=0), {}, {}),
    "BehaviouralCloning": (lambda: BehaviouralCloning(memory_size=1_000), {}, {}),
    "A-GEM": (AGEM, REMEMBERS, {}),
    "NPC": (NPC, {}, {}),
    "ContinualBackprop": (partial(ContinualBackprop, maturity=100), {}, {}),
    "PlasticityInjection": (PlasticityInjection, {}, {}),
    "CReLU": (None, {}, {"activation_fn": CReLU}),
    "UPGD": (None, {}, {"optimizer_class": UPGD}),
    "AdamW": (None, {}, {"optimizer_class": th.optim.AdamW}),
}


def make(name: str, how: Any, width: int, batch_size: int) -> Any:
    """A model that has ended a task with a baseline, and trains on."""
    make_callback, arguments, of_policy = BASELINES[name]
    policy_kwargs = {"net_arch": [width, width], **of_policy}
    settings = {"policy_kwargs": policy_kwargs, "buffer_size": 20_000, "learning_starts": 10_000, "seed": 0}
    own = {"skill_fraction": 0.0, "task_warmup": 0, "rehearsal": "replay", "memory_size": 0, **arguments}
    model = NBSPSAC("MlpPolicy", RandomEnv(), batch_size=batch_size, fast_update=how, **settings, **own)
    callback = None if make_callback is None else make_callback()
    model.learn(1_000, callback=callback)
    if callback is not None:
        callback.end_task("A")
    model.consolidate(task="A")
    model.learn(1_000, callback=callback, reset_num_timesteps=False)
    _, started = model._setup_learn(1, callback, False)
    started.on_training_start({}, {})  # puts it in force
    return model


def measure(width: int, batch_size: int, rounds: int, n_updates: int) -> None:
    """Print one row per baseline."""
    models = {(name, how): make(name, how, width, batch_size) for name in BASELINES for how in (False, "auto")}
    times: dict[Any, list[float]] = {variant: [] for variant in models}
    for i in range(rounds + 1):
        for variant in list(models)[:: 1 if i % 2 else -1]:
            models[variant].train(1, batch_size)
            started = time.process_time()
            for _ in range(n_updates):  # one by one, as in training
                models[variant].train(1, batch_size)
            if i > 0:  # the first round warms up
                times[variant].append((time.process_time() - started) / n_updates * 1000)
    print(f"\n[{width}, {width}], batch {batch_size}: {rounds} rounds of {n_updates} gradient steps")
    print(f"{'baseline':<22}{'path':>10}{'ms SB3':>10}{'ms ours':>10}{'ratio':>8}{'IQR':>18}")
    for name in BASELINES:
        theirs, ours = np.array(times[name, False]), np.array(times[name, "auto"])
        low, middle, high = np.percentile(ours / theirs, [25, 50, 75])
        path = models[name, "auto"].update_path
        medians = f"{np.median(theirs):>10.2f}{np.median(ours):>10.2f}"
        print(f"{name:<22}{path:>10}{medians}{middle:>8.3f}   [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[256, 128])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=30, help="gradient steps per round")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"torch {th.__version__}, {th.get_num_threads()} thread(s)")
    for width in args.width:
        measure(width, args.batch_size, args.rounds, args.updates)
