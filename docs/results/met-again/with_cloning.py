"""
The same question where the policy is cloned in place of replay: the first 1,000 env steps of the third visit (east again).

    PYTHONPATH=docs/results/met-again python docs/results/met-again/with_cloning.py with_cloning.jsonl 100 101 102
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import third_visit
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp import NBSPSAC

# By name: rehearsal of the first two visits and of the third, and for how many steps of it the task's own clones hold it, too.
VARIANTS: dict[str, tuple[str, int]] = {
    "replay": ("replay", 0),
    "clone": ("clone", 0),
    "clone, held to its own clones, too": ("clone", 10_000),
    "clone, held to its own clones for 500 steps": ("clone", 500),
    "both": ("both", 0),
}


class HeldToItsOwn(BaseCallback):
    """Clones the task that is learned, too, for the visit's first steps."""

    model: Any

    def __init__(self, n_steps: int):
        super().__init__()
        self.n_steps = n_steps

    def _on_training_start(self) -> None:
        term, first = self.model.cloning, self.num_timesteps
        draw, memory = term.draw, term.memory

        def held_draw() -> Any:
            if self.num_timesteps - first <= self.n_steps:
                memory.current_task = None
            return draw()

        term.draw = held_draw

    def _on_step(self) -> bool:
        return True


def main(out: Path, seeds: list[int]) -> None:
    """Append one row per seed and variant."""
    th.set_num_threads(1)
    third_visit.EVERY = 100
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            for rehearsal in ("replay", "clone", "both"):
                model = NBSPSAC("MlpPolicy", gym.make(third_visit.ENV), seed=seed, rehearsal=rehearsal, **third_visit.SETTINGS)
                model.learn(4_000).save(Path(folder) / rehearsal)
            for name, (rehearsal, n_steps) in VARIANTS.items():
                again = NBSPSAC.load(Path(folder) / rehearsal, env=gym.make(third_visit.ENV), device="cpu")
                watch = third_visit.Watch()
                again.learn(1_000, [watch, HeldToItsOwn(n_steps)] if n_steps else watch, reset_num_timesteps=False)
                with out.open("a") as file:
                    file.write(json.dumps({"seed": seed, "variant": name, "rows": watch.rows}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
