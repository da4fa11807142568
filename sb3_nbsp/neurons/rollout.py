"""Steps of the trained policy on a task: what its neurons are scored on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.acting import Rollout, reset, run, step
from sb3_nbsp.base.arrays import Observations, each
from sb3_nbsp.base.success import spread_over_episodes, success_of


@dataclass(frozen=True)
class ScoringSteps:
    """
    T steps of the policy on a task, as it sees them (observations are normalised where training normalises them). Those of
    one sub-env follow one another, then come those of the next: an episode's steps stand together, and at the end of each
    sub-env's the last episode may be cut off.

    :param observations: [T, ...]
    :param actions: [T, action_dim], as the networks take them (scaled to [-1, 1] where the policy squashes its output)
    :param rewards: [T], not normalised
    :param next_observations: [T, ...]
    :param dones: [T], terminated (time limits do not count)
    :param episode_starts: [T], whether a step is the first of its episode
    :param episode_ends: [T], whether a step is the last of its episode (at time limits too); none of an episode's is where it
        was cut off
    :param successes: [T], success of the step; where the env tells it at some steps of an episode only (e.g. the last), its
        other steps have it too; NaN where the env does not tell
    """

    observations: Observations
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: Observations
    dones: np.ndarray
    episode_starts: np.ndarray
    episode_ends: np.ndarray
    successes: np.ndarray

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
        ended = np.bincount(episode, weights=self.episode_ends) > 0
        if ended.any():
            # The rest of the return is missing where an episode was cut off: it counts as an average one.
            returns[~ended] = returns[ended].mean()
        return returns[episode]


def run_for_scoring(model: BaseAlgorithm, env: VecEnv, n_steps: int) -> ScoringSteps:
    """
    Run the model's stochastic policy: exploration noise is what gives both good and bad steps.

    :param model: any SB3 algorithm
    :param env: a vectorised env, wrapped as the training env is
    :param n_steps: env steps over all sub-envs, which take equally many: rounded up to a multiple of their number
    :return: T steps, T = n_envs * ceil(n_steps / n_envs)
    """
    return run(scoring_rollout(model, env, n_steps), model.predict, deterministic=False)


def scoring_rollout(model: BaseAlgorithm, env: VecEnv, n_steps: int) -> Rollout[ScoringSteps]:
    """See :func:`run_for_scoring`; the rollout asks for the actions."""
    taken: list[dict[str, Any]] = []
    # Copies: some envs hand out the same arrays at every step.
    first = yield from reset(env)
    observation, starts = each(np.array, first), np.ones(env.num_envs, dtype=bool)
    for _ in range(-(-n_steps // env.num_envs)):
        action: Any = yield observation, starts
        after, rewards, ends, infos = yield from step(env, action)
        after, ends = each(np.array, after), np.array(ends, dtype=bool)
        limited = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        taken.append(
            {
                "observations": observation,
                "actions": action,
                "rewards": np.array(rewards),
                "next_observations": _with_last_observations(after, ends, infos),
                "dones": (ends & ~limited).astype(float),
                "episode_starts": starts,
                "episode_ends": ends,
                "successes": np.array([success_of(info) for info in infos]),
            }
        )
        observation, starts = after, ends
    arrays = {name: _env_by_env([step[name] for step in taken]) for name in taken[0]}
    if model.policy.squash_output:
        arrays["actions"] = model.policy.scale_action(arrays["actions"])
    if arrays["actions"].ndim > 2:
        arrays["actions"] = arrays["actions"].reshape(len(arrays["rewards"]), -1)
    arrays["successes"] = spread_over_episodes(arrays["successes"], arrays["episode_starts"], arrays["episode_ends"])
    return ScoringSteps(**arrays)


def _with_last_observations(after: Any, ends: np.ndarray, infos: list[dict[str, Any]]) -> Any:
    """What the steps led to, [n_envs, ...]: a VecEnv has already begun the next episode where one ended."""
    found = each(np.array, after)
    for index in np.flatnonzero(ends):
        last = infos[index]["terminal_observation"]
        for key in found if isinstance(found, dict) else ():
            found[key][index] = last[key]
        if not isinstance(found, dict):
            found[index] = last
    return found


def _env_by_env(values: list[Any]) -> Any:
    """Arrays of each step, [n_envs, ...] -> one of all, [n_envs * n_steps, ...], in which a sub-env's stand together."""
    if isinstance(values[0], dict):
        return {key: _env_by_env([value[key] for value in values]) for key in values[0]}
    return np.concatenate(np.stack(values, axis=1))
