"""What a worker process does: it holds the envs of several members, and steps them when it is told to."""

import pickle
import signal
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper
from stable_baselines3.common.vec_env.util import dict_to_obs, obs_space_info

REWARDS, DONES = object(), object()  # names beside those of the parts of an observation
ALIGNED = 64  # bytes
NUMBER = 8  # bytes of a message that number its question
END, MARK = 0, 2**64 - 1  # no numbers of questions: the worker is to end, or to send the message back as it is


def message(question: int, content: bytes) -> bytes:
    """
    :param question: its number
    :param content: the question, or its answer
    :return: what is sent
    """
    return content + question.to_bytes(NUMBER, "little")


def number_of(received: bytes) -> int:
    """
    :param received: what :func:`message` gave; ``pickle`` does not read as far as the number
    :return: the question's number
    """
    return int.from_bytes(received[-NUMBER:], "little")


def flat(actions: Any) -> tuple[Any, ...]:
    """
    :param actions: for a step
    :return: arguments of :meth:`_Env.step`: of an array what ``pickle`` takes a fifth of the time for
    """
    if type(actions) is np.ndarray and actions.flags.c_contiguous and actions.dtype.kind in "biuf":
        return actions.tobytes(), actions.dtype.str, actions.shape
    return (actions,)


class SharedArrays:
    """
    What a step of a member's sub-envs gives, in memory that two processes share.

    :param observation_space: of one sub-env
    :param n_envs: number of sub-envs
    :param name: of the memory; ``None`` makes it
    """

    def __init__(self, observation_space: gym.Space, n_envs: int, name: str | None = None):
        self.space = observation_space
        keys, shapes, dtypes = obs_space_info(observation_space)
        entries: list[Any] = [(key, (n_envs, *shapes[key]), np.dtype(dtypes[key])) for key in keys]
        entries += [(REWARDS, (n_envs,), np.dtype(np.float32)), (DONES, (n_envs,), np.dtype(bool))]
        places = [0]
        for _, shape, dtype in entries:
            n_bytes = int(np.prod(shape)) * dtype.itemsize
            places.append(places[-1] + -(-n_bytes // ALIGNED) * ALIGNED)
        self.memory = SharedMemory(name, create=name is None, size=places[-1])
        self._arrays: dict[Any, np.ndarray] = {
            key: np.ndarray(shape, dtype, self.memory.buf, place)
            for (key, shape, dtype), place in zip(entries, places[:-1], strict=True)
        }

    def write(self, observations: Any, rewards: np.ndarray | None = None, dones: np.ndarray | None = None) -> None:
        """
        :param observations: of all sub-envs, as a ``VecEnv`` gives them
        :param rewards: [n_envs]
        :param dones: [n_envs]
        """
        for key, array in self._arrays.items():
            if key is REWARDS or key is DONES:
                values = rewards if key is REWARDS else dones
                if values is not None:
                    array[:] = values
            else:
                array[:] = observations if key is None else observations[key]

    def observations(self) -> Any:
        """A copy, as a ``VecEnv`` gives them."""
        parts = {key: array.copy() for key, array in self._arrays.items() if key is not REWARDS and key is not DONES}
        return dict_to_obs(self.space, parts)

    def rewards(self) -> np.ndarray:
        """A copy, [n_envs]."""
        return self._arrays[REWARDS].copy()

    def dones(self) -> np.ndarray:
        """A copy, [n_envs]."""
        return self._arrays[DONES].copy()

    def close(self, for_all: bool = False) -> None:
        """
        :param for_all: whether the memory ends, not only this view of it
        """
        self._arrays.clear()
        try:
            self.memory.close()
        finally:
            if for_all:
                self.memory.unlink()


@dataclass(frozen=True)
class Failure:
    """What went wrong in a worker."""

    error: BaseException
    told: str  # the traceback

    def __reduce__(self) -> Any:
        try:
            pickle.loads(pickle.dumps(self.error))
        except Exception:  # errors with arguments of their own cannot always be sent
            return Failure, (RuntimeError(f"{type(self.error).__name__}: {self.error}"), self.told)
        return Failure, (self.error, self.told)


class _Env:
    """A member's sub-envs, one after another in one process: what SB3's ``DummyVecEnv`` does is done here too."""

    def __init__(self, makers: Sequence[CloudpickleWrapper]):
        self.env: VecEnv = DummyVecEnv([maker.var for maker in makers])
        self.arrays: SharedArrays | None = None

    def describe(self) -> tuple[gym.Space, gym.Space, dict[str, Any], int]:
        return self.env.observation_space, self.env.action_space, self.env.metadata, self.env.num_envs

    def share(self, name: str) -> None:
        self.arrays = SharedArrays(self.env.observation_space, self.env.num_envs, name)

    def reset(self, seeds: Any, options: Any) -> Any:
        assert self.arrays is not None
        self.env._seeds, self.env._options = seeds, options
        self.arrays.write(self.env.reset())
        return self.env.reset_infos

    def step(self, actions: Any, dtype: str | None = None, shape: tuple[int, ...] = ()) -> tuple[Any, Any]:
        assert self.arrays is not None
        if dtype is not None:
            actions = np.ndarray(shape, dtype, actions).copy()  # envs may write to it
        observations, rewards, dones, infos = self.env.step(actions)
        self.arrays.write(observations, rewards, dones)
        return infos, self.env.reset_infos if dones.any() else None

    def call(self, method: str, args: Any, kwargs: Any) -> Any:
        return getattr(self.env, method)(*args, **kwargs)

    def close(self) -> None:
        try:
            self.env.close()
        finally:
            if self.arrays is not None:
                self.arrays.close()


def serve(connection: Connection, inherited: Iterable[Connection] = ()) -> None:
    """
    Do what is asked for, (number of an env, command, arguments), and answer with the result or a :class:`Failure`, until the
    end is asked for or the other end of the line is closed.

    :param connection: to the process that trains
    :param inherited: ends of lines that a forked process holds too; while it did, they would not be closed for others
    """
    for line in inherited:
        line.close()
    # Terminals and schedulers send them to all processes. This one ends with the one that trains, which writes a checkpoint.
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    envs: dict[int, _Env] = {}
    while True:
        try:
            asked = connection.recv_bytes()
        except (EOFError, OSError):
            break
        question = number_of(asked)
        if question == END:
            break
        try:
            connection.send_bytes(asked if question == MARK else message(question, _answer(envs, question, asked)))
        except OSError:
            break


def _answer(envs: dict[int, _Env], question: int, asked: bytes) -> bytes:
    result: Any
    try:
        result = _done(envs, question, *pickle.loads(asked))
    except BaseException as error:
        result = Failure(error, traceback.format_exc())
    try:
        return pickle.dumps(result)
    except Exception as error:
        told = f"What an env tells (an info, an attribute) cannot be sent to the process that trains: {error!r}"
        return pickle.dumps(Failure(TypeError(told), traceback.format_exc()))


def _done(envs: dict[int, _Env], question: int, number: int, command: str, arguments: Sequence[Any]) -> Any:
    if command == "make":
        envs[question] = _Env(*arguments)
        return envs[question].describe()
    env = envs.pop(number) if command == "close" else envs[number]
    return getattr(env, command)(*arguments)
