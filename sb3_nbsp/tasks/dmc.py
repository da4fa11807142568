"""DeepMind Control tasks over Farama's Shimmy, with what a sequence needs: flat observations, seeds, one scale of returns."""

import re
import sys
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_nbsp.base.arguments import Interval, Is, Whole, check_values
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.sequence import TaskSequence, sequence_of_names
from sb3_nbsp.tasks.task import Task

EPISODE_STEPS = 1000  # of the suite's tasks; each pays 0 to 1
ID = "dm_control/{}-v0"
ARGUMENTS = {
    "action_repeat": Annotated[int, Whole(1, "control steps", EPISODE_STEPS)],
    "solved_at": Annotated[float, Is("a return above 0, at most 1", lambda r: Interval(0, 1).allows(r) and r > 0)] | None,
}


class DMControlEnv(gym.Env):
    """
    One task of the DeepMind Control suite (Tassa et al. 2018, https://arxiv.org/abs/1801.00690).

    An episode has 1,000 control steps, each of which pays 0 to 1. In training the reward of a step is the mean over its
    control steps. In evaluation it is divided by the steps of an episode, so that a **return lies between 0 and 1**, whatever
    ``action_repeat`` is: a thousandth of what the literature reports.

    Everything follows from ``reset(seed=)``: each episode has a seed of its own, drawn from it.

    :param task: body and task, e.g. ``"cartpole-swingup"``
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``None``
    :param evaluation: whether agents are judged on it rather than trained
    :param action_repeat: control steps per step
    :param solved_at: an episode counts as a success if its return, scaled to [0, 1], is at least this; success is told at its
        last step. ``None``: success is not told
    :raises ImportError: if dm_control or Shimmy is not installed
    :raises ValueError: if the task is unknown or a number out of range
    """

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        evaluation: bool = False,
        action_repeat: int = 1,
        solved_at: float | None = None,
    ) -> None:
        name = _name_of(task, _known_tasks())
        check_values(ARGUMENTS, {"action_repeat": action_repeat, "solved_at": solved_at})
        self.action_repeat, self.solved_at = action_repeat, solved_at
        self.horizon = EPISODE_STEPS // action_repeat
        self.render_mode = render_mode
        self._pay = 1 / self.horizon if evaluation else 1.0
        # Shimmy's env keeps its observations in a dict of parts.
        shimmy = gym.make(ID.format(name), render_mode=render_mode, disable_env_checker=True)
        self._env = gym.wrappers.FlattenObservation(shimmy)
        self.observation_space = self._env.observation_space
        bounds: Any = self._env.action_space
        self.action_space = spaces.Box(bounds.low.astype(np.float32), bounds.high.astype(np.float32))
        fps = max(1, round(1 / (self._env.unwrapped.dt * action_repeat)))  # type: ignore[attr-defined]
        self.metadata = {**self._env.metadata, "render_fps": fps}
        self._elapsed, self._total = 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        Begin an episode.

        :param seed: makes this episode and those after it
        :param options: not used
        :return: observation and an empty info
        """
        super().reset(seed=seed)
        obs, _ = self._env.reset(seed=int(self.np_random.integers(2**31)))
        self._elapsed, self._total = 0, 0.0
        return obs, {}

    def step(self, action: npt.NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """
        Take ``action_repeat`` control steps.

        :param action: within ``action_space``
        :return: observation, reward, whether the task ended the episode, whether its time is up, info
        """
        paid = 0.0
        for _ in range(self.action_repeat):
            obs, reward, terminated, _, _ = self._env.step(action)
            paid += float(reward) / self.action_repeat
            if terminated:
                break
        self._elapsed += 1
        self._total += paid / self.horizon
        truncated = self._elapsed >= self.horizon and not terminated
        told = {} if self.solved_at is None or not (terminated or truncated) else {"success": self._total >= self.solved_at}
        return obs, paid * self._pay, terminated, truncated, told

    def render(self) -> Any:
        """
        Show the scene.

        :return: the picture in the modes that give one
        """
        return self._env.render()

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()


def dmc_sequence(
    tasks: str | Iterable[str] = ("cartpole-balance", "cartpole-swingup"),
    steps_per_task: int | tuple[int, ...] = 100_000,
    cycles: int = 1,
    action_repeat: int = 1,
    solved_at: float | None = None,
    task_id: bool | int = False,
    order: Iterable[str] | None = None,
) -> TaskSequence:
    """
    DeepMind Control tasks, one after another. See :class:`DMControlEnv` for what an episode is, and how it is judged.

    Tasks of one body share their spaces; those of others mostly do not, and are refused before training.

    :param tasks: body and task, ``"walker-walk"``, or an id of Shimmy's, ``"dm_control/walker-walk-v0"``
    :param steps_per_task: environment steps (not control steps) for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param action_repeat: control steps per environment step
    :param solved_at: return between 0 and 1 from which an episode counts as a success; then success rates are what results
        compare, else returns
    :param task_id: append the one-hot task id to the observation; a number is its length, with room for later tasks
    :param order: names of the tasks in the order in which they are visited in a cycle; default: each once
    :return: the sequence
    :raises ImportError: if dm_control or Shimmy is not installed
    :raises ValueError: if a task is unknown or a number out of range
    """
    kept: dict[str, Any] = {"action_repeat": action_repeat, "solved_at": solved_at}
    check_values(ARGUMENTS, kept)

    def task_of(name: str) -> Task:
        return Task(name, partial(DMControlEnv, name, **kept), partial(DMControlEnv, name, evaluation=True, **kept))

    name_of = partial(_name_of, known=_known_tasks())
    return sequence_of_names(task_of, tasks, steps_per_task, cycles, task_id, order, name_of)


def _known_tasks() -> list[str]:
    """Body and task of the suite; its ids are Gymnasium's once Shimmy is imported."""
    try:
        with warnings.catch_warnings():  # GLFW's, where there is no screen: then MuJoCo looks for another way to draw
            warnings.filterwarnings("ignore", message=".*DISPLAY")
            import dm_control.suite  # noqa: F401 (without it Shimmy registers nothing, in silence)
        from shimmy.registration import DM_CONTROL_SUITE_ENVS
    except ImportError as error:
        needed = f"DeepMind Control tasks need dm_control and Shimmy ({error})"
        if sys.version_info >= (3, 13):
            raise ImportError(f"{needed}. They cannot be installed on Python 3.13 or newer: use Python 3.12.") from error
        raise ImportError(f'{needed}: pip install "sb3-nbsp[dmc]"') from error
    return [f"{body}-{task}" for body, task in DM_CONTROL_SUITE_ENVS]


def _name_of(name: str, known: list[str]) -> str:
    """ "walker-walk" out of "dm_control/walker-walk-v0", "walker_walk", "WalkerWalk"."""
    short = re.sub(r"-v\d+$", "", name.removeprefix("dm_control/"))
    by_letters = {re.sub(r"[-_]", "", task).lower(): task for task in known}
    if (letters := re.sub(r"[-_ ]", "", short).lower()) not in by_letters:
        raise ValueError(unknown_name_message("DeepMind Control task", short, known))
    return by_letters[letters]
