"""
How fast SAC learns on this machine: one agent and many, the learner alone and end to end, beside Stable-Baselines3.

    make speed                      at most 8 minutes
    python speed/measure.py --quick at most 2 minutes
    python speed/measure.py --out FILE.md --devices cpu

Observations have 39 numbers and actions 4, as in Meta-World; the env costs nothing, so that end to end means: what is left
where the env is free. Rates are agent-updates (gradient steps of one agent) per second, the median of rounds in which all
lines of a block take turns: on a machine that others use, ratios hold better than rates. Seconds are of the CPU where the CPU
computes (with one thread; with several they are of the wall clock), else of the wall clock.
"""

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3 import __version__ as sb3_version
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.random_states import RandomStreams
from sb3_nbsp.population import Population
from sb3_nbsp.sac.batched_learner import BatchedLearner

FILLED = 5_000  # transitions in the buffer of a learner that is measured alone


class FreeEnv(gym.Env):
    """An env that costs nothing."""

    observation_space = spaces.Box(-1.0, 1.0, (39,))
    action_space = spaces.Box(-1.0, 1.0, (4,))

    def __init__(self) -> None:
        self._observation = np.zeros(39, np.float32)
        self._n_steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        return self._observation, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._n_steps += 1
        return self._observation, 0.0, False, self._n_steps % 500 == 0, {}


@dataclass(frozen=True)
class Line:
    """What one line of the table measures."""

    name: str
    device: str
    net: tuple[int, ...]
    batch: int
    agents: int = 1
    cls: type[SAC] = NBSPSAC
    masked: bool = False


