"""NBSPSAC models that several test files share, and the two ways to a task's end."""

import io
from typing import ClassVar

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from helpers import (
    NBSP_SETTINGS,
    copied,
    sequence_env,
    task_env,
)
from sb3_nbsp import NBSPSAC

STEPS = 60  # per task in sequence_env()
EAST, WEST = 4, 5  # places of the one-hot task id in the observation
FROZEN = {"mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True, "select_among": "active", "score": "corrected"}


def made(env=None, cls=NBSPSAC, policy="MlpPolicy", **kwargs):
    return cls(policy, sequence_env() if env is None else env, **{**NBSP_SETTINGS, **kwargs})


def saved_and_loaded(model, env: VecEnv | None = None, **kwargs):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return type(model).load(file, env=env, **kwargs)


def held_positions(model) -> dict[str, th.Tensor]:
    """Which entries of which parameters have factor 0, by name."""
    factors = model.neuron_masks.parameter_factors()
    return {name: factors[p] == 0 for name, p in model.policy.named_parameters() if p in factors and (factors[p] == 0).any()}


def values_at(model, positions: dict[str, th.Tensor]) -> dict[str, th.Tensor]:
    parameters = dict(model.policy.named_parameters())
    return {name: parameters[name].detach()[where].clone() for name, where in positions.items()}


def weights(model) -> dict:
    return copied(model.policy.state_dict())


def remembered_ids(model, task: int) -> np.ndarray:
    return model.replay_buffer.memory._tasks[task].observations[:, [EAST, WEST]]


class Counting(NBSPSAC):
    """Notes every consolidation as (task, env steps)."""

    calls: ClassVar[list[tuple[str, int]]] = []

    def consolidate(self, env=None, task=None):
        self.calls.append((task, self.num_timesteps))
        return super().consolidate(env, task)


def go_on_with_west(model, way: str, steps: int) -> None:
    if way == "by hand" and model.env.get_attr("task_name") == ["east"]:
        model.set_env(task_env("west"))
    model.learn(steps, reset_num_timesteps=False)


def after_east(way: str, **kwargs):
    """A model that has just consolidated "east"."""
    if way == "sequence":
        return made(sequence_env(steps=STEPS, cycles=2), **kwargs).learn(STEPS)
    model = made(task_env("east"), **kwargs).learn(STEPS)
    model.consolidate(task_env("east"), task="east")
    return model


ways = pytest.mark.parametrize("way", ["sequence", "by hand"])
