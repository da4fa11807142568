"""The wrapper that appends the id of the task that an episode seems to be of."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn, VecEnvWrapper

from sb3_nbsp.task_ids.first_observations import FirstObservations, check_as_given, first_observations
from sb3_nbsp.task_ids.recogniser import TaskRecogniser, doubts


class InferredTaskId(VecEnvWrapper):
    """
    Observations without a task id, as a model takes them that was trained with one: at each episode's first observation the
    task is told among those that the model learned, and its one-hot id is appended until the episode's end. For acting and
    evaluation: ``predict``, SB3's ``evaluate_policy`` and ``EvalCallback``. ``info["inferred_task"]`` names the task.

    A task that the model never learned is taken for one of those that it did learn.

    :param env: a Gymnasium env or a ``VecEnv``, whose observations are what training's were before the id
    :param model: trained with :class:`FirstObservations` in its callbacks, also one that was loaded from a file
    :raises ValueError: where the model kept no first observations, they do not tell its tasks apart, or the env's observations
        have another size, or are stacked or normalised
    """

    def __init__(self, env: GymEnv, model: BaseAlgorithm):
        super().__init__(env if isinstance(env, VecEnv) else model._wrap_env(env, verbose=0))
        observations, spread = first_observations(model)
        if not observations:
            raise ValueError(
                "This model kept no first observations of its tasks. Train it with "
                "learn(..., callback=sb3_nbsp.task_ids.FirstObservations())."
            )
        if unsure := doubts(observations, spread):
            raise ValueError(
                f"The task cannot be told by an episode's first observation. {' '.join(unsure.values())} "
                "Give this model the id: an env of the task sequence with task_id=True."
            )
        self._recogniser = TaskRecogniser.fit(observations, spread)
        space, of_model = self.venv.observation_space, model.observation_space
        n = self._recogniser.means.shape[1]
        if space.shape != (n,) or not isinstance(space, spaces.Box):
            raise ValueError(f"The env must give observations of shape ({n},), as training's were before the id; got {space}.")
        check_as_given("InferredTaskId", self.venv)
        self.observation_space = of_model
        assert of_model.shape is not None
        columns = model.baseline_states[FirstObservations.__name__]["columns"]  # type: ignore[attr-defined]
        self._ids = np.eye(of_model.shape[0] - n, dtype=np.float32)[[columns[task] for task in observations]]  # [K, width]
        self._told = np.zeros(self.num_envs, dtype=np.intp)

    @property
    def inferred_tasks(self) -> list[str]:
        """By sub-env, the task that its running episode was taken for."""
        return [self._recogniser.tasks[index] for index in self._told]

    def reset(self) -> np.ndarray:
        """
        Begin an episode in each sub-env.

        :return: observations [n_envs, n + width of the id]
        """
        first = np.asarray(self.venv.reset())
        self._told = self._recogniser.recognise(first)
        return self._with_ids(first, self._told)

    def step_wait(self) -> VecEnvStepReturn:
        """
        See SB3.

        :return: observations with ids [n_envs, n + width of the id], rewards, dones, infos
        """
        after, rewards, dones, infos = self.venv.step_wait()
        for index, (info, task) in enumerate(zip(infos, self.inferred_tasks, strict=True)):
            info["inferred_task"] = task
            if "terminal_observation" in info:
                last = np.asarray(info["terminal_observation"])[None]
                info["terminal_observation"] = self._with_ids(last, self._told[[index]])[0]
        seen = np.asarray(after)
        if dones.any():
            self._told = self._told.copy()
            self._told[dones] = self._recogniser.recognise(seen[dones])
        return self._with_ids(seen, self._told), rewards, dones, infos

    def _with_ids(self, observations: Any, told: np.ndarray) -> np.ndarray:
        return np.concatenate([observations, self._ids[told]], axis=1, dtype=np.float32)
