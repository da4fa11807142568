"""Where neurons are scored: the env of one task, seen as the training env shows it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.acting import Rollout, run
from sb3_nbsp.base.finite import NotFiniteError, all_finite, first_not_finite
from sb3_nbsp.common.env_util import (
    beside,
    frozen_statistics,
    is_task_sequence,
    shares_env,
    silent_monitors,
    task_sequence_of,
    warn_of_other_wrappers,
    wrap_like,
)
from sb3_nbsp.common.other_statistics import check_same_statistics
from sb3_nbsp.neurons.dummy_pass import evaluating
from sb3_nbsp.neurons.rollout import ScoringSteps, scoring_rollout


def steps_on_task(model: BaseAlgorithm, env: gym.Env | VecEnv | None, task: str, n_steps: int, seed: int) -> ScoringSteps:
    """
    Run a model's policy on a task. Statistics of normalisation stay as they are.

    :param model: any SB3 model
    :param env: a Gymnasium env, or a ``VecEnv`` that is wrapped like the training env, with its statistics; ``None``: one of
        the task, made from the sequence that the model trains on, else the training env
    :param task: the task's name
    :param n_steps: env steps over all sub-envs, see :func:`~sb3_nbsp.neurons.rollout.run_for_scoring`
    :param seed: of the env, unless it is the training env, which goes on with its own randomness
    :raises ValueError: if there is no env, or none of a single task; if it shows observations otherwise than the training env;
        or if it gives NaN or infinity
    """
    return run(rollout_on_task(model, env, task, n_steps, seed), model.predict, deterministic=False)


def rollout_on_task(
    model: BaseAlgorithm, env: gym.Env | VecEnv | None, task: str, n_steps: int, seed: int
) -> Rollout[ScoringSteps]:
    """See :func:`steps_on_task`; the rollout asks for the actions."""
    with scoring_env(model, env, task) as scored, frozen_statistics(scored):
        if model.env is None or not shares_env(model.env, scored):
            scored.seed(seed)
        with evaluating(model.policy):
            steps = yield from scoring_rollout(model, scored, n_steps)
    for what, values in (("observation", steps.observations), ("reward", steps.rewards)):
        if not all_finite(values):
            place, number = first_not_finite(values) or ("", 0.0)
            raise NotFiniteError(
                f"The env on which {task!r} was to be scored gave a {what} that is not finite: of the {n_steps} steps, "
                f"{what}{place} is {number}."
            )
    return steps


@contextmanager
def scoring_env(model: BaseAlgorithm, env: gym.Env | VecEnv | None, task: str) -> Iterator[VecEnv]:
    """See :func:`steps_on_task`. An env that is made here is closed at the block's end."""
    sequence = task_sequence_of(model.env)
    if env is None and sequence is not None:
        assert model.env is not None
        # Stepping the sequence itself would use it up.
        with closing(beside(model.env, partial(sequence.make_task_env, task, evaluation=True))) as own:
            yield own
        return
    env = env or model.env
    if env is None:
        raise ValueError("consolidate() needs an env to score on: pass one, or give the model one with set_env().")
    if not isinstance(env, VecEnv | gym.Env):
        raise TypeError(f"env must be a Gymnasium env or a VecEnv; got {env!r}.")
    if is_task_sequence(env) if isinstance(env, VecEnv) else hasattr(env.unwrapped, "task_sequence"):
        raise ValueError(
            "consolidate() needs the env of one task, got one that goes through a task sequence. Pass "
            "sequence.make_task_env(task), or no env where the model trains on that sequence."
        )
    _check_spaces(model, env)
    if model.env is not None and shares_env(model.env, env):
        if getattr(model, "is_learning", False):
            raise ValueError(
                "Within learn(), neurons cannot be scored on the training env: its episode is going on, and what is learned "
                "from it would be mixed up. Pass an env of its own, consolidate(env, task=...), or call it after learn()."
            )
        model._last_obs = None  # the running episode is lost: learn() resets the env before it goes on
    if not isinstance(env, VecEnv):
        if model.env is not None:
            warn_of_other_wrappers(model.env, env)
        env = wrap_like(model.env, env) if model.env is not None else model._wrap_env(env, verbose=0)
        check_for_correct_spaces(env, model.observation_space, model.action_space)
    with silent_monitors(env):
        yield env


def _check_spaces(model: BaseAlgorithm, env: gym.Env | VecEnv) -> None:
    """Whether an env gives what the policy takes: a ``VecEnv`` as it is, another as the sub-envs that the model trains on."""
    if isinstance(env, VecEnv):
        check_for_correct_spaces(env, model.observation_space, model.action_space)
        if model.env is not None:
            check_same_statistics(model.env, env)
    elif model.env is not None:
        inner = model.env.unwrapped
        check_for_correct_spaces(env, inner.observation_space, inner.action_space)
