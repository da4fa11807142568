"""Where the envs of runs that learn together step: in the process that trains, or in a few processes beside it."""

import json
import os
import time
from typing import Any

import gymnasium as gym

from sb3_nbsp.population import MemberEnvs, workers_for
from sb3_nbsp.zoo.given_arguments import Given

TIMED_STEPS = 50  # of an env, to know how long one takes


class EnvWorkers:
    """
    The processes for the envs of some runs; they start with the first env.

    :param n_runs: number of runs
    :param workers: number of processes, 0: none; ``None`` follows the rule :func:`~sb3_nbsp.population.workers_for`
    :param cores: that the runs may use; ``None``: all that this process may use
    """

    def __init__(self, n_runs: int, workers: int | None = None, cores: int | None = None):
        self.n_runs = n_runs
        self.workers = workers
        self.cores = cores or available_cores()
        self._envs: MemberEnvs | None = None

    @classmethod
    def asked_for(cls, given: Given, n_runs: int) -> "EnvWorkers":
        """
        :param given: to ``sb3-nbsp train``: with ``--env-workers``, or ``--together`` with a file that tells it
        :param n_runs: number of runs
        """
        together = given.get("together")
        told = {} if together is None else json.loads(together.read_text())
        return cls(n_runs, told.get("env_workers", given.get("env_workers")), told.get("cores"))

    def pool(self, env_id: str, env_kwargs: dict[str, Any]) -> MemberEnvs | None:
        """
        :param env_id: of the runs' env
        :param env_kwargs: its arguments
        :return: what takes the runs' envs; ``None`` where they step in this process
        """
        if self.workers is None:
            may = workers_for(self.n_runs, self.cores, float("inf"))
            self.workers = workers_for(self.n_runs, self.cores, seconds_of_a_step(env_id, env_kwargs)) if may else 0
        if self._envs is None and self.workers > 0:
            self._envs = MemberEnvs(workers=min(self.workers, self.n_runs))
            print(f"Envs step in {min(self.workers, self.n_runs)} processes of their own (--env-workers)")
        return self._envs


def available_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def seconds_of_a_step(env_id: str, env_kwargs: dict[str, Any]) -> float:
    """
    :param env_id: a registered id
    :param env_kwargs: arguments of the env
    :return: CPU seconds of a step with random actions, the mean of 50
    """
    env = gym.make(env_id, **env_kwargs)
    env.reset(seed=0)
    env.action_space.seed(0)
    start = time.process_time()
    for _ in range(TIMED_STEPS):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    seconds = time.process_time() - start
    env.close()
    return seconds / TIMED_STEPS
