"""
The sequences that ``gymnasium.make`` knows, under the namespace ``sb3_nbsp/``.

Where the package may not have been imported, as in the workers of a ``SubprocVecEnv`` started from a notebook, put the
module before the id: ``gymnasium.make("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0")`` imports it first.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.atari import atari_sequence
from sb3_nbsp.tasks.dmc import dmc_sequence
from sb3_nbsp.tasks.metaworld import metaworld_sequence
from sb3_nbsp.tasks.point_goal import point_goal_sequence
from sb3_nbsp.tasks.point_goal_image import point_image_sequence
from sb3_nbsp.tasks.sequence import TaskSequence, gymnasium_sequence
from sb3_nbsp.tasks.sequence_env import SwitchOn, TaskSequenceEnv
from sb3_nbsp.tasks.sequence_vector_env import TaskSequenceVectorEnv


class Family(NamedTuple):
    """
    Sequences that one function makes.

    :param sequence: makes a sequence
    :param is_drawn: whether its tasks draw pictures only, which Gymnasium's window shows
    :param is_vector: whether its tasks can make many sub-environments as one, for ``gymnasium.make_vec``
    """

    sequence: Callable[..., TaskSequence]
    is_drawn: bool = False
    is_vector: bool = False


FAMILIES = {
    "point_goal": Family(point_goal_sequence, is_drawn=True),
    "point_image": Family(point_image_sequence, is_drawn=True),
    "metaworld": Family(metaworld_sequence),
    "atari": Family(atari_sequence, is_vector=True),
    "dmc": Family(dmc_sequence),
    "gymnasium": Family(gymnasium_sequence),
}


def _paper_pair(first: str, second: str) -> tuple[str, str, dict[str, Any]]:
    kwargs = {"tasks": (first, second), "steps_per_task": 500_000, "cycles": 2}
    return "metaworld", f"Meta-World {first}, {second}, twice; 500,000 steps each time", kwargs


def _quick_pair(first: str, second: str, steps: tuple[int, int]) -> tuple[str, str, dict[str, Any]]:
    kwargs = {"tasks": (first, second), "steps_per_task": steps, "action_repeat": 4, "horizon": 50}
    text = f"Meta-World {first} ({steps[0]:,} steps), then {second} ({steps[1]:,}); action repeat 4, minutes on a CPU"
    return "metaworld", text, kwargs


def _atari(*games: str, relation: str, cycles: int = 2) -> tuple[str, str, dict[str, Any]]:
    # The paper's budgets could not be had: a million steps is what CompoNet and its successors give a task.
    text = f"Atari {', '.join(games)}{', twice' if cycles == 2 else ''}: {relation}; 1,000,000 steps each time"
    return "atari", text, {"tasks": games, "steps_per_task": 1_000_000, "cycles": cycles}


def _atari_ram(first: str, second: str) -> tuple[str, str, dict[str, Any]]:
    text = f"Atari {first}, then {second}, as 128 bytes; 300,000 steps each, some ten minutes on a CPU"
    return "atari", text, {"obs_type": "ram", "tasks": (first, second), "steps_per_task": 300_000}


# id without namespace -> family, description, arguments of the family's sequence
_SEQUENCES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PointGoal-v0": ("point_goal", "A point learns to go east, then west, twice; about a minute on a CPU", {}),
    "PointGoalDiscrete-v0": ("point_goal", "The same with five discrete actions", {"discrete": True}),
    "PointGoalImage-v0": ("point_image", "The same in pictures of 36x36 pixels, two minutes on a CPU", {}),
    "PointGoal4-v0": (
        "point_goal",
        "A point learns to go east, west, north, south, once",
        {"tasks": ("east", "west", "north", "south"), "cycles": 1},
    ),
    "MetaWorld-v0": ("metaworld", "Any Meta-World v3 tasks: tasks=[...], steps_per_task=...", {}),
    "WindowOpenClose-v0": _paper_pair("window-open", "window-close"),
    "WindowCloseOpen-v0": _paper_pair("window-close", "window-open"),
    "DrawerOpenClose-v0": _paper_pair("drawer-open", "drawer-close"),
    "DrawerCloseOpen-v0": _paper_pair("drawer-close", "drawer-open"),
    "CoffeeButtonDrawerClose-v0": _quick_pair("coffee-button", "drawer-close", (10_000, 5_000)),
    "CoffeeButtonWindowClose-v0": _quick_pair("coffee-button", "window-close", (12_000, 12_000)),
    "Atari-v0": ("atari", "Any Atari games: tasks=[...], steps_per_task=...", {}),
    # The paper has two related and two unrelated pairs, names unknown. Here each game stands in one of each.
    "PongBreakout-v0": _atari("Pong", "Breakout", relation="related, a ball and a paddle"),
    "SpaceInvadersDemonAttack-v0": _atari("SpaceInvaders", "DemonAttack", relation="related, a gun below, targets above"),
    "PongSpaceInvaders-v0": _atari("Pong", "SpaceInvaders", relation="unrelated"),
    "BreakoutDemonAttack-v0": _atari("Breakout", "DemonAttack", relation="unrelated"),
    "Atari4-v0": _atari("Pong", "Breakout", "SpaceInvaders", "DemonAttack", relation="two related pairs", cycles=1),
    "AtariRam-v0": ("atari", "Any Atari games as 128 bytes: tasks=[...], steps_per_task=...", {"obs_type": "ram"}),
    "BoxingKungFuMasterRam-v0": _atari_ram("Boxing", "KungFuMaster"),
    "DMC-v0": ("dmc", "Any DeepMind Control tasks of one body: tasks=[...], steps_per_task=...", {}),
    # In this order, as whoever swings up balances as well: there the first task is not lost.
    "CartpoleSwingupBalance-v0": (
        "dmc",
        "DeepMind Control cartpole-swingup (10,000 steps), then cartpole-balance (20,000); three minutes on a CPU",
        {"tasks": ("cartpole-swingup", "cartpole-balance"), "steps_per_task": (10_000, 20_000), "action_repeat": 8},
    ),
    "Gymnasium-v0": ("gymnasium", "Any Gymnasium environments with equal spaces: tasks=[id, id]", {}),
}


def register_envs() -> None:
    """Register all sequences with Gymnasium. Calling it again changes nothing."""
    for name, (family, _, kwargs) in _SEQUENCES.items():
        if f"sb3_nbsp/{name}" not in gym.registry:
            gym.register(
                f"sb3_nbsp/{name}",
                entry_point=f"{__name__}:make_env",
                vector_entry_point=f"{__name__}:make_vector_env" if FAMILIES[family].is_vector else None,
                kwargs={"family": family, **kwargs},
                disable_env_checker=True,
                # In Gymnasium's sense: a seeded reset() does not take the sequence back to its beginning.
                nondeterministic=True,
            )


def named_sequences() -> dict[str, str]:
    """
    List what is registered.

    :return: one line of description for each environment id
    """
    return {f"sb3_nbsp/{name}": description for name, (_, description, _) in _SEQUENCES.items()}


def family_of_id(env_id: str) -> str | None:
    """
    :param env_id: e.g. ``sb3_nbsp/PongBreakout-v0``
    :return: the family of its tasks, e.g. ``atari``, ``None`` for an id that is not ours
    """
    name = env_id.partition("sb3_nbsp/")[2]
    return _SEQUENCES[name][0] if name in _SEQUENCES else None


def sequence_of_id(env_id: str, **kwargs: Any) -> TaskSequence | None:
    """
    The tasks of a registered sequence, without making their environments, which takes seconds with a simulator.

    :param env_id: e.g. ``sb3_nbsp/PointGoal-v0``
    :param kwargs: arguments of the environment
    :return: the sequence, ``None`` for an id that is not ours
    """
    family = family_of_id(env_id)
    if family is None:
        return None
    own = _SEQUENCES[env_id.partition("sb3_nbsp/")[2]][2]
    return FAMILIES[family].sequence(**{**own, **kwargs})


def make_env(
    family: str, n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point of ``gymnasium.make``: a sequence of one family's tasks.

    :param family: key of ``FAMILIES``
    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: Gymnasium's render mode; ``"human"`` needs pygame where tasks draw pictures only
    :param sequence_kwargs: arguments of the family's sequence
    :return: the environment
    :raises TypeError: if an argument is unknown or missing
    """
    sequence = _sequence(family, sequence_kwargs, ("n_envs", "switch_on", "render_mode"))
    if render_mode == "human" and FAMILIES[family].is_drawn:
        return gym.wrappers.HumanRendering(TaskSequenceEnv(sequence, n_envs, switch_on, "rgb_array"))
    return TaskSequenceEnv(sequence, n_envs, switch_on, render_mode)


