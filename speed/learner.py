"""
Gradient steps per second of NBSPSAC beside SB3's SAC (and SBX, if it is installed) in the same process.

Rounds of gradient steps alternate between the variants; reported is the median over rounds of the ratio to SB3 in the same
round, with the interquartile range. Masks and memory are switched on and off on the same model. One thread is measured in
CPU time, several in wall time, in rounds without load from elsewhere. SBX takes the threads that it finds (give it as many
with ``taskset``), whatever torch is told.

The floor is what the matrix products alone would take: their floating point operations over the rate of a product of the
hidden layers' size, measured in the same rounds.

    OMP_NUM_THREADS=2 python speed/learner.py --output learner.md
"""

import argparse
import importlib.util
import os
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from costs import make
from stable_baselines3 import SAC

from sb3_nbsp import NBSPSAC
from sb3_nbsp.sac.fast_sac import AutogradUpdate

BATCH = 256
OBSERVED, ACTIONS, CRITICS = 39, 4, 2
HEADER = ("variant", "steps/s", "ms", "times SB3", "IQR", "to fast", "floor ms")


class WithAutograd(NBSPSAC):
    """NBSPSAC as it learns where the fast update does not apply."""

    def _choose_update(self) -> AutogradUpdate:  # type: ignore[override]
        return AutogradUpdate(self)


class Variant:
    """
    A model and how it is to be set before it is measured.

    :param model: the model
    :param masks: hold what the model holds of its task
    :param memory: ``replay_mode``, or ``None`` for no memory
    """

    def __init__(self, model: SAC, masks: bool = False, memory: str | None = None):
        self.model, self.masks, self.memory = model, masks, memory
        self.factors = model.neuron_masks.parameter_factors() if isinstance(model, NBSPSAC) else {}

    def set_up(self) -> None:
        """Switch masks and memory, and make one gradient step to get used to it."""
        if isinstance(self.model, NBSPSAC):
            for optimizer in (self.model.actor.optimizer, self.model.critic.optimizer):
                if optimizer.is_masking != self.masks:
                    optimizer.set_factors(self.factors if self.masks else {})
            self.model.replay_buffer.memory_size = 10_000 if self.memory else 0
            self.model.replay_buffer.replay_mode = self.memory or "interval"
        self.run(1)

    def run(self, n_updates: int) -> None:
        """Make gradient steps one by one, as in training."""
        before = self.model._n_updates
        for _ in range(n_updates):
            self.model.train(gradient_steps=1, batch_size=BATCH)
        assert self.model._n_updates == before + n_updates


def variants(width: int) -> dict[str, Variant]:
    """The rows of a table, SB3 first."""
    settings: dict[str, Any] = {"task_warmup": 0, "rehearsal": "replay"}  # without cloning, which speed/cloning.py measures
    ours = make(NBSPSAC, width, BATCH, **settings)
    gradient = make(NBSPSAC, width, BATCH, **settings, mask_target="gradient")
    gradient.train(1000, BATCH)  # until the momentum of what is held is gone, as in most of a training run
    rows = {
        "SB3": Variant(make(SAC, width, BATCH)),
        "autograd, less waste": Variant(make(WithAutograd, width, BATCH, **settings)),
        "fast": Variant(ours),
        "fast, masks (update)": Variant(ours, masks=True),
        "fast, masks (gradient)": Variant(gradient, masks=True),
        "fast, memory (every 10th batch)": Variant(ours, memory="interval"),
        "fast, memory (half of each batch)": Variant(ours, memory="share"),
        "fast, masks and memory": Variant(ours, masks=True, memory="interval"),
    }
    if importlib.util.find_spec("sbx") is not None:
        import sbx

        rows["SBX"] = Variant(make(sbx.SAC, width, BATCH))
    return rows


