"""The embedded default that needs no simulator: a point that is to reach a goal it cannot see."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_nbsp.base.arguments import Whole, check_values
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.sequence import TaskSequence, sequence_of_names
from sb3_nbsp.tasks.task import Task

GOALS = {"east": (1.0, 0.0), "west": (-1.0, 0.0), "north": (0.0, 1.0), "south": (0.0, -1.0)}
MOVES = np.array([(0.0, 0.0), *GOALS.values()])  # what the actions stand for where they are discrete
ARENA = 1.5  # half the side of the square that the point cannot leave
GOAL_RADIUS = 0.2
START_NOISE = 0.1  # half the side of the square around the centre that episodes begin in
SPEED = 0.1  # distance per step at full velocity
INERTIA = 0.5  # share of the velocity that is kept from one step to the next
IMAGE_SIZE = 128  # pixels
ARGUMENTS = {"horizon": Annotated[int, Whole(1, "env steps")], "discrete": bool}


class PointGoalEnv(gym.Env):
    """
    A point mass in a square. The tasks share the dynamics and differ in the goal alone, which the observation does not
    show: it is position and velocity (4,). The reward is minus the distance to the goal, about -1 to 0 per step.
    A step within the goal's radius is a success; nothing but the time limit ends an episode.

    :param goal: ``"east"``, ``"west"``, ``"north"`` or ``"south"``
    :param render_mode: ``"rgb_array"`` or ``None``
    :param horizon: steps per episode
    :param discrete: five actions, to stay and to go towards each of the four sides, instead of continuous ones
    :raises ValueError: if the goal or the render mode is unknown
    """

    def __init__(self, goal: str, render_mode: str | None = None, horizon: int = 25, discrete: bool = False) -> None:
        check_goal(goal)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"PointGoalEnv renders as 'rgb_array' only, got render_mode={render_mode!r}.")
        check_values(ARGUMENTS, {"horizon": horizon, "discrete": discrete})
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 15}
        self.goal = np.array(GOALS[goal])
        self.render_mode = render_mode
        self.horizon = horizon
        limit = np.array([ARENA, ARENA, 1.0, 1.0], dtype=np.float32)
        self.observation_space = spaces.Box(-limit, limit)
        self.discrete = discrete
        self.action_space: spaces.Space = spaces.Discrete(len(MOVES)) if discrete else spaces.Box(-1.0, 1.0, (2,))
        self._position = np.zeros(2)
        self._velocity = np.zeros(2)
        self._elapsed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        Put the point near the centre, at rest.

        :param seed: seed of the start positions
        :param options: not used
        :return: observation (4,) and an empty info
        """
        super().reset(seed=seed)
        self._position = self.np_random.uniform(-START_NOISE, START_NOISE, size=2)
        self._velocity = np.zeros(2)
        self._elapsed = 0
        return self._observe(), {}

    def step(self, action: npt.NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """
        Push the point.

        :param action: wanted velocity (2,), each in [-1, 1]; the number of a move where actions are discrete
        :return: observation, reward, ``False``, whether the time is up, info with ``success``
        """
        wanted = MOVES[int(action)] if self.discrete else np.clip(action, -1.0, 1.0)
        self._velocity = INERTIA * self._velocity + (1.0 - INERTIA) * wanted
        self._position = np.clip(self._position + SPEED * self._velocity, -ARENA, ARENA)
        self._elapsed += 1
        distance = float(np.linalg.norm(self._position - self.goal))
        info = {"success": float(distance <= GOAL_RADIUS)}
        return self._observe(), -distance, False, self._elapsed >= self.horizon, info

    def _observe(self) -> npt.NDArray[np.float32]:
        return np.concatenate([self._position, self._velocity]).astype(np.float32)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """
        Draw the goal in green and the point in black, north up.

        :return: the picture (height, width, 3), or ``None`` without a render mode
        """
        if self.render_mode is None:
            return None
        image = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 255, dtype=np.uint8)
        axis = np.linspace(-ARENA, ARENA, IMAGE_SIZE)
        x, y = np.meshgrid(axis, axis[::-1])
        image[np.hypot(x - self.goal[0], y - self.goal[1]) <= GOAL_RADIUS] = (60, 180, 75)
        image[np.hypot(x - self._position[0], y - self._position[1]) <= GOAL_RADIUS / 3] = 0
        return image


def point_goal_sequence(
    tasks: str | Iterable[str] = ("east", "west"),
    steps_per_task: int | tuple[int, ...] = 2000,
    cycles: int = 2,
    horizon: int = 25,
    task_id: bool | int = True,
    discrete: bool = False,
    order: Iterable[str] | None = None,
) -> TaskSequence:
    """
    Goals in opposite directions, one after another. Without the task id no policy can serve two of them.

    :param tasks: goals, of ``"east"``, ``"west"``, ``"north"``, ``"south"``
    :param steps_per_task: environment steps for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param horizon: steps per episode
    :param task_id: append the one-hot task id to the observation; a number is its length, with room for later tasks
    :param discrete: five actions instead of continuous ones, see :class:`PointGoalEnv`
    :param order: names of the tasks in the order in which they are visited in a cycle; default: each once
    :return: the sequence
    :raises ValueError: if a goal is unknown
    """
    check_values(ARGUMENTS, {"horizon": horizon, "discrete": discrete})

    def task_of(name: str) -> Task:
        return Task(name, partial(PointGoalEnv, name, horizon=horizon, discrete=discrete))

    return sequence_of_names(task_of, tasks, steps_per_task, cycles, task_id, order, check_goal)


def check_goal(name: str) -> str:
    """
    :param name: of a goal
    :return: the same
    :raises ValueError: if there is none of that name
    """
    if name not in GOALS:
        raise ValueError(unknown_name_message("goal", name, GOALS))
    return name
