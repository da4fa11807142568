"""The embedded default as pictures: the point of :class:`PointGoalEnv` seen from above, for convolutional policies."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_nbsp.base.arguments import check_values
from sb3_nbsp.tasks.point_goal import ARENA, ARGUMENTS, GOALS, PointGoalEnv, check_goal
from sb3_nbsp.tasks.sequence import TaskSequence, checked_id, names_of, sequence_of_names
from sb3_nbsp.tasks.task import Task

SIDE = 36  # pixels; the smallest picture that SB3's NatureCNN takes
ARENA_SIDE = 30  # pixels: one per step at full velocity. The margin keeps the blob nearly whole at the walls
BLOB = 1.25  # pixels, standard deviation of the blob: wide enough to show moves of a fraction of a pixel
N_CUES = len(GOALS)  # a sequence has a task per goal at most
CUE_SHAPE = (4, SIDE // N_CUES - 1)  # pixels, height and width of the bar; a dark column parts it from its neighbours
NOW, BEFORE, CUE = range(3)  # what the channels show

_AXIS = np.arange(SIDE)


class PointGoalImageEnv(PointGoalEnv):
    """
    :class:`PointGoalEnv` in pictures, uint8 (36, 36, 3), north up, shown as colours if looked at: the point now (red), the
    point one step before (green; with the first it tells the velocity), and a bar at the upper border that tells the
    task (blue). The goal is not in the picture.

    :param goal: ``"east"``, ``"west"``, ``"north"`` or ``"south"``
    :param render_mode: ``"rgb_array"`` or ``None``; what is rendered is the larger picture of :class:`PointGoalEnv`, with goal
    :param horizon: steps per episode
    :param discrete: five actions, see :class:`PointGoalEnv`
    :param cue: which of the bar's places, from the left, 0 to 3; ``None`` draws no bar
    :raises ValueError: if the goal, the render mode or the cue is unknown
    """

    def __init__(
        self,
        goal: str,
        render_mode: str | None = None,
        horizon: int = 25,
        discrete: bool = True,
        cue: int | None = None,
    ) -> None:
        super().__init__(goal, render_mode, horizon, discrete)
        if cue is not None and cue not in range(N_CUES):
            raise ValueError(f"cue must be a whole number from 0 to {N_CUES - 1}, or None for no bar; got {cue!r}.")
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self._empty = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        if cue is not None:
            height, width = CUE_SHAPE
            left = cue * (width + 1)
            self._empty[:height, left : left + width, CUE] = 255
        self._last = self._empty[..., NOW]

    def _observe(self) -> npt.NDArray[Any]:
        now = draw_point(self._position)
        picture = self._empty.copy()
        picture[..., NOW] = now
        picture[..., BEFORE] = now if self._elapsed == 0 else self._last  # an episode begins at rest
        self._last = now
        return picture


def draw_point(position: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """
    Draw a point of the arena as a blob, a Gaussian with its centre at the very position, between pixels too.

    :param position: (2,), east and north, each in [-1.5, 1.5]
    :return: brightness (36, 36), 0 to 255, north up
    """
    # A two-dimensional Gaussian is the product of two one-dimensional ones: 72 exponentials, not 1296.
    profiles = np.exp((_AXIS - pixel_of(position)[:, None]) ** 2 / (-2 * BLOB**2))
    return (255 * profiles[0][:, None] * profiles[1]).astype(np.uint8)


def pixel_of(position: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """
    Find where in the picture a point of the arena lies.

    :param position: (2,), east and north, each in [-1.5, 1.5]
    :return: row and column (2,), in pixels; whole numbers are the pixels' centres
    """
    return (SIDE - 1) / 2 + position[::-1] * (-ARENA_SIDE / (2 * ARENA), ARENA_SIDE / (2 * ARENA))


def point_image_sequence(
    tasks: str | Iterable[str] = ("east", "west"),
    steps_per_task: int | tuple[int, ...] = 3000,
    cycles: int = 2,
    horizon: int = 25,
    task_id: bool | int = True,
    discrete: bool = True,
    order: Iterable[str] | None = None,
) -> TaskSequence:
    """
    Goals in opposite directions, one after another, in pictures. Without the task id no policy can serve two of them.

    :param tasks: goals, of ``"east"``, ``"west"``, ``"north"``, ``"south"``
    :param steps_per_task: environment steps for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param horizon: steps per episode
    :param task_id: show the task's place among the tasks as a bar in the picture, see :class:`PointGoalImageEnv`. It has four
        places, whichever number from that of the tasks to 4 is given: room for later tasks needs no reserving
    :param discrete: five actions instead of continuous ones
    :param order: names of the tasks in the order in which they are visited in a cycle; default: each once
    :return: the sequence; its own ``task_id`` is ``False``, because nothing is to be appended to a picture
    :raises TypeError: if ``task_id`` is neither a bool nor an int
    :raises ValueError: if a goal is unknown, or ``task_id`` is a number that the bar cannot serve
    """
    check_values(ARGUMENTS, {"horizon": horizon, "discrete": discrete})
    names = names_of(tasks)
    if checked_id(task_id, len(names)) > N_CUES:
        raise ValueError(f"task_id={task_id}: the bar that tells the task has {N_CUES} places. Use {N_CUES} at most, or True.")

    def task_of(name: str) -> Task:
        cue = names.index(name) if task_id else None
        return Task(name, partial(PointGoalImageEnv, name, horizon=horizon, discrete=discrete, cue=cue))

    return sequence_of_names(task_of, names, steps_per_task, cycles, False, order, check_goal)
