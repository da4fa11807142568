"""What the commands can train: algorithms by their keys, their settings, and which envs are task sequences."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Any

import gymnasium as gym

from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.dqn import NBSPDQN
from sb3_nbsp.ppo import NBSPPPO
from sb3_nbsp.qrdqn import NBSPQRDQN
from sb3_nbsp.sac import NBSPSAC
from sb3_nbsp.tasks import TaskSequence
from sb3_nbsp.tasks.registration import sequence_of_id
from sb3_nbsp.tqc import NBSPTQC

NAMESPACE = "sb3_nbsp/"
NOT_OF_SEQUENCES = ("n_envs", "switch_on", "render_mode")  # arguments of environments
ALGORITHMS: dict[str, type[ContinualAlgorithm]] = {
    "nbspdqn": NBSPDQN,
    "nbspppo": NBSPPPO,
    "nbspqrdqn": NBSPQRDQN,
    "nbspsac": NBSPSAC,
    "nbsptqc": NBSPTQC,
}
# SB3's algorithm -> ours, whose settings it reads on our task sequences
PARENTS = {"dqn": "nbspdqn", "ppo": "nbspppo", "qrdqn": "nbspqrdqn", "sac": "nbspsac", "tqc": "nbsptqc"}
_TOLD: dict[tuple[str, str], TaskSequence | None] = {}  # of others' envs, by id and arguments


def hyperparameter_file(algo: str) -> str:
    """
    :param algo: key of one of our algorithms, e.g. ``nbspsac``
    :return: path of its settings in this package
    """
    with as_file(files("sb3_nbsp.hyperparams") / f"{algo}.yml") as file:
        return str(file)


def told_sequence(env_id: str, env_kwargs: Mapping[str, Any]) -> TaskSequence | None:
    """
    :param env_id: a registered id
    :param env_kwargs: arguments of the env
    :return: the env's task sequence, ``None`` if it is an ordinary env. An env of others has to be made to know it, which is
        done once.
    :raises Exception: what the making of the env raises
    """
    if env_id.startswith(NAMESPACE):
        return sequence_of_id(env_id, **{name: value for name, value in env_kwargs.items() if name not in NOT_OF_SEQUENCES})
    key = env_id, repr(sorted(env_kwargs.items()))
    if key not in _TOLD:
        _TOLD[key] = sequence_of(env_id, dict(env_kwargs))
    return _TOLD[key]


def sequence_of(env_id: str, env_kwargs: dict[str, Any] | None = None) -> TaskSequence | None:
    """
    :param env_id: a registered id
    :param env_kwargs: arguments of the env
    :return: the env's task sequence, ``None`` if it is an ordinary env
    """
    env = gym.make(env_id, **(env_kwargs or {}))
    try:
        return getattr(env.unwrapped, "task_sequence", None)
    finally:
        env.close()
