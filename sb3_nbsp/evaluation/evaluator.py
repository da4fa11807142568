"""Evaluation of one agent on every task of a sequence, beside its training."""

import warnings
from collections.abc import Collection
from functools import partial
from typing import Annotated, Any, SupportsFloat

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.acting import Rollout, reset, run, step
from sb3_nbsp.base.arguments import Whole, check_values
from sb3_nbsp.base.interruption import droppable
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.base.success import success_of
from sb3_nbsp.common.env_util import beside
from sb3_nbsp.common.finite_checks import check_parameters
from sb3_nbsp.evaluation.contexts import playing
from sb3_nbsp.tasks import TaskSequence

# SB3 seeds sub-env i of training with seed + i: far enough for any number of them.
SEED_OFFSET = 1_000_000
MAX_EPISODE_STEPS = 10_000  # where a task's env has no time limit that Gymnasium knows
FRAMES = "max_num_frames_per_episode"  # how ale-py tells an Atari game's own limit


class TaskEvaluator:
    """
    Runs an agent on every task of a sequence without leaving a trace in its training.

    Every call plays the same episodes (as far as seeds decide them), so that what changes between two calls is the agent.
    They are played on the tasks' environments for evaluation, where tasks have such (:class:`~sb3_nbsp.tasks.Task`), and with
    what methods have registered for it, such as PackNet's subnetworks (:mod:`sb3_nbsp.evaluation.contexts`).

    An episode ends at the task's time limit (:class:`gymnasium.wrappers.TimeLimit`, or an Atari game's own); where there is
    none, after 10,000 steps, of which is warned.

    An episode is successful if it says so. One that says nothing is not, if its task is among ``telling``: the tasks of which
    any episode has told success so far (:mod:`sb3_nbsp.evaluation.told_success`).

    :param training_env: the agent's training env; its observation wrappers are repeated
    :param sequence: the tasks
    :param n_eval_episodes: episodes per task
    :param deterministic: whether to take the policy's most likely actions
    :param seed: seed of the first task's env, the next task's is one higher
    """

    def __init__(
        self,
        training_env: VecEnv,
        sequence: TaskSequence,
        n_eval_episodes: int = 10,
        deterministic: bool = True,
        seed: int = SEED_OFFSET,
    ) -> None:
        check_values({"n_eval_episodes": Annotated[int, Whole(1, "episodes")]}, {"n_eval_episodes": n_eval_episodes})
        self.n_eval_episodes = n_eval_episodes
        self.deterministic = deterministic
        self.seed = seed
        self.telling: set[str] = set()
        # Making an env may draw random numbers too.
        with isolated_rng(seed):
            self.envs = {name: beside(training_env, partial(_task_env, sequence, name)) for name in sequence.task_names}

    @droppable()
    def evaluate(
        self, model: BaseAlgorithm, tasks: Collection[str] | None = None
    ) -> tuple[dict[str, float | None], dict[str, float]]:
        """
        :param model: the agent
        :param tasks: names of the tasks to play; default: all. A task's episodes do not depend on which others are played.
        :return: by task, the share of successful episodes (``None`` where no episode has told success so far) and the mean
            return
        :raises ValueError: for a task that the sequence does not have, or if the model was trained with a method that must act
            here and was not imported
        """
        return run(self.rollout(model, tasks), model.predict, self.deterministic)

    def rollout(
        self, model: BaseAlgorithm, tasks: Collection[str] | None = None
    ) -> Rollout[tuple[dict[str, float | None], dict[str, float]]]:
        """See :meth:`evaluate`; the rollout asks for the actions."""
        check_parameters(model)
        for name in tasks or ():
            if name not in self.envs:
                raise ValueError(unknown_name_message("task", name, self.envs))
        success: dict[str, float | None] = {}
        mean_return: dict[str, float] = {}
        was_training = model.policy.training
        for index, (name, env) in enumerate(self.envs.items()):
            if tasks is not None and name not in tasks:
                continue
            with isolated_rng(self.seed + index, model.action_space), playing(model, name):
                env.seed(self.seed + index)
                share, mean_return[name] = yield from self._play(env)
            if share is not None:
                self.telling.add(name)
            success[name] = 0.0 if share is None and name in self.telling else share
        model.policy.set_training_mode(was_training)
        return success, mean_return

    def _play(self, env: VecEnv) -> Rollout[tuple[float | None, float]]:
        successes: list[float] = []
        returns: list[float] = []
        observations = yield from reset(env)
        starts = np.ones(env.num_envs, dtype=bool)
        while len(returns) < self.n_eval_episodes:
            actions: Any = yield observations, starts
            observations, _, starts, infos = yield from step(env, actions)
            # Monitor's entry marks the true end of an episode, where "done" may be the loss of a life.
            if "episode" in infos[0]:
                returns.append(infos[0]["episode"]["r"])
                told = success_of({"is_success": infos[0].get("is_success")})
                successes.append(told)
        share = None if np.isnan(successes).all() else float(np.mean(np.nan_to_num(successes)))
        return share, float(np.mean(returns))

    def close(self) -> None:
        """Close the evaluation envs."""
        for env in self.envs.values():
            env.close()


class _LastLimit(gym.wrappers.TimeLimit):
    """The end of episodes that would have none."""

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """See Gymnasium."""
        obs, reward, terminated, truncated, info = super().step(action)
        if self._elapsed_steps == self._max_episode_steps and not terminated:
            warnings.warn(
                f"An evaluation episode of task {info.get('task_name')!r} had no end after {self._max_episode_steps} steps "
                "and was cut. Give the task a time limit: gymnasium.wrappers.TimeLimit around its env.",
                stacklevel=2,
            )
        return obs, reward, terminated, truncated, info


def _task_env(sequence: TaskSequence, name: str) -> gym.Env:
    """A task's env for evaluation, with a step limit if it has none."""
    env = sequence.make_task_env(name, evaluation=True)
    inner: Any = env
    while isinstance(inner, gym.Wrapper):
        if isinstance(inner, gym.wrappers.TimeLimit) or (inner.spec is not None and FRAMES in inner.spec.kwargs):
            return env
        inner = inner.env
    return _LastLimit(env, MAX_EPISODE_STEPS)


def same_agent(first: BaseAlgorithm, second: BaseAlgorithm) -> bool:
    """
    :param first: an agent
    :param second: another object
    :return: whether both are of one class and have the same policy, as after saving and loading
    """
    if type(first) is not type(second):
        return False
    states = first.policy.state_dict(), second.policy.state_dict()
    if states[0].keys() != states[1].keys():
        return False
    return all(
        value.shape == states[1][name].shape and bool((value.cpu() == states[1][name].cpu()).all())
        for name, value in states[0].items()
    )
