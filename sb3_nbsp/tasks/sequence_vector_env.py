"""The vector environment that goes through a whole task sequence."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sb3_nbsp.tasks.evaluation_notice import EvaluationNotice
from sb3_nbsp.tasks.evaluation_spaces import check_agents_can_act, evaluation_spaces
from sb3_nbsp.tasks.place import Place
from sb3_nbsp.tasks.sequence import TaskSequence, with_name
from sb3_nbsp.tasks.task import Task
from sb3_nbsp.tasks.task_env import Spaces, check_same_spaces, is_float_box, shared_space
from sb3_nbsp.tasks.vector_util import give_own_observations, row_of, split_infos, without_finals

FEW = 2  # sub-environments that are enough to look at


class TaskSequenceVectorEnv(VectorEnv):
    """
    A Gymnasium vector environment that goes through a :class:`TaskSequence` by itself: what :class:`TaskSequenceEnv` is among
    environments, for tasks that can make many sub-environments as one (``Task.make_vector``), as Atari games can.

    The step that ends a segment is truncated in every sub-environment and has ``task_done``; within that step (``SAME_STEP``)
    the next task's vector env is built, and its first observations are returned. The one left is closed before: never two
    are at work. ``info`` holds what :class:`TaskSequenceEnv` tells, as arrays; success is not told. Before anything is
    trained, each task's vector env is made once with two sub-environments, held against the task's own environment, and
    closed. What fails only with all of them (memory, say) fails where the task begins: the first one's before training.

    For Stable-Baselines3, put ``GymnasiumVecEnv`` around it.

    :param sequence: the tasks, in learning order; all of them with ``make_vector``
    :param num_envs: number of sub-environments
    :raises TypeError: if ``sequence`` is something else
    :raises ValueError: if a task cannot make vector envs, or makes them with another autoreset mode or number of
        sub-environments, spaces differ, the sequence appends ids, or a segment is shorter than one step of all
        sub-environments
    """

    switch_on = "steps"

    def __init__(self, sequence: TaskSequence, num_envs: int) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.task_sequence = sequence
        self.num_envs = num_envs
        self._place = Place(sequence, num_envs)
        self._notice = EvaluationNotice(self._place)
        self.single_observation_space, self.single_action_space = _common_spaces(sequence, num_envs)
        self._is_float = is_float_box(self.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seed: int | None = None
        self._n_built = 0
        self._task: str | None = None
        self._env: VectorEnv | None = None

    @property
    def sequence_steps(self) -> int:
        """Steps taken so far, over all sub-environments."""
        return self._place.steps

    def set_n_envs(self, n_envs: int) -> None:
        """
        :param n_envs: sub-environments that step together; only what they are fits
        :raises ValueError: if it is another number
        """
        if n_envs != self.num_envs:
            raise ValueError(f"This vector env has {self.num_envs} sub-environments, not {n_envs}.")

    def fast_forward(self, steps: int) -> None:
        """
        Go to a place in the sequence. The running episodes are dropped: call ``reset()`` next.

        :param steps: environment steps already taken, over all sub-environments
        :raises ValueError: if ``steps`` is negative
        """
        self._place.go_to(steps)
        self._leave()

    def episode_state(self) -> dict[str, Any]:
        """
        What a new env needs to stand at this place of the sequence.

        :return: plain values
        """
        return {"sequence_steps": self._place.steps, "seed": self._seed, "n_built": self._n_built}

    def restore_episode(self, state: dict[str, Any]) -> bool:
        """
        Stand at another env's place in the sequence. Its episodes are not played again: vector envs keep random states to
        themselves.

        :param state: its ``episode_state()``
        :return: ``False``: call ``reset()``, which begins the same episodes each time
        """
        self.fast_forward(state["sequence_steps"])
        self._seed, self._n_built = state["seed"], state["n_built"]
        return False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        Begin an episode in every sub-environment: of the next segment's task if the last step ended a segment.

        :param seed: from here on, each vector env that is built is seeded with a number made from this one
        :param options: handed on to the task's vector env
        :return: observations and info
        :raises gymnasium.error.ClosedEnvironmentError: after ``close()``
        """
        if self.closed:
            raise gym.error.ClosedEnvironmentError("The vector env of this task sequence was closed. Make a new one.")
        if seed is not None:
            self._seed, self._n_built = seed, 0
            self._leave()
        obs, info = self._begin(options)
        return obs, {**info, **self._position()}

    def evaluation_notice(self) -> str | None:
        """
        What SB3's ``evaluate_policy`` sees of this env. ``reset()`` warns with it where that is what steps the env.

        :return: a text the first time, ``None`` afterwards
        """
        return self._notice.take()

    def _begin(self, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._place.enter()
        self._notice.warn_if_evaluating()
        if self._task != self._place.task:
            self._leave()
            self._task = self._place.task
            self._env = _made(self.task_sequence.tasks[self._place.task_index], self.num_envs)
            self._n_built += 1
            obs, info = self._env.reset(seed=self._task_seed(), options=options)
        else:
            obs, info = self._running().reset(options=options)
        return self._as_declared(obs), info

    def _as_declared(self, obs: Any) -> Any:
        """As the tasks' own environments have it: float32, where observations are arrays of floats."""
        return np.asarray(obs, dtype=np.float32) if self._is_float else obs

    def _task_seed(self) -> int | None:
        if self._seed is None:
            return None
        # Below 2**31, and with room for a neighbouring number per sub-env: emulators take 32-bit seeds.
        state = np.random.SeedSequence([self._seed, self._place.task_index, self._n_built]).generate_state(1)
        return int(state[0]) % (2**31 - self.num_envs)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """
        Take one step of the current task in every sub-environment.

        :param actions: one action each
        :return: observations, rewards, terminated, truncated, info
        """
        obs, rewards, terminated, truncated, info = self._running().step(actions)
        over = self._place.step()
        obs, told = self._as_declared(obs), {**info, **self._position(over)}
        if "final_info" in told:
            told["final_info"] = {**told["final_info"], **self._position(over)}
        ended = np.logical_or(terminated, truncated)
        if self._is_float and ended.any():
            told["final_obs"] = self._last_ones(obs, ended, told)
        if over:
            obs, told = self._switch(obs, ended, told)
            truncated = ~np.asarray(terminated)
        return obs, rewards, terminated, truncated, told

    def _last_ones(self, obs: Any, ended: Any, told: dict[str, Any]) -> Any:
        """What each sub-environment's episode showed last, where it ended: what stands in ``obs`` begins the next one."""
        last = np.empty(self.num_envs, dtype=object)  # of dicts, too
        for i in range(self.num_envs):
            last[i] = self._as_declared(row_of(told["final_obs"], i)) if ended[i] else row_of(obs, i)
        return last

    def _switch(self, obs: Any, ended: Any, told: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """End every episode, and begin those of the next task."""
        last = self._last_ones(obs, ended, told)
        rows, finals = (split_infos(infos, self.num_envs) for infos in (without_finals(told), told.get("final_info", {})))
        final_info: dict[str, Any] = {}
        for i in range(self.num_envs):
            final_info = self._add_info(final_info, finals[i] if ended[i] and "final_info" in told else rows[i], i)
        obs, info = self._begin()
        every = np.ones(self.num_envs, dtype=np.bool_)
        finals_of_all = {"final_obs": last, "_final_obs": every, "final_info": final_info, "_final_info": every}
        return obs, {**info, **self._position(), **finals_of_all}

    def _position(self, over: bool = False) -> dict[str, Any]:
        place = self._place
        now = {"task_id": place.task_index, "task_name": place.task, "segment": place.segment, "sequence_steps": place.steps}
        return {key: np.full(self.num_envs, value) for key, value in {**now, "task_done": over}.items()}

    def _running(self) -> VectorEnv:
        if self._env is None:
            raise gym.error.ResetNeeded("No episode is running. Call reset() first (after fast_forward() too).")
        return self._env

    def _leave(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env = self._task = None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the running task's vector env."""
        self._leave()

    def __str__(self) -> str:
        return f"<{type(self).__name__}<{self._env}>>"


def _common_spaces(sequence: TaskSequence, num_envs: int) -> Spaces:
    """The spaces that all tasks' envs share, the tasks' own and their vector envs, which are made one after another."""
    if sequence.id_width > 0:
        raise ValueError(
            "A vector env of a task sequence appends no ids (task_id). Use ordinary environments: TaskSequenceEnv."
        )
    found: list[Spaces] = []
    first = f"task {sequence.task_names[0]!r}"
    judged = evaluation_spaces(sequence)
    for task in sequence.tasks:
        _maker_of(task)
        env = sequence.make_task_env(task.name)
        found.append((env.observation_space, env.action_space))
        env.close()
        check_same_spaces(first, found[0], f"task {task.name!r}", found[-1])
        vector_env = _made_to_look_at(task, num_envs)
        found.append((shared_space(vector_env.single_observation_space), vector_env.single_action_space))
        vector_env.close()
        check_same_spaces(first, found[0], f"the vector env of task {task.name!r}", found[-1])
    check_agents_can_act(first, found[0], judged)
    return found[0]


def _made_to_look_at(task: Task, num_envs: int) -> VectorEnv:
    """Few sub-environments show the same, in a fraction of the time, if the task can make so few."""
    if num_envs <= FEW:
        return _made(task, num_envs)
    try:
        return _made(task, FEW)
    except Exception:  # it may be made for this number only
        return _made(task, num_envs)


def _made(task: Task, num_envs: int) -> VectorEnv:
    """A task's vector env, as a sequence can go through it."""
    maker = _maker_of(task)
    try:
        env = maker(num_envs)
    except Exception as error:
        error.args = with_name(error, task.name)
        raise
    if not isinstance(env, VectorEnv):
        raise TypeError(f"make_vector of task {task.name!r} must make a gymnasium.vector.VectorEnv, got {env!r}.")
    mode = env.metadata.get("autoreset_mode")
    if env.num_envs == num_envs and mode == AutoresetMode.SAME_STEP:
        give_own_observations(env)
        return env
    env.close()
    raise ValueError(
        f"make_vector of task {task.name!r} must make {num_envs} sub-environments with autoreset_mode SAME_STEP, got "
        f"{env.num_envs} with {getattr(mode, 'name', mode)}. Write e.g. make_vector=lambda num_envs: "
        "SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)."
    )


def _maker_of(task: Task) -> Callable[[int], VectorEnv]:
    if task.make_vector is None:
        raise ValueError(
            f"Task {task.name!r} cannot make a vector env: it has no make_vector (Atari games have one for "
            "obs_type='grayscale'). Use ordinary environments: TaskSequenceEnv, or SB3's make_vec_env(id, n_envs)."
        )
    return task.make_vector
