"""
A step of UPGD with dead neurons, with and without setting denormal numbers in its averages to 0: milliseconds of CPU time.

The parameters are those of SAC's two critics at [128, 128] on Meta-World. 60 % of the neurons get no gradient; every 700
steps some of them wake up and others die. Averages decay into denormal numbers only after some thousand steps.

    OMP_NUM_THREADS=1 python speed/denormals.py
"""

import time
from statistics import median

import torch as th

from sb3_nbsp.baselines import UPGD, upgd

SHAPES = 2 * [(128, 47), (128, 128), (1, 128)]
ALIVE, CHANGED, STEPS_OF_A_LIFE = 0.4, 0.3, 700
STEPS, MEASURED, ROUNDS = 6000, 1000, 3


def measure() -> float:
    """Of each of the last steps, in the mean."""
    th.manual_seed(0)
    parameters = [th.nn.Parameter(0.1 * th.randn(shape)) for shape in SHAPES]
    optimizer = UPGD(parameters)
    alive = [th.rand(len(p), 1) < ALIVE for p in parameters]
    spent = 0.0
    for step in range(STEPS):
        if step % STEPS_OF_A_LIFE == 0:
            alive = [th.where(th.rand(len(rows), 1) < CHANGED, th.rand(len(rows), 1) < ALIVE, rows) for rows in alive]
        for p, rows in zip(parameters, alive, strict=True):
            p.grad = th.where(rows, 1e-3 * th.randn_like(p), 0.0)
        begun = time.process_time()
        optimizer.step()
        spent += (time.process_time() - begun) if step >= STEPS - MEASURED else 0.0
    return 1000 * spent / MEASURED


flushed_every = upgd.FLUSH_INTERVAL
times: dict[str, list[float]] = {"set to 0": [], "kept": []}
for _ in range(ROUNDS):  # alternating, so that other work on the machine meets both
    for name, interval in (("set to 0", flushed_every), ("kept", STEPS + 1)):
        upgd.FLUSH_INTERVAL = interval
        times[name].append(measure())
for name, of_rounds in times.items():
    print(f"denormal numbers {name}: {median(of_rounds):.2f} ms a step ({min(of_rounds):.2f} to {max(of_rounds):.2f})")
