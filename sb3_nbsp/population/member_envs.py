"""Envs of many members in a few worker processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from multiprocessing import resource_tracker
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_nbsp.population.env_worker import SharedArrays, flat
from sb3_nbsp.population.worker_process import Maker, WorkerProcess, end

# What handing over a step takes of the process that trains is about 0.05 ms: envs that step in a few times that pay.
SLOW_STEP = 0.2e-3  # seconds


def workers_for(n_members: int, cores: int, step_seconds: float) -> int:
    """
    The rule for how many processes step the envs of a population.

    :param n_members: members
    :param cores: of the machine that the population may use
    :param step_seconds: what a step of an env takes
    :return: one for each core but the one that trains, at most one for each member; 0, in the process that trains, where that
        would be fewer than two, or a step takes less than 0.2 ms
    """
    workers = min(n_members, cores - 1)
    return workers if workers > 1 and step_seconds >= SLOW_STEP else 0


class MemberEnvs(Sequence["MemberEnv"]):
    """
    One ``VecEnv`` for each member of a population, with its sub-envs in one of a few worker processes. Each worker steps the
    envs of several members, and all workers step at once::

        envs = MemberEnvs([lambda: gym.make("sb3_nbsp/PointGoal-v0")] * 10, workers=4)
        models = [NBSPSAC("MlpPolicy", env, seed=seed) for seed, env in enumerate(envs)]
        Population(models).learn(8_000)

    A member's env does what SB3's ``DummyVecEnv`` of the same makers does, bit for bit, however many workers there are. (Envs
    that draw from their process's own random numbers, ``np.random`` and the like, draw others in another process.)
    Observations, rewards and ends are handed over in shared memory. A worker ends when the envs that it holds are closed.

    :param makers: by member what makes its env: a function, or a list of functions, one for each sub-env. Members that come
        later are added with :meth:`add`.
    :param workers: number of processes; there are no more than members
    :param start_method: of the processes, as for SB3's ``SubprocVecEnv``. With ``"forkserver"`` (where there is it) and
        ``"spawn"``, a script needs ``if __name__ == "__main__":``.
    :raises TypeError: for no list of makers
    :raises ValueError: for fewer than one worker
    """

    def __init__(self, makers: Sequence[Maker | Sequence[Maker]] = (), workers: int = 1, start_method: str | None = None):
        if not isinstance(makers, Sequence):
            raise TypeError(f"makers must be a list with what makes the env of each member; got {makers!r}.")
        if workers < 1:
            raise ValueError(f"workers must be at least 1, the number of processes; got {workers}.")
        known = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context(start_method or ("forkserver" if "forkserver" in known else "spawn"))
        resource_tracker.ensure_running()  # one for all: a forked worker would start one of its own, which ends shared memory
        self._context, self._most_workers = context, workers
        self._is_closed = False
        n_workers = min(workers, len(makers) or workers)  # without makers all: members will be added
        self._workers = [WorkerProcess(context) for _ in range(n_workers)]
        self._envs: list[MemberEnv] = []
        try:
            begun = [(worker, worker.begin_env(maker)) for worker, maker in zip(cycle(self._workers), makers, strict=False)]
            for worker, number in begun:
                self._envs.append(MemberEnv(worker, number))
        except BaseException:
            with suppress(Exception):
                self.close()
            raise

    def add(self, makers: Sequence[Maker]) -> "MemberEnv":
        """
        :param makers: what makes the sub-envs of one more member
        :return: its env
        :raises RuntimeError: if all were closed
        """
        if self._is_closed:
            raise RuntimeError("These envs were closed, and their worker processes have ended. Make new ones.")
        place = len(self._envs) % self._most_workers
        if place == len(self._workers):
            self._workers.append(WorkerProcess(self._context))
        elif self._workers[place].has_ended:
            self._workers[place] = WorkerProcess(self._context)
        worker = self._workers[place]
        self._envs.append(MemberEnv(worker, worker.begin_env(makers)))
        return self._envs[-1]

    def __getitem__(self, index: Any) -> Any:
        return self._envs[index]

    def __iter__(self) -> Iterator["MemberEnv"]:
        return iter(self._envs)

    def __len__(self) -> int:
        return len(self._envs)

    def close(self) -> None:
        """
        End all workers; members' envs, and those beside them, are of no use any more.

        :raises Exception: the first that an env's ``close()`` raised, when all are closed
        """
        self._is_closed = True
        errors = []
        try:
            for env in [env for worker in self._workers for env in worker.envs]:
                try:
                    env.close()
                except Exception as error:
                    errors.append(error)
        finally:
            end(self._workers)
        if errors:
            raise errors[0]


class MemberEnv(VecEnv):
    """
    The sub-envs of one member, which are in a worker process.

    :param worker: the process, which is making them
    :param number: theirs among all that the worker has made
    """

    def __init__(self, worker: WorkerProcess, number: int):
        self._worker, self._number = worker, number
        self._is_closed = False
        self._step: int | None = None  # questions whose answers are still to come
        self._reset: tuple[int, Any, Any] | None = None  # with the seeds and options that it was begun with
        observation_space, action_space, metadata, n_envs = worker.answer(number)
        self._arrays = SharedArrays(observation_space, n_envs)
        worker.envs.append(self)
        try:
            self._call("share", self._arrays.memory.name)
            super().__init__(n_envs, observation_space, action_space)
        except BaseException:
            with suppress(Exception):
                self.close()
            raise
        self.metadata = metadata

    def _ask(self, command: str, *arguments: Any) -> int:
        if self._is_closed:
            raise RuntimeError("This env was closed.")
        return self._worker.ask(self._number, command, *arguments)

    def _call(self, command: str, *arguments: Any) -> Any:
        return self._worker.answer(self._ask(command, *arguments))

    def beside(self, makers: Sequence[Maker]) -> "MemberEnv":
        """
        :param makers: what makes the sub-envs of another env of the member, for scoring or evaluating
        :return: it, in the same process
        """
        return MemberEnv(self._worker, self._worker.begin_env(makers))

    def begin_reset(self) -> None:
        """Have the worker begin what :meth:`reset` waits for."""
        seeds, options = self._seeds, self._options
        if self._reset is None or self._reset[1] is not seeds or self._reset[2] is not options:
            self._forget()
            self._reset = self._ask("reset", seeds, options), seeds, options

    def reset(self) -> VecEnvObs:
        """See SB3."""
        self.begin_reset()
        assert self._reset is not None
        (question, *_), self._reset = self._reset, None
        self.reset_infos = self._worker.answer(question)
        self._reset_seeds()
        self._reset_options()
        return self._arrays.observations()

    def step_async(self, actions: np.ndarray) -> None:
        """See SB3. The worker begins at once."""
        if self._step is not None or self._reset is not None:
            self._forget()
        self._step = self._ask("step", *flat(actions))

    def step_wait(self) -> VecEnvStepReturn:
        """See SB3."""
        if self._step is None:
            raise RuntimeError("step_wait() waits for what step_async() began, and no step is under way.")
        question, self._step = self._step, None
        infos, reset_infos = self._worker.answer(question)
        self.reset_infos = self.reset_infos if reset_infos is None else reset_infos
        return self._arrays.observations(), self._arrays.rewards(), self._arrays.dones(), infos

    def _forget(self) -> None:
        """Nobody waits for what was begun any more: an interrupt, or another member's error, came in between."""
        for question in (self._step, self._reset[0] if self._reset is not None else None):
            if question is not None:
                self._worker.drop(question)
        self._step = self._reset = None

    def close(self) -> None:
        """Close the sub-envs; a worker that holds no others ends."""
        if self._is_closed:
            return
        self._is_closed = True
        self._forget()
        try:
            self._worker.release(self, self._number)
        finally:
            self._arrays.close(for_all=True)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """See SB3."""
        return self._ask_env("get_images")

    def has_attr(self, attr_name: str) -> bool:
        """See SB3."""
        return bool(self._ask_env("has_attr", attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """See SB3."""
        return self._ask_env("get_attr", attr_name, indices)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """See SB3."""
        self._ask_env("set_attr", attr_name, value, indices)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """See SB3."""
        return self._ask_env("env_method", method_name, *args, indices=indices, **kwargs)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """See SB3."""
        return self._ask_env("env_is_wrapped", wrapper_class, indices)

    def _ask_env(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._call("call", method, args, kwargs)
