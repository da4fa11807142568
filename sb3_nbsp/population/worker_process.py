"""A worker process as the process that trains sees it: it is asked, and answers are read."""

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any, NoReturn
from weakref import WeakSet

import gymnasium as gym
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper

from sb3_nbsp.population.env_worker import END, MARK, Failure, message, number_of, serve

Maker = Callable[[], gym.Env]
# Questions that may be on their way, in bytes with what the system adds to each. While they fit into the line, sending never
# waits: else both ends could wait, each for the other to read. Linux keeps 208 KiB, others as little as 8.
ROOM = (128 if sys.platform == "linux" else 6) * 1024
ADDED = 1024
SECONDS_TO_END = 5.0  # that workers are given for the step they are in
_STARTED: "WeakSet[WorkerProcess]" = WeakSet()


class WorkerEnded(EOFError):
    """A worker process is not there any more."""


class WorkerProcess:
    """
    A process and the line to it. Each question has a number, which its answer comes back with: answers wait here for whoever
    they are for, and those that nobody waits for any more, after an interrupt or another member's error, are dropped.

    :param context: of multiprocessing
    """

    def __init__(self, context: Any):
        self.envs: list[Any] = []  # that are open
        self._n_questions = 0
        self._sizes: dict[int, int] = {}  # of questions whose answers have not been read
        self._on_the_way = 0  # their sum
        self._dropped: set[int] = set()  # those of them that nobody waits for
        self._answers: dict[int, bytes] = {}  # that have been read
        self._is_torn = False  # whether a part of an answer may have been read
        self._owner = os.getpid()
        self._line, other_end = context.Pipe()
        is_forked = context.get_start_method() == "fork"
        inherited = [self._line, *(worker._line for worker in _STARTED)] if is_forked else []
        self._process = context.Process(target=serve, args=(other_end, inherited), daemon=True)
        self._process.start()
        other_end.close()
        if not any(worker.is_own for worker in _STARTED):
            Finalize(None, _end_all, exitpriority=0)
        _STARTED.add(self)

    @property
    def has_ended(self) -> bool:
        """Whether it was told to."""
        return bool(self._line.closed)

    @property
    def is_own(self) -> bool:
        """Whether this process has started it, not the one that this process was forked from."""
        return self._owner == os.getpid()

    def begin_env(self, makers: Maker | Sequence[Maker]) -> int:
        """
        Have the process begin to make an env.

        :param makers: of its sub-envs
        :return: its number, which is the question's
        """
        several = makers if isinstance(makers, Sequence) else [makers]
        return self.ask(0, "make", [CloudpickleWrapper(make) for make in several])

    def ask(self, number: int, command: str, *arguments: Any) -> int:
        """
        :param number: of the env that is asked
        :param command: what is to be done, see :mod:`~sb3_nbsp.population.env_worker`
        :param arguments: of it
        :return: the question's number
        :raises WorkerEnded: if the worker has ended
        """
        question = self._n_questions + 1
        content = message(question, pickle.dumps((number, command, arguments)))
        size = len(content) + ADDED
        if self._is_torn:
            self._mend()
        while self._on_the_way + size > ROOM and self._sizes:
            self._read()
        self._n_questions = question
        self._send(content)
        self._sizes[question] = size
        self._on_the_way += size
        return question

    def answer(self, question: int) -> Any:
        """
        :param question: its number
        :return: the answer
        :raises WorkerEnded: if the worker has ended
        :raises Exception: the env's own
        """
        try:
            while question not in self._answers:
                if question not in self._sizes:
                    raise RuntimeError("Training was interrupted, and what this env told is lost: reset it.")
                self._read()
        except BaseException:
            self.drop(question)
            raise
        result = pickle.loads(self._answers.pop(question))
        if isinstance(result, Failure):
            raise result.error from RuntimeError(f"in a worker process:\n{result.told}")
        return result

    def drop(self, question: int) -> None:
        """
        :param question: nobody waits for its answer any more
        """
        self._answers.pop(question, None)
        if question in self._sizes:
            self._dropped.add(question)

    def _send(self, content: bytes) -> None:
        try:
            self._line.send_bytes(content)
        except (BrokenPipeError, ConnectionResetError):
            self._tell_end()
        except OSError:
            if self.has_ended:
                raise RuntimeError("All envs of this worker process were closed, and it has ended. Make new envs.") from None
            raise

    def _read(self) -> None:
        if self._is_torn:
            self._mend()
            return
        self._is_torn = True  # until an answer is where it belongs: an interrupt may come at any point
        try:
            received = self._line.recv_bytes()
        except (EOFError, ConnectionResetError):
            self._tell_end()
        question = number_of(received)
        if question in self._dropped:
            self._dropped.remove(question)
        else:
            self._answers[question] = received
        self._on_the_way -= self._sizes.pop(question, 0)
        self._is_torn = False

    def _mend(self) -> None:
        """Read on to where the next answer begins. What was on its way is lost."""
        mark = message(MARK, os.urandom(32))
        self._send(mark)
        read = b""
        while mark not in read:
            # Windows sends messages as a whole.
            try:
                more = self._line.recv_bytes() if sys.platform == "win32" else os.read(self._line.fileno(), 2**16)
            except (EOFError, ConnectionResetError):
                more = b""
            if not more:
                self._tell_end()
            read = read[-len(mark) :] + more
        self._sizes.clear()
        self._dropped.clear()
        self._on_the_way = 0
        self._is_torn = False

    def _tell_end(self) -> NoReturn:
        self._process.join(1)
        status = self._process.exitcode
        told = f"A worker process that holds envs of a population has ended (exit status {status})."
        if status is not None and status < 0:
            told += " It was killed. Memory may have run out: use fewer members or workers."
        raise WorkerEnded(told)

    def release(self, env: Any, number: int) -> None:
        """
        Close a member's sub-envs, as far as there is someone to do it; a worker that holds no others ends.

        :param env: the member's
        :param number: the env's
        :raises Exception: the env's own, from its ``close()``
        """
        self.envs.remove(env)
        try:
            if not self.has_ended:
                self.answer(self.ask(number, "close"))
        except WorkerEnded:
            pass
        finally:
            if not self.envs:
                end([self])

    def ask_to_end(self) -> None:
        """Close the line."""
        if not self.has_ended:
            with suppress(OSError):  # it has ended by itself
                self._line.send_bytes(message(END, b""))
            self._line.close()

    def wait_for_end(self, seconds: float) -> None:
        """
        :param seconds: after which it is killed; it leaves other signals to the process that trains
        """
        self._process.join(max(seconds, 0.0))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def end(workers: Iterable[WorkerProcess]) -> None:
    """
    :param workers: that are to end, all at once
    """
    workers = list(workers)
    for worker in workers:
        worker.ask_to_end()
    deadline = time.monotonic() + SECONDS_TO_END
    for worker in workers:
        worker.wait_for_end(deadline - time.monotonic())


def _end_all() -> None:
    """At the end of a process multiprocessing waits for those that it has started, and workers would wait too."""
    own = [worker for worker in _STARTED if worker.is_own]
    end(own)
    for env in [env for worker in own for env in worker.envs]:
        with suppress(Exception):
            env.close()  # there is shared memory left
