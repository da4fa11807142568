"""
The first 500 env steps of the third visit (east again), from one model under several variants: what makes success fall?

    PYTHONPATH=docs/results/met-again python docs/results/met-again/third_visit.py third_visit.jsonl 100 101 102

Two visits are trained once per seed with the settings of ``hyperparams/nbspsac.yml``; each variant goes on from there.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from variants import OwnMemory, OwnMemoryWithoutOwnMask, WithoutOwnMask

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.evaluation.evaluator import TaskEvaluator

ENV = "sb3_nbsp/PointGoal-v0"
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 64, "gamma": 0.95, "tau": 0.02, "learning_starts": 100}
SETTINGS |= {"scoring_steps": 1_000, "policy_kwargs": {"net_arch": [64, 64]}, "device": "cpu"}
EVERY, N_STEPS = 50, 500

# By name: NBSP's arguments that differ, a callback, and whether the entropy coefficient is that of east's first visit's end.
VARIANTS: dict[str, tuple[dict[str, Any], type[BaseCallback] | None, bool]] = {
    "NBSP": ({}, None, False),
    "own mask lifted": ({}, WithoutOwnMask, False),
    "no mask at all": ({"skill_fraction": 0}, None, False),
    "own memory drawn from": ({}, OwnMemory, False),
    "own memory drawn from, own mask lifted": ({}, OwnMemoryWithoutOwnMask, False),
    "own entropy coefficient": ({}, None, True),
    "own memory drawn from, own entropy coefficient": ({}, OwnMemory, True),
    "warm-up of 500": ({"task_warmup": 500}, None, False),
}


class EntropyCoefficientAt(BaseCallback):
    """Notes the logarithm of the entropy coefficient at an env step."""

    model: Any

    def __init__(self, step: int):
        super().__init__()
        self.step, self.noted = step, th.zeros(1)

    def _on_step(self) -> bool:
        if self.num_timesteps == self.step:
            self.noted = self.model.log_ent_coef.detach().clone()
        return True


class Watch(BaseCallback):
    """Success and return on both tasks, and the entropy coefficient, over the visit's first steps."""

    model: Any

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def _on_training_start(self) -> None:
        self.first = self.num_timesteps
        self.evaluator = TaskEvaluator(self.training_env, self.training_env.get_attr("task_sequence")[0])
        self._look()

    def _on_step(self) -> bool:
        if (self.num_timesteps - self.first) % EVERY == 0:
            self._look()
        return True

    def _look(self) -> None:
        with isolated_rng(0):
            success, returns = self.evaluator.evaluate(self.model)
        ent_coef = float(self.model.log_ent_coef.exp())
        self.rows.append(
            {"step": self.num_timesteps - self.first, "success": success, "return": returns, "ent_coef": ent_coef}
        )


def main(out: Path, seeds: list[int]) -> None:
    """Append one row per seed and variant."""
    th.set_num_threads(1)
    for seed in seeds:
        model = NBSPSAC("MlpPolicy", gym.make(ENV), seed=seed, **SETTINGS)
        of_east = EntropyCoefficientAt(2_000)
        model.learn(4_000, of_east)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            for name, (arguments, callback, keeps_ent_coef) in VARIANTS.items():
                again = NBSPSAC.load(Path(folder) / "model", env=gym.make(ENV), device="cpu", custom_objects=arguments)
                if "skill_fraction" in arguments:
                    again.neuron_masks.reset()
                    again._apply_masks()
                if keeps_ent_coef:
                    again.log_ent_coef.data.copy_(of_east.noted)
                watch = Watch()
                again.learn(N_STEPS, [watch] if callback is None else [watch, callback()], reset_num_timesteps=False)
                row = {"seed": seed, "variant": name, "rows": watch.rows}
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
