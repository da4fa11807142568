"""How an algorithm scores its neurons on a task: the env to run in, the losses of its networks."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.arrays import Observations
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.env_util import frozen_statistics, is_task_sequence, shares_env, wrap_like
from sb3_nbsp.neurons.networks import Network
from sb3_nbsp.neurons.rollout import ScoringSteps, run_for_scoring
from sb3_nbsp.neurons.scoring import LossFunction, run_networks, score_networks
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.protection.masks import NeuronMasks


class ScoresNeurons(BaseAlgorithm):
    """The part of an NBSP algorithm that has to do with scoring."""

    skill_fraction: float
    mask_networks: str
    score: str
    select_among: str
    goal_metric: str
    scoring_steps: int

    neuron_masks: NeuronMasks

    def score_neurons(self, env: gym.Env | VecEnv | None, task: str, seed: int = 0) -> SkillNeurons:
        """
        Score the neurons on a task, as :meth:`consolidate` does, and hold none of them. The random state of training is the
        same after the call as before it.

        :param env: the task to score on, see :meth:`consolidate`
        :param task: its name
        :param seed: of the env and of everything that is drawn
        """
        with isolated_rng(seed):
            return self._score(self._scoring_rollout(env, task, seed), task, seed)

    def activations_on(self, rollout: ScoringSteps) -> dict[str, th.Tensor]:
        """
        :param rollout: steps of this model's policy
        :return: activations of every hidden layer, by its name, [T, n_neurons]
        """
        return run_networks(self.neuron_masks.networks, rollout, self._scoring_losses())[0]

    def _scoring_rollout(self, env: gym.Env | VecEnv | None, task: str, seed: int) -> ScoringSteps:
        with self._scoring_env(env, task) as scored, frozen_statistics(scored):
            if self.env is None or not shares_env(self.env, scored):  # training goes on with its own randomness
                scored.seed(seed)
            self.policy.set_training_mode(False)
            return run_for_scoring(self, scored, int(self.scoring_steps))

    def _score(self, rollout: ScoringSteps, task: str, seed: int) -> SkillNeurons:
        return score_networks(
            self._masked_networks(),
            rollout,
            self._scoring_losses(),
            task=task,
            score=self.score,
            goal_metric=self.goal_metric,
            fraction=self.skill_fraction,
            select_among=self.select_among,
            seed=seed,
        )

    @contextmanager
    def _scoring_env(self, env: gym.Env | VecEnv | None, task: str) -> Iterator[VecEnv]:
        """The env to score on, vectorised and wrapped like the training env."""
        if env is None and self.env is not None and is_task_sequence(self.env):
            # Stepping the sequence itself would use it up.
            task_env = self.env.get_attr("task_sequence", 0)[0].make_task_env(task, evaluation=True)
            with closing(wrap_like(self.env, task_env)) as own:
                yield own
            return
        env = env or self.env
        if env is None:
            raise ValueError("consolidate() needs an env to score on: pass one, or give the model one with set_env().")
        if not isinstance(env, VecEnv) and hasattr(env.unwrapped, "task_sequence"):
            raise ValueError(
                "consolidate() needs the env of one task, got one that goes through a task sequence. Pass "
                "sequence.make_task_env(task), or no env where the model trains on that sequence."
            )
        if (env.observation_space, env.action_space) != (self.observation_space, self.action_space):
            self._check_spaces(env)
        if self.env is not None and shares_env(self.env, env):
            self._last_obs = None  # the running episode is lost: learn() resets the env before it goes on
        if not isinstance(env, VecEnv):
            env = wrap_like(self.env, env) if self.env is not None else self._wrap_env(env, verbose=0)
        if env.num_envs != 1:
            raise ValueError(f"The env to score on must have one sub-env; got {env.num_envs}. Pass a single gymnasium.Env.")
        yield env

    def _check_spaces(self, env: gym.Env | VecEnv) -> None:
        # Image spaces may differ in the place of the channels, which the wrappers see to.
        env = env if isinstance(env, VecEnv) else self._wrap_env(env, verbose=0)
        check_for_correct_spaces(env, self.observation_space, self.action_space)

    def _masked_networks(self) -> list[Network]:
        wanted = ("actor", "critic", "shared") if self.mask_networks == "all" else (self.mask_networks, "shared")
        return [network for network in self.neuron_masks.networks if network.part in wanted]

    # For subclasses

    def _scoring_losses(self) -> dict[str, LossFunction]:
        """How to run each part of the model for scoring, see :func:`~sb3_nbsp.neurons.scoring.score_networks`."""
        raise NotImplementedError

    def _tensor(self, values: Observations, rows: np.ndarray) -> Any:
        """Rows of an array (or of each array of a dict) on the model's device."""
        if isinstance(values, dict):
            return {key: th.as_tensor(array[rows], device=self.device) for key, array in values.items()}
        return th.as_tensor(values[rows], device=self.device, dtype=th.float32 if values.dtype == np.float64 else None)
