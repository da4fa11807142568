"""One task: a name and the way to make its environment."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from sb3_nbsp.base.arguments import AtLeast


def check_reference_scores(task: str, scores: Any) -> None:
    """
    Refuse reference scores that no return can be normalised with.

    :param task: the task's name, for the message
    :param scores: returns of a random player and of a human
    :raises ValueError: if they are not two different finite numbers
    """
    is_pair = isinstance(scores, list | tuple | np.ndarray) and len(scores) == 2
    if not is_pair or not all(map(AtLeast(-math.inf).allows, scores)) or scores[0] == scores[1]:
        raise ValueError(
            f"reference_scores of task {task!r} must be two different finite numbers, the returns of a random player and of a "
            f"human; got {scores!r}. Use None where they are not known."
        )


@dataclass(frozen=True)
class Task:
    """
    One task: a name and the way to make its environment.

    :param name: how the task is called in ``info``, results and plots
    :param make: ``make(render_mode)`` returns a new environment with its own time limit. It is sent to subprocesses by
        cloudpickle, so functions of a script and lambdas will do.
    :param make_evaluation: the same for the environment that agents are judged on, where it is not the one they are
        trained on, e.g. because rewards are clipped in training. Observations must have the same form, actions the same
        shape; their bounds may differ. Default: ``make``.
    :param reference_scores: returns of a random player and of a human on ``make_evaluation``'s environment. Where all
        tasks have them, results are normalised: ``(return - random) / (human - random)``.
    :param make_vector: ``make_vector(num_envs)`` returns many copies of what ``make`` makes as one Gymnasium vector env, with
        ``SAME_STEP``; for :class:`TaskSequenceVectorEnv`
    :raises TypeError: if ``name`` is no text, or what makes environments cannot be called
    :raises ValueError: if the name is empty, or the two reference scores are not two different finite numbers
    """

    name: str
    make: Callable[[str | None], gym.Env]
    make_evaluation: Callable[[str | None], gym.Env] | None = None
    reference_scores: tuple[float, float] | None = None
    make_vector: Callable[[int], VectorEnv] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # As SB3 sends the makers of envs: functions of a script, and lambdas, are no module's that the other process knows.
        try:
            makers = cloudpickle.dumps((self.make, self.make_evaluation, self.make_vector))
        except Exception as error:  # of whatever the makers hold
            text = (
                f"Task {self.name!r} cannot be sent to another process, as SubprocVecEnv must: {error}. Make "
                "what cannot be sent within the task's make(), or use DummyVecEnv."
            )
            if parent_process() is None:
                raise TypeError(text) from error
            return _refuse, (text,)  # an error in a worker of SubprocVecEnv would end it; so it is raised where it is received
        return _task_of, (self.name, makers, self.reference_scores)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"A task's name must be text, got {self.name!r}. Write e.g. Task('push', make).")
        if not self.name.strip():
            raise ValueError("A task's name must not be empty: info, results and plots tell tasks by it.")
        for argument in ("make", "make_evaluation", "make_vector"):
            value = getattr(self, argument)
            if not (callable(value) or (value is None and argument != "make")):
                raise TypeError(
                    f"{argument} of task {self.name!r} must be a function that returns an environment, got {value!r}. "
                    "Write e.g. lambda render_mode: gym.make('Pendulum-v1', render_mode=render_mode)."
                )
        if self.reference_scores is not None:
            check_reference_scores(self.name, self.reference_scores)
            # Wherever they came from (a configuration file knows lists only), results compare them as tuples.
            object.__setattr__(self, "reference_scores", tuple(self.reference_scores))


def _task_of(name: str, makers: bytes, reference_scores: tuple[float, float] | None) -> Task:
    make, make_evaluation, make_vector = cloudpickle.loads(makers)
    return Task(name, make, make_evaluation, reference_scores, make_vector)


def _refuse(text: str) -> Task:
    raise TypeError(text)
