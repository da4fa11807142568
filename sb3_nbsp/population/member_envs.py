"""Envs of many members in a few worker processes."""

import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from multiprocessing import resource_tracker
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_nbsp.population.env_worker import Failure, SharedArrays, serve

Maker = Callable[[], gym.Env]
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
    :param workers: number of processes
    :param start_method: of the processes, as for SB3's ``SubprocVecEnv``. With ``"forkserver"`` (where there is it) and
        ``"spawn"``, a script needs ``if __name__ == "__main__":``.
    :raises ValueError: for fewer than one worker
    """

    def __init__(self, makers: Sequence[Maker | Sequence[Maker]] = (), workers: int = 1, start_method: str | None = None):
        if workers < 1:
            raise ValueError(f"workers must be at least 1, the number of processes; got {workers}.")
        known = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context(start_method or ("forkserver" if "forkserver" in known else "spawn"))
        resource_tracker.ensure_running()  # one for all: a forked worker would start one of its own, which ends shared memory
        self._workers = [_Worker(context) for _ in range(workers)]
        self._envs: list[MemberEnv] = []
        try:
            begun = [(worker, worker.begin_env(maker)) for worker, maker in zip(cycle(self._workers), makers, strict=False)]
            self._envs = [MemberEnv(worker, number) for worker, number in begun]
        except BaseException:
            self.close()
            raise

    def add(self, makers: Sequence[Maker]) -> "MemberEnv":
        """
        :param makers: what makes the sub-envs of one more member
        :return: its env
        """
        worker = self._workers[len(self._envs) % len(self._workers)]
        self._envs.append(MemberEnv(worker, worker.begin_env(makers)))
        return self._envs[-1]

    def __getitem__(self, index: Any) -> Any:
        return self._envs[index]

    def __iter__(self) -> Iterator["MemberEnv"]:
        return iter(self._envs)

    def __len__(self) -> int:
        return len(self._envs)

    def close(self) -> None:
        """End all workers; members' envs are of no use any more."""
        for env in self._envs:
            env.close()
        for worker in self._workers:
            worker.end()


class MemberEnv(VecEnv):
    """
    The sub-envs of one member, which are in a worker process.

    :param worker: the process, which is making them
    :param number: theirs among all that the worker has made
    """

    def __init__(self, worker: "_Worker", number: int):
        self._worker, self._number = worker, number
        self._is_closed = self._is_resetting = False
        observation_space, action_space, metadata, n_envs = worker.answer(number)
        self._arrays = SharedArrays(observation_space, n_envs)
        worker.envs.add(self)
        self._call("share", self._arrays.memory.name)
        super().__init__(n_envs, observation_space, action_space)
        self.metadata = metadata

    def _call(self, command: str, *arguments: Any) -> Any:
        self._worker.ask(self._number, command, *arguments)
        return self._worker.answer(self._number)

    def beside(self, makers: Sequence[Maker]) -> "MemberEnv":
        """
        :param makers: what makes the sub-envs of another env of the member, for scoring or evaluating
        :return: it, in the same process
        """
        return MemberEnv(self._worker, self._worker.begin_env(makers))

    def begin_reset(self) -> None:
        """Have the worker begin what :meth:`reset` waits for."""
        if not self._is_resetting:
            self._worker.ask(self._number, "reset", self._seeds, self._options)
            self._is_resetting = True

    def reset(self) -> VecEnvObs:
        """See SB3."""
        self.begin_reset()
        self._is_resetting = False
        self.reset_infos = self._worker.answer(self._number)
        self._reset_seeds()
        self._reset_options()
        return self._arrays.observations()

    def step_async(self, actions: np.ndarray) -> None:
        """See SB3. The worker begins at once."""
        self._worker.ask(self._number, "step", actions)

    def step_wait(self) -> VecEnvStepReturn:
        """See SB3."""
        infos, reset_infos = self._worker.answer(self._number)
        self.reset_infos = self.reset_infos if reset_infos is None else reset_infos
        return self._arrays.observations(), self._arrays.rewards(), self._arrays.dones(), infos

    def close(self) -> None:
        """Close the sub-envs; a worker that holds no others ends."""
        if self._is_closed:
            return
        self._is_closed = True
        self._worker.release(self, self._number)
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


class _Worker:
    """
    A process and the line to it. Answers come in the order of questions, and wait here for whoever they are for.

    :param context: of multiprocessing
    """

    def __init__(self, context: Any):
        self.envs: set[MemberEnv] = set()  # that are open
        self._n_begun = 0
        self._answers: dict[int, Any] = {}  # by env
        self._line, other_end = context.Pipe()
        self._process = context.Process(target=serve, args=(other_end,), daemon=True)
        self._process.start()
        other_end.close()

    def begin_env(self, makers: Maker | Sequence[Maker]) -> int:
        """
        Have the process begin to make an env.

        :param makers: of its sub-envs
        :return: its number
        """
        number = self._n_begun
        self._n_begun += 1
        self.ask(number, "make", [CloudpickleWrapper(make) for make in (makers if isinstance(makers, Sequence) else [makers])])
        return number

    def ask(self, number: int, command: str, *arguments: Any) -> None:
        """
        :param number: of the env that is asked
        :param command: what is to be done, see :mod:`~sb3_nbsp.population.env_worker`
        :param arguments: of it
        """
        try:
            self._line.send_bytes(pickle.dumps((number, command, arguments)))
        except (BrokenPipeError, ConnectionResetError):
            self._tell_end()

    def answer(self, number: int) -> Any:
        """
        :param number: of the env that was asked
        :return: what it answered
        :raises EOFError: if the worker has ended
        :raises Exception: the env's own
        """
        while number not in self._answers:
            try:
                other, result = pickle.loads(self._line.recv_bytes())
            except (EOFError, ConnectionResetError):
                self._tell_end()
            self._answers[other] = result
        result = self._answers.pop(number)
        if isinstance(result, Failure):
            raise result.error from RuntimeError(f"in a worker process:\n{result.told}")
        return result

    def _tell_end(self) -> None:
        self._process.join(1)
        status = self._process.exitcode
        raise EOFError(
            f"A worker process that holds envs of a population has ended (exit status {status}). "
            "If it was killed (a negative status), memory may have run out: use fewer members or workers."
        )

    def release(self, env: MemberEnv, number: int) -> None:
        """
        Close a member's sub-envs, as far as there is someone to do it; a worker that holds no others ends.

        :param env: the member's
        :param number: the env's
        """
        self.envs.discard(env)
        self._answers.pop(number, None)
        with suppress(EOFError, OSError):
            self.ask(number, "close")
            while self.answer(number) is not None:  # of a step that was under way
                pass
        if not self.envs:
            self.end()

    def end(self) -> None:
        """End the process."""
        with suppress(OSError):  # it has ended by itself
            self._line.send_bytes(pickle.dumps((0, "end", ())))
        self._line.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
