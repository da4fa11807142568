"""The spaces of what agents are judged on, where it is not what they train on: looked at before training."""

from contextlib import closing
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.tasks.sequence import TaskSequence
from sb3_nbsp.tasks.task_env import Spaces


def evaluation_spaces(sequence: TaskSequence) -> dict[str, Spaces]:
    """
    Make what ``make_evaluation`` makes, look at it and close it. Random numbers drawn meanwhile do not change training's.

    Call this while no environment of the sequence is open: some simulators allow one at a time.

    :param sequence: the tasks
    :return: by the names of those tasks that have a ``make_evaluation``: spaces of observations and actions
    """
    found = {}
    for task in sequence.tasks:
        if task.make_evaluation is not None:
            with isolated_rng(), closing(sequence.make_task_env(task.name, evaluation=True)) as env:
                found[task.name] = env.observation_space, env.action_space
    return found


def check_agents_can_act(first: str, trained: Spaces, judged: dict[str, Spaces]) -> None:
    """
    :param first: what has the spaces that agents are trained in, in words
    :param trained: these spaces
    :param judged: of each task those that they are judged in
    :raises ValueError: if such an agent cannot act where it is judged
    """
    for name, found in judged.items():
        wrong = _what_differs(trained, found)
        if wrong is not None:
            kind, one, another = wrong
            raise ValueError(
                f"Agents must be able to act where they are judged, in its {kind} space: {first} has {one}, task {name!r} as "
                f"make_evaluation makes it has {another}. Wrap what make_evaluation makes so that they agree; bounds of "
                "actions may differ."
            )


def _what_differs(trained: Spaces, judged: Spaces) -> tuple[str, spaces.Space, spaces.Space] | None:
    """Which kind of space, and the two."""
    for kind, fit, one, another in zip(
        ("observation", "action"), (_observations_fit, _actions_fit), trained, judged, strict=True
    ):
        if not fit(one, another):
            return kind, one, another
    return None


def _observations_fit(trained: spaces.Space, judged: spaces.Space) -> bool:
    """Whether a policy's networks take what is judged; SB3's wrappers know pictures by their bounds."""
    if isinstance(trained, spaces.Dict) and isinstance(judged, spaces.Dict):
        return trained.keys() == judged.keys() and all(_observations_fit(trained[key], judged[key]) for key in trained)
    if isinstance(trained, spaces.Box) and isinstance(judged, spaces.Box):
        # SB3 makes 32-bit numbers of all but pictures.
        return trained.shape == judged.shape and is_image_space(trained) == is_image_space(judged)
    return _has_room(trained, judged)


def _actions_fit(trained: spaces.Space, judged: spaces.Space) -> bool:
    """Whether a policy's actions are some there. Their bounds are those of training: nothing reads the others'."""
    if isinstance(trained, spaces.Box) and isinstance(judged, spaces.Box):
        return trained.shape == judged.shape
    return _has_room(judged, trained)


def _has_room(wide: spaces.Space, space: spaces.Space) -> bool:
    """Whether one space of whole numbers holds all of another; other spaces must be equal."""
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete) or not isinstance(wide, type(space)):
        return wide == space
    (low, high), (least, most) = (_range(one) for one in (space, wide))
    return wide.shape == space.shape and bool(np.all(least <= low) and np.all(high <= most))


def _range(space: spaces.Discrete | spaces.MultiDiscrete) -> tuple[Any, Any]:
    return space.start, space.start + (space.n if isinstance(space, spaces.Discrete) else space.nvec)