def make_vector_env(
    family: str, num_envs: int = 1, render_mode: str | None = None, **sequence_kwargs: Any
) -> TaskSequenceVectorEnv:
    """
    Entry point of ``gymnasium.make_vec``: the same with many sub-environments in one.

    :param family: key of ``FAMILIES``
    :param num_envs: sub-environments
    :param render_mode: ``None``: it draws nothing
    :param sequence_kwargs: arguments of the family's sequence
    :return: the vector environment
    :raises TypeError: if an argument is unknown or missing
    :raises ValueError: if it is to draw, or a task can only be made one by one
    """
    if render_mode is not None:
        raise ValueError(
            f"A vector env of a task sequence draws nothing, got render_mode={render_mode!r}. Use gymnasium.make()."
        )
    return TaskSequenceVectorEnv(_sequence(family, sequence_kwargs, ("num_envs",)), num_envs)


def _sequence(family: str, kwargs: dict[str, Any], of_env: tuple[str, ...]) -> TaskSequence:
    """The sequence; where an argument is unknown or missing, say which there are."""
    sequence = FAMILIES[family].sequence
    known = inspect.signature(sequence).parameters
    for name in kwargs:
        if name not in known:
            raise TypeError(unknown_name_message("argument", name, [*known, *of_env]))
    missing = [name for name, parameter in known.items() if parameter.default is parameter.empty and name not in kwargs]
    if missing:
        raise TypeError(f"Missing argument {', '.join(missing)}. Arguments: {', '.join(known)}; e.g. tasks=[name, name].")
    return sequence(**kwargs)
