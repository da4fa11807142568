"""A task that counts its steps, so that every answer is known."""

from functools import partial

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_nbsp.tasks import (
    Task,
    TaskSequence,
)

ACTION = np.zeros(1, dtype=np.float32)


class CountingEnv(gym.Env):
    """Observes [steps in this episode, noise of this episode]; ends after `length` steps; succeeds at `success_at`."""

    def __init__(self, render_mode=None, length=3, terminates=False, success_at=None, obs_space=None, bound=1.0):
        self.metadata = {"render_modes": ["rgb_array"]}
        self.render_mode = render_mode
        self.observation_space = obs_space or spaces.Box(-10.0, 10.0, (2,), np.float64)
        self.action_space = spaces.Box(-bound, bound, (1,))
        self.length, self.terminates, self.success_at = length, terminates, success_at
        self.closed = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.noise = 0, float(self.np_random.random())
        return self._obs(), {"from_task": True}

    def step(self, action):
        self.count += 1
        over = self.count >= self.length
        info = {} if self.success_at is None else {"success": float(self.count == self.success_at)}
        return self._obs(), 1.0, over and self.terminates, over and not self.terminates, info

    def _obs(self):
        if not isinstance(self.observation_space, spaces.Box):
            return self.observation_space.sample()
        return np.array([self.count, self.noise], dtype=self.observation_space.dtype)

    def render(self):
        return np.full((2, 2, 3), self.length, dtype=np.uint8)

    def close(self):
        self.closed += 1


def fake_task(name, **kwargs):
    return Task(name, partial(CountingEnv, **kwargs))


def fake_sequence(steps_per_task=7, cycles=1, task_id=False, **kwargs):
    return TaskSequence((fake_task("a", **kwargs), fake_task("b", **kwargs)), steps_per_task, cycles, task_id)


def roll(env, n_steps):
    """Step and reset as a VecEnv does; gives each step's (terminated, truncated, info)."""
    out = []
    env.reset()
    for _ in range(n_steps):
        _, _, terminated, truncated, info = env.step(ACTION)
        out.append((terminated, truncated, info))
        if terminated or truncated:
            env.reset()
    return out


def done_steps(records):
    return [number for number, (_, _, info) in enumerate(records, start=1) if info["task_done"]]
