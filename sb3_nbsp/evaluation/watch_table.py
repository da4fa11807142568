"""A closing table of what an agent achieved on each task while it was watched."""

from collections import defaultdict
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from sb3_nbsp.base.plain_text import two_decimals
from sb3_nbsp.evaluation.performance_kind import normalised_return


class TaskReport(VecEnvWrapper):
    """
    Collect the episodes of a task sequence env by task and print a table when the env is closed.

    :param venv: env that goes through a task sequence
    """

    def __init__(self, venv: VecEnv):
        super().__init__(venv)
        self.reference_scores: dict[str, tuple[float, float]] = venv.get_attr("task_sequence", 0)[0].reference_scores
        self.successes: dict[str, list[float]] = defaultdict(list)
        self.returns: dict[str, list[float]] = defaultdict(list)
        self._running = np.zeros(self.num_envs)

    def reset(self) -> VecEnvObs:
        """See SB3."""
        self._running[:] = 0
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """See SB3."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._running += rewards
        for i in np.flatnonzero(dones):
            self._note(infos[i], self._running[i])
            self._running[i] = 0
        return observations, rewards, dones, infos

    def _note(self, info: dict[str, Any], episode_return: float) -> None:
        self.returns[info["task_name"]].append(float(episode_return))
        if "is_success" in info:
            self.successes[info["task_name"]].append(float(info["is_success"]))

    def table(self) -> str:
        """Episodes, success rate and mean return by task, also human-normalised where a task has reference scores."""
        lines = [f"{'task':<24}{'episodes':>10}{'success':>10}{'return':>12}" + self._if_known(f"{'normalised':>12}")]
        for task, returns in self.returns.items():
            successes = self.successes.get(task)
            # An episode that told nothing was none, where others of its task told.
            success = f"{sum(successes) / len(returns):.2f}" if successes else "-"
            mean, reference = float(np.mean(returns)), self.reference_scores.get(task)
            normalised = "-" if reference is None else two_decimals(normalised_return(mean, reference))
            line = f"{task:<24}{len(returns):>10}{success:>10}{two_decimals(mean):>12}"
            lines.append(line + self._if_known(f"{normalised:>12}"))
        return "\n".join(lines)

    def _if_known(self, column: str) -> str:
        return column if self.reference_scores else ""

    def close(self) -> None:
        """Print the table and close the env."""
        if self.returns:
            print(self.table())
        self.venv.close()
