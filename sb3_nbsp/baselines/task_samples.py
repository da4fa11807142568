"""What an agent met in the task that has just ended."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer

from sb3_nbsp.base.arrays import Observations, take, to_tensors
from sb3_nbsp.common.env_util import is_task_sequence, wrap_like
from sb3_nbsp.neurons.rollout import run_for_scoring
from sb3_nbsp.rehearsal.memory import Samples


@dataclass(frozen=True)
class Visited(Samples):
    """
    M steps.

    :param actions: [M, action_dim], scaled to [-1, 1] as SB3 stores them
    :param observations: [M, ...], not normalised
    """

    actions: np.ndarray
    observations: Observations


def visited(model: BaseAlgorithm, task: str, n_rows: int, n_samples: int) -> Visited:
    """
    Draw steps of a task, without replacement, from the newest rows of the replay buffer. Where there are none (an on-policy
    algorithm, or a run that goes on without its buffer), the policy is run on the task.

    :param model: the model, at the task's end
    :param task: the task's name
    :param n_rows: steps of each sub-env since the task began
    :param n_samples: M, at most
    :raises ValueError: where there is neither a replay buffer nor a task sequence to make the task's env from
    """
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None and min(n_rows, buffer.size()) > 0:
        return newest(buffer, min(n_rows, buffer.size()), n_samples)
    if model.env is None or not is_task_sequence(model.env):
        raise ValueError(
            f"Steps of task {task!r} are needed, but the replay buffer is empty or does not exist. Use an off-policy "
            "algorithm and end the task before its buffer is emptied, or train on a task sequence, which can make its env."
        )
    env = wrap_like(model.env, model.env.get_attr("task_sequence", 0)[0].make_task_env(task, evaluation=True))
    with closing(env):
        env.seed(int(np.random.randint(2**31)))
        rollout = run_for_scoring(model, env, n_samples)
    normalize = model.get_vec_normalize_env()
    raw = rollout.observations if normalize is None else normalize.unnormalize_obs(rollout.observations)
    return Visited(actions=rollout.actions, observations=raw)


def newest(buffer: ReplayBuffer | RolloutBuffer, n_rows: int, n_samples: int) -> Visited:
    """
    Draw steps, without replacement, from the newest rows of a buffer.

    :param buffer: a replay buffer, or a rollout buffer that was not learned from yet
    :param n_rows: rows that are drawn from, each with one step of every sub-env
    :param n_samples: M, at most
    """
    chosen = np.random.permutation(n_rows * buffer.n_envs)[:n_samples]
    rows, envs = (buffer.pos - n_rows + chosen // buffer.n_envs) % buffer.buffer_size, chosen % buffer.n_envs
    return Visited(actions=buffer.actions[rows, envs], observations=take(buffer.observations, rows, envs))


def as_seen(model: BaseAlgorithm, observations: Observations) -> Any:
    """
    :param observations: [M, ...], not normalised
    :return: tensors as the policy takes them: normalised where training normalises, on the model's device
    """
    normalize = model.get_vec_normalize_env()
    return to_tensors(observations if normalize is None else normalize.normalize_obs(observations), model.device)