def made(line: Line, seed: int) -> SAC:
    model = line.cls(
        "MlpPolicy", FreeEnv(), seed=seed, device=line.device, buffer_size=20_000, batch_size=line.batch,
        learning_starts=line.batch, policy_kwargs={"net_arch": list(line.net)},
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    if line.masked:
        layers = [layer for network in model.neuron_masks.networks for layer in network.layers]
        factors = {layer.name: th.where(th.arange(layer.n_neurons) % 5 == 0, 0.1, 1.0) for layer in layers}
        model.neuron_masks.hold(0, factors)
        model._apply_masks()
    return model


def clock(device: str) -> float:
    """Seconds."""
    return time.process_time() if device == "cpu" and th.get_num_threads() == 1 else time.perf_counter()


def wait(line: Line) -> None:
    if line.device != "cpu":
        th.cuda.synchronize()


class LearnerAlone:
    """Gradient steps on a buffer that is full."""

    def __init__(self, line: Line):
        self.line = line
        self.models = [made(line, seed) for seed in range(line.agents)]
        random = np.random.default_rng(0)
        for model in self.models:
            model.replay_buffer = type(model.replay_buffer)(
                FILLED, model.observation_space, model.action_space, device=model.device
            )
            buffer = model.replay_buffer
            for values in (buffer.observations, buffer.next_observations, buffer.rewards):
                values[:] = random.normal(size=values.shape)
            buffer.actions[:] = random.uniform(-1, 1, buffer.actions.shape)
            buffer.full = True
        self.train: Callable[[int, int], Any] = self.models[0].train
        if line.agents > 1:
            self.learner = BatchedLearner(self.models, [RandomStreams(model.random_states) for model in self.models])
            self.train = self.learner.train
        self._run(20)

    def _run(self, n: int) -> None:
        self.train(n, self.line.batch)
        wait(self.line)

    def rate(self, seconds: float) -> float:
        """Agent-updates per second."""
        device = self.line.device
        n, start = 0, clock(device)
        while clock(device) - start < seconds:
            self._run(20)
            n += 20
        return n * self.line.agents / (clock(device) - start)


class Clock(BaseCallback):
    """Ends training after a while; knows the rate of the updates since its warm-up."""

    def __init__(self, device: str, seconds: float):
        super().__init__()
        self.device = device
        self.seconds = seconds
        self.start = self.first = 0.0
        self.rate = 0.0

    def _on_step(self) -> bool:
        now, n = clock(self.device), self.model._n_updates
        if n < 20:
            return True
        if self.start == 0.0:
            self.start, self.first = now, n
        elsewhere = now - self.start
        if elsewhere > 0 and n > self.first:
            self.rate = (n - self.first) / elsewhere
        return elsewhere < self.seconds


def end_to_end(line: Line, seconds: float) -> float:
    """Agent-updates per second of training on an env that costs nothing, one gradient step per env step."""
    models, clocks = (
        [made(line, seed) for seed in range(line.agents)],
        [Clock(line.device, seconds) for _ in range(line.agents)],
    )
    if line.agents == 1:
        models[0].learn(10**7, callback=clocks[0])
    else:
        Population(models).learn(10**7, callbacks=clocks)
    return line.agents * clocks[0].rate


def lines_of(device: str) -> list[list[Line]]:
    """Blocks of lines that are compared with their first."""
    big, small = ((256, 256), 256), ((64, 64), 64)
    if device == "cpu":
        return [
            [
                Line("SB3", device, *big, cls=SAC),
                Line("one agent", device, *big),
                Line("one agent, a fifth of its neurons held", device, *big, masked=True),
            ],
            [Line("SB3", device, *small, cls=SAC), Line("one agent", device, *small), Line("10 agents", device, *small, 10)],
        ]
    many = [Line(f"{n} agents", device, *big, n) for n in (8, 10, 64)]
    held = Line("64 agents, a fifth of their neurons held", device, *big, 64, masked=True)
    return [
        [Line("SB3", device, *big, cls=SAC), Line("one agent", device, *big), *many, held],
        [Line("one agent", device, (128, 128), 128), Line("64 agents", device, (128, 128), 128, 64)],
    ]


def measured(block: list[Line], rounds: int, seconds: float) -> list[tuple[Line, float, float]]:
    """By line the median rates of the learner and end to end."""
    learners = [LearnerAlone(line) for line in block]
    rates: list[list[float]] = [[] for _ in block]
    for _ in range(rounds):
        for found, learner in zip(rates, learners, strict=True):
            found.append(learner.rate(seconds))
    del learners
    n_ends = max(rounds // 2, 1)  # masks cost nothing outside the learner
    ends = [math.nan if line.masked else statistics.median(end_to_end(line, seconds) for _ in range(n_ends)) for line in block]
    return [(line, statistics.median(found), end) for line, found, end in zip(block, rates, ends, strict=True)]


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [row.partition(":")[2].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
        cpu = f"{names[0]}, {len(names)} cores" if names else cpu
    gpu = f"; {th.cuda.get_device_name()}" if th.cuda.is_available() else ""
    return f"{cpu}{gpu}; torch {th.__version__}, Stable-Baselines3 {sb3_version}, {th.get_num_threads()} thread(s)"


def table(rows: list[tuple[Line, float, float, float, float]]) -> str:
    head = ["| device | networks, batch | what | learner | beside the block's first | end to end | beside the block's first |"]
    head.append("|" + "---|" * 7)
    return "\n".join(
        head
        + [
            f"| {line.device} | {list(line.net)}, {line.batch} | {line.name} | {rate:,.0f} | {rate / first:.2f} "
            + ("| | |" if math.isnan(end) else f"| {end:,.0f} | {end / first_end:.2f} |")
            for line, rate, end, first, first_end in rows
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of short measurements")
    parser.add_argument("--devices", nargs="+", default=["cpu", *(["cuda"] if th.cuda.is_available() else [])])
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--out", type=Path, help="where the table goes, besides the screen")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    rounds, seconds = (1, 2.0) if args.quick else (5, 2.5)
    text = [f"Agent-updates per second on: {machine()}", ""]
    print(text[0], flush=True)
    rows = []
    for device in args.devices:
        for block in lines_of(device):
            found = measured(block, rounds, seconds)
            rows += [(line, rate, end, found[0][1], found[0][2]) for line, rate, end in found]
            print(table(rows[-len(block) :]), flush=True)
            if device != "cpu":
                print(f"GPU memory at most: {th.cuda.max_memory_reserved() / 1e9:.2f} GB reserved by torch", flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text("\n".join([*text, table(rows), ""]))


if __name__ == "__main__":
    main()