def needed_operations(width: int) -> float:
    """Floating point operations of the matrix products in one gradient step with two hidden layers."""

    def products(sizes: list[int]) -> float:
        return 2.0 * BATCH * sum(a * b for a, b in pairwise(sizes))

    actor, critic = [OBSERVED, width, width, 2 * ACTIONS], [OBSERVED + ACTIONS, width, width, 1]
    forward = 2 * products(actor) + 3 * CRITICS * products(critic)  # in s and s'; targets, critics, critics once more
    weights = products(actor) + CRITICS * products(critic)
    hidden = products(actor[1:]) + CRITICS * products(critic[1:])
    through_one_critic = products(critic[1:]) + products([width, ACTIONS])  # of each sample, to its action
    return forward + weights + hidden + through_one_critic


def product_seconds(width: int, clock: Callable[[], float]) -> float:
    """Seconds per operation in a product of the hidden layers' size."""
    a, b, c = th.randn(3, width, BATCH)[0], th.randn(width, width), th.empty(width, BATCH)
    started = clock()
    for _ in range(20):
        th.mm(b, a, out=c)
    return (clock() - started) / (20 * 2.0 * BATCH * width * width)


def busy_seconds() -> float:
    """CPU seconds that other processes of this machine have used so far."""
    user, nice, system, _, _, irq, softirq, *_ = map(float, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - time.process_time()


def measure(rows: dict[str, Variant], width: int, rounds: int, n_updates: int, load: float) -> list[tuple[Any, ...]]:
    """
    One line per variant, see ``HEADER``.

    :param load: with several threads, rounds in which others use more than this share of a core are left out
    """
    clock = time.process_time if th.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in [*rows, "product"]}
    loads: list[float] = []
    for i in range(rounds + 1):
        began, busy, taken = time.perf_counter(), busy_seconds(), {"product": product_seconds(width, clock)}
        for name in list(rows) if i % 2 else list(rows)[::-1]:
            rows[name].set_up()
            started = clock()
            rows[name].run(n_updates)
            taken[name] = (clock() - started) / n_updates * 1000
        outside = (busy_seconds() - busy) / (time.perf_counter() - began)
        if i == 0 or (th.get_num_threads() > 1 and outside > load):  # the first round warms up
            continue
        loads.append(outside)
        for name, value in taken.items():
            times[name].append(value)
    if not loads:
        print(f"No round of {rounds} had less than {load} cores of load from elsewhere: nothing is reported.")
        return []
    floor = needed_operations(width) * float(np.median(times["product"])) * 1000
    rate = 1e-9 / np.median(times["product"])
    print(f"{len(loads)} rounds; {rate:.0f} GFLOP/s; others used {np.median(loads):.2f} cores in the median round")
    lines = []
    for name in rows:
        ratios = np.array(times["SB3"]) / np.array(times[name])
        to_fast = np.median(np.array(times[name]) / np.array(times["fast"]))
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        ms = np.median(times[name])
        spread = f"[{low:.2f}, {high:.2f}]"
        lines.append((name, f"{1000 / ms:.0f}", f"{ms:.2f}", f"{middle:.2f}", spread, f"{to_fast:.3f}", f"{floor:.2f}"))
    return lines


def markdown(title: str, lines: list[tuple[Any, ...]]) -> str:
    """A table."""
    rows = [HEADER, ("---",) * len(HEADER), *lines]
    return "\n".join([f"\n{title}\n", *("| " + " | ".join(row) + " |" for row in rows), ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[256, 400])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--updates", type=int, default=10, help="gradient steps per round")
    parser.add_argument("--load", type=float, default=0.15, help="with several threads: cores that others may use in a round")
    parser.add_argument("--output", type=Path, help="file for the tables, in markdown")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    tables = [f"torch {th.__version__}, batch {BATCH}, {args.rounds} rounds of {args.updates} gradient steps"]
    print(tables[0])
    for width in args.width:
        th.set_num_threads(1)
        rows = variants(width)
        for n_threads in args.threads:
            th.set_num_threads(n_threads)
            lines = measure(rows, width, args.rounds, args.updates, args.load)
            tables.append(markdown(f"[{width}, {width}], {n_threads} thread{'s' * (n_threads > 1)}", lines))
            print(tables[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(tables))
