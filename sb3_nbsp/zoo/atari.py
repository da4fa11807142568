"""What the training command does on sequences of Atari games: many sub-envs in one vector env, and how agents are judged."""

from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from sb3_nbsp.tasks import GymnasiumVecEnv, TaskSequence
from sb3_nbsp.tasks.registration import family_of_id


def has_vector_env(env_id: str, sequence: TaskSequence | None) -> bool:
    """
    :param env_id: a registered id
    :param sequence: its tasks, if it is a sequence
    :return: whether :func:`as_one_vec_env` can make it
    """
    if (
        sequence is None or gym.spec(env_id).vector_entry_point is None
    ):  # Gymnasium's own vector envs reset in a step of its own
        return False
    return all(task.make_vector is not None for task in sequence.tasks)


def as_one_vec_env(env_id: str, env_kwargs: dict[str, Any], folder: str | None, makers: list[Any]) -> VecEnv:
    """
    :param env_id: a registered id with a vector env
    :param env_kwargs: arguments of the env
    :param folder: where ``0.monitor.csv`` is written, or none
    :param makers: what SB3 would make the sub-envs with: their number is what counts
    :return: that many sub-envs in one vector env
    """
    envs = gym.make_vec(env_id, len(makers), vectorization_mode="vector_entry_point", **env_kwargs)
    return VecMonitor(GymnasiumVecEnv(envs), None if folder is None else str(Path(folder) / "0"))


def judged_by_drawing(algo: str, env_id: str) -> bool:
    """
    As rl-zoo3 judges agents on Atari games. DQN's relatives keep to their best actions here: what they would draw with is the
    exploration of the task that is being learned.

    :param algo: key of the algorithm
    :param env_id: a registered id
    :return: whether evaluation draws actions from the policy instead of taking the most likely ones
    """
    return algo.endswith("ppo") and family_of_id(env_id) == "atari"
