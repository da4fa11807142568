"""Steps of the trained policy on a task: what its neurons are scored on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.arrays import Observations
from sb3_nbsp.base.success import spread_over_episodes, success_of


@dataclass(frozen=True)
class ScoringSteps:
    """
    T steps of the policy on a task, as it sees them (observations are normalised where training normalises them).

    :param observations: [T, ...]
    :param actions: [T, action_dim], as the networks take them (scaled to [-1, 1] where the policy squashes its output)
    :param rewards: [T], not normalised
    :param next_observations: [T, ...]
    :param dones: [T], terminated (time limits do not count)
    :param episode_starts: [T], whether a step is the first of its episode
    :param successes: [T], success of the step; where the env tells it at some steps of an episode only (e.g. the last), its
        other steps have it too; NaN where the env does not tell
    :param ended: whether an episode ended with the last step
    """

    observations: Observations
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: Observations
    dones: np.ndarray
    episode_starts: np.ndarray
    successes: np.ndarray
    ended: bool = False

    def goal(self, metric: str) -> np.ndarray:
        """
        q(t), [T].

        :param metric: ``success`` of the step, ``reward`` of the step, or ``return`` of the episode that the step is in
        :raises ValueError: for ``success`` where the env does not tell it
        """
        if metric == "success":
            if np.isnan(self.successes).any():
                raise ValueError(
                    'goal_metric="success" needs `success` or `is_success` in the env\'s info, at every step or at every '
                    f"episode's end; it is not known of {np.isnan(self.successes).sum()} of {len(self.successes)} steps. "
                    'Use goal_metric="return" or "reward", more scoring_steps where episodes are longer, or add the key in a '
                    "wrapper."
                )
            return self.successes
        if metric == "reward":
            return self.rewards
        episode = np.cumsum(self.episode_starts) - 1
        returns = np.bincount(episode, weights=self.rewards)
        if len(returns) > 1 and not self.ended:
            # The rest of the last episode's return is missing: it counts as an average one.
            returns[-1] = returns[:-1].mean()
        return returns[episode]


def run_for_scoring(model: BaseAlgorithm, env: VecEnv, n_steps: int) -> ScoringSteps:
    """
    Run the model's stochastic policy: exploration noise is what gives both good and bad steps.

    :param model: any SB3 algorithm
    :param env: a vectorised env with one sub-env, wrapped as the training env is
    :param n_steps: T, env steps
    """
    steps: dict[str, list[Any]] = {name: [] for name in ScoringSteps.__dataclass_fields__ if name != "ended"}
    observation, start = env.reset(), True
    for _ in range(n_steps):
        action, _ = model.predict(observation, deterministic=False)  # type: ignore[arg-type]
        after, reward, done, infos = env.step(action)
        info = infos[0]
        # A VecEnv has already begun the next episode when one ended.
        next_observation = _batch_of_one(info["terminal_observation"]) if done[0] else after
        values = {
            "observations": observation,
            "actions": action,
            "rewards": reward[0],
            "next_observations": next_observation,
            "dones": float(done[0] and not info.get("TimeLimit.truncated", False)),
            "episode_starts": start,
            "successes": success_of(info),
        }
        for name, value in values.items():
            steps[name].append(_copy(value))
        observation, start = after, bool(done[0])
    arrays = {name: _stack(values) for name, values in steps.items()}
    if model.policy.squash_output:
        arrays["actions"] = model.policy.scale_action(arrays["actions"])
    if arrays["actions"].ndim > 2:
        arrays["actions"] = arrays["actions"].reshape(n_steps, -1)
    arrays["successes"] = spread_over_episodes(arrays["successes"], arrays["episode_starts"], start)
    return ScoringSteps(**arrays, ended=start)


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.asarray(value)[None] for key, value in observation.items()}
    return np.asarray(observation)[None]


def _copy(value: Any) -> Any:
    """Some envs hand out the same array at every step."""
    if isinstance(value, dict):
        return {key: array.copy() for key, array in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _stack(values: list[Any]) -> Any:
    """Join T values: arrays with a leading batch axis of one, or numbers."""
    if isinstance(values[0], dict):
        return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else np.asarray(values)
