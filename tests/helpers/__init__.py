"""Small environments and models that several test files share."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_nbsp.tasks import Task, TaskEnv, TaskSequence, TaskSequenceEnv, point_goal_sequence

HORIZON = 10
POLICY_KWARGS = {"net_arch": [8, 8]}
SETTINGS = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "seed": 1, "policy_kwargs": POLICY_KWARGS}
NBSP_SETTINGS = {**SETTINGS, "scoring_steps": 60, "memory_size": 50, "rehearsal": "replay"}


def sequence_env(n_envs: int = 1, steps: int = 60, **kwargs: Any) -> VecEnv:
    env_kwargs = {"steps_per_task": steps, "horizon": HORIZON, "n_envs": n_envs, **kwargs}
    return make_vec_env("sb3_nbsp/PointGoal-v0", n_envs, env_kwargs=env_kwargs)


def task_env(name: str = "east", sequence: TaskSequence | None = None) -> TaskEnv:
    """A single task with the very spaces that it has in :func:`sequence_env`."""
    return (sequence or point_goal_sequence(horizon=HORIZON)).make_task_env(name)


class ToyEnv(gym.Env):
    """Rewards a large first and a small second action; observes noise in any space; ends after ``HORIZON`` steps."""

    def __init__(self, observation_space: spaces.Space, tells_success: bool = True, constant: bool = False):
        self.observation_space = observation_space
        self.action_space = spaces.Box(-2.0, 2.0, (2,))
        self.tells_success, self.constant = tells_success, constant
        self.steps = 0

    def _observe(self) -> Any:
        return _filled(self.observation_space, self.np_random)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        reward = 0.0 if self.constant else float(action[0] - abs(action[1]))
        info = {"success": float(reward > 0)} if self.tells_success else {}
        terminated = not self.constant and bool(action[0] > 1.8)
        return self._observe(), reward, terminated, self.steps >= HORIZON, info


VECTOR = spaces.Box(-1.0, 1.0, (3,))
BOX = spaces.Box(-2.0, 2.0, (2,))


class AnyActionEnv(ToyEnv):
    """The toy env with other actions: the first number counts for, the second against."""

    def __init__(self, action_space: spaces.Space = BOX, observation_space: spaces.Space = VECTOR):
        super().__init__(observation_space)
        self.action_space = action_space

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return super().step(np.append(np.asarray(action, dtype=float).ravel(), 0.0)[:2])


def _filled(space: spaces.Space, random: np.random.Generator) -> Any:
    """Like ``space.sample()``, from the env's own generator."""
    if isinstance(space, spaces.Dict):
        return {key: _filled(part, random) for key, part in space.items()}
    if isinstance(space, spaces.Discrete):
        return random.integers(space.n)
    if np.issubdtype(space.dtype, np.integer):
        return random.integers(0, 256, space.shape).astype(space.dtype)
    return random.uniform(-1, 1, space.shape).astype(space.dtype)


IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
CHANNEL_FIRST_IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
VECTORS = spaces.Dict({"one": spaces.Box(-1.0, 1.0, (3,)), "two": spaces.Box(-1.0, 1.0, (2,))})


def same(one: Any, other: Any) -> bool:
    """Whether two nested structures are equal bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, th.Tensor):
        return th.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other)


def copied(state: Any) -> Any:
    """A snapshot of a nested state dict."""
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    return state.detach().clone() if isinstance(state, th.Tensor) else state


def toy_sequence(
    space: spaces.Space = VECTOR, steps: int = 60, cycles: int = 1, n_tasks: int = 2, **toy_kwargs: Any
) -> TaskSequence:
    """Tasks "a", "b", ... of :class:`ToyEnv`."""

    def make(render_mode: str | None) -> gym.Env:
        return ToyEnv(space, **toy_kwargs)

    return TaskSequence(tuple(Task(name, make) for name in "abcd"[:n_tasks]), steps, cycles)


def toy_sequence_env(**kwargs: Any) -> VecEnv:
    sequence = toy_sequence(**kwargs)
    return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))])


def run_python(*arguments: str, folder: Path, expect: int = 0, **env: str) -> str:
    """Run Python in a folder, in a process of its own as rl-zoo3 changes global state; return what it printed."""
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    output = process.stdout + process.stderr
    assert process.returncode == expect, output
    return output
