"""
The sequences that ``gymnasium.make`` knows, under the namespace ``sb3_nbsp/``.

Where the package may not have been imported, as in the workers of a ``SubprocVecEnv`` started from a notebook, put the
module before the id: ``gymnasium.make("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0")`` imports it first.
"""

import inspect
from collections.abc import Callable
from typing import Any

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


def _paper_pair(first: str, second: str) -> tuple[str, str, dict[str, Any]]:
    kwargs = {"tasks": (first, second), "steps_per_task": 500_000, "cycles": 2}
    return "make_metaworld_env", f"Meta-World {first}, {second}, twice; 500,000 steps each time", kwargs


def _quick_pair(first: str, second: str, steps: tuple[int, int]) -> tuple[str, str, dict[str, Any]]:
    kwargs = {"tasks": (first, second), "steps_per_task": steps, "action_repeat": 4, "horizon": 50}
    text = f"Meta-World {first} ({steps[0]:,} steps), then {second} ({steps[1]:,}); action repeat 4, minutes on a CPU"
    return "make_metaworld_env", text, kwargs


def _atari(*games: str, relation: str, cycles: int = 2) -> tuple[str, str, dict[str, Any]]:
    # The paper's budgets could not be had: a million steps is what CompoNet and its successors give a task.
    text = f"Atari {', '.join(games)}{', twice' if cycles == 2 else ''}: {relation}; 1,000,000 steps each time"
    return "make_atari_env", text, {"tasks": games, "steps_per_task": 1_000_000, "cycles": cycles}


def _atari_ram(first: str, second: str) -> tuple[str, str, dict[str, Any]]:
    text = f"Atari {first}, then {second}, as 128 bytes; 300,000 steps each, some ten minutes on a CPU"
    return "make_atari_env", text, {"obs_type": "ram", "tasks": (first, second), "steps_per_task": 300_000}


# id without namespace -> entry point in this module, description, keyword arguments
_SEQUENCES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PointGoal-v0": ("make_point_goal_env", "A point learns to go east, then west, twice; about a minute on a CPU", {}),
    "PointGoalDiscrete-v0": ("make_point_goal_env", "The same with five discrete actions", {"discrete": True}),
    "PointGoalImage-v0": ("make_point_image_env", "The same in pictures of 36x36 pixels, two minutes on a CPU", {}),
    "PointGoal4-v0": (
        "make_point_goal_env",
        "A point learns to go east, west, north, south, once",
        {"tasks": ("east", "west", "north", "south"), "cycles": 1},
    ),
    "MetaWorld-v0": ("make_metaworld_env", "Any Meta-World v3 tasks: tasks=[...], steps_per_task=...", {}),
    "WindowOpenClose-v0": _paper_pair("window-open", "window-close"),
    "WindowCloseOpen-v0": _paper_pair("window-close", "window-open"),
    "DrawerOpenClose-v0": _paper_pair("drawer-open", "drawer-close"),
    "DrawerCloseOpen-v0": _paper_pair("drawer-close", "drawer-open"),
    "CoffeeButtonDrawerClose-v0": _quick_pair("coffee-button", "drawer-close", (10_000, 5_000)),
    "CoffeeButtonWindowClose-v0": _quick_pair("coffee-button", "window-close", (12_000, 12_000)),
    "Atari-v0": ("make_atari_env", "Any Atari games: tasks=[...], steps_per_task=...", {}),
    # The paper has two related and two unrelated pairs, names unknown. Here each game stands in one of each.
    "PongBreakout-v0": _atari("Pong", "Breakout", relation="related, a ball and a paddle"),
    "SpaceInvadersDemonAttack-v0": _atari("SpaceInvaders", "DemonAttack", relation="related, a gun below, targets above"),
    "PongSpaceInvaders-v0": _atari("Pong", "SpaceInvaders", relation="unrelated"),
    "BreakoutDemonAttack-v0": _atari("Breakout", "DemonAttack", relation="unrelated"),
    "Atari4-v0": _atari("Pong", "Breakout", "SpaceInvaders", "DemonAttack", relation="two related pairs", cycles=1),
    "AtariRam-v0": ("make_atari_env", "Any Atari games as 128 bytes: tasks=[...], steps_per_task=...", {"obs_type": "ram"}),
    "BoxingKungFuMasterRam-v0": _atari_ram("Boxing", "KungFuMaster"),
    "DMC-v0": ("make_dmc_env", "Any DeepMind Control tasks of one body: tasks=[...], steps_per_task=...", {}),
    # In this order, as whoever swings up balances as well: there the first task is not lost.
    "CartpoleSwingupBalance-v0": (
        "make_dmc_env",
        "DeepMind Control cartpole-swingup (10,000 steps), then cartpole-balance (20,000); three minutes on a CPU",
        {"tasks": ("cartpole-swingup", "cartpole-balance"), "steps_per_task": (10_000, 20_000), "action_repeat": 8},
    ),
    "Gymnasium-v0": ("make_gymnasium_env", "Any Gymnasium environments with equal spaces: tasks=[id, id]", {}),
}
# The same for many sub-environments in one, as gymnasium.make_vec makes them
VECTOR_ENTRY_POINTS = {"make_atari_env": "make_atari_vector_env"}


def register_envs() -> None:
    """Register all sequences with Gymnasium. Calling it again changes nothing."""
    for name, (entry_point, _, kwargs) in _SEQUENCES.items():
        if f"sb3_nbsp/{name}" not in gym.registry:
            gym.register(
                f"sb3_nbsp/{name}",
                entry_point=f"{__name__}:{entry_point}",
                vector_entry_point=f"{__name__}:{VECTOR_ENTRY_POINTS[entry_point]}"
                if entry_point in VECTOR_ENTRY_POINTS
                else None,
                kwargs=kwargs,
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


def sequence_of_id(env_id: str, **kwargs: Any) -> TaskSequence | None:
    """
    The tasks of a registered sequence, without making their environments, which takes seconds with a simulator.

    :param env_id: e.g. ``sb3_nbsp/PointGoal-v0``
    :param kwargs: arguments of the environment
    :return: the sequence, ``None`` for an id that is not ours
    """
    name = env_id.partition("sb3_nbsp/")[2]
    if name not in _SEQUENCES:
        return None
    entry_point, _, own = _SEQUENCES[name]
    makers: dict[str, Callable[..., TaskSequence]] = {
        "make_point_goal_env": point_goal_sequence,
        "make_point_image_env": point_image_sequence,
        "make_metaworld_env": metaworld_sequence,
        "make_atari_env": atari_sequence,
        "make_dmc_env": dmc_sequence,
        "make_gymnasium_env": gymnasium_sequence,
    }
    return makers[entry_point](**{**own, **kwargs})


def make_point_goal_env(
    n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point: a sequence of goals for a point mass.

    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: ``"rgb_array"``, or ``"human"`` for a window (needs pygame)
    :param sequence_kwargs: arguments of :func:`point_goal_sequence`
    :return: the environment
    """
    return _make_drawn(point_goal_sequence, n_envs, switch_on, render_mode, sequence_kwargs)


def make_point_image_env(
    n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point: a sequence of goals for a point mass that is seen in pictures.

    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: ``"rgb_array"``, or ``"human"`` for a window (needs pygame)
    :param sequence_kwargs: arguments of :func:`point_image_sequence`
    :return: the environment
    """
    return _make_drawn(point_image_sequence, n_envs, switch_on, render_mode, sequence_kwargs)


def make_metaworld_env(
    n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point: a sequence of Meta-World tasks.

    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: Gymnasium's render mode
    :param sequence_kwargs: arguments of :func:`metaworld_sequence`
    :return: the environment
    """
    return _make(metaworld_sequence, n_envs, switch_on, render_mode, sequence_kwargs)


def make_atari_env(
    n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point: a sequence of Atari games.

    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: Gymnasium's render mode
    :param sequence_kwargs: arguments of :func:`atari_sequence`
    :return: the environment
    """
    return _make(atari_sequence, n_envs, switch_on, render_mode, sequence_kwargs)


def make_atari_vector_env(num_envs: int = 1, render_mode: None = None, **sequence_kwargs: Any) -> TaskSequenceVectorEnv:
    """
    Entry point of ``gymnasium.make_vec``: a sequence of Atari games on ale-py's vector emulator.

    :param num_envs: sub-environments
    :param render_mode: it draws nothing
    :param sequence_kwargs: arguments of :func:`atari_sequence`
    :return: the vector environment
    """
    return TaskSequenceVectorEnv(_checked(atari_sequence, sequence_kwargs), num_envs)


def make_dmc_env(
    n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point: a sequence of DeepMind Control tasks.

    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: Gymnasium's render mode
    :param sequence_kwargs: arguments of :func:`dmc_sequence`
    :return: the environment
    """
    return _make(dmc_sequence, n_envs, switch_on, render_mode, sequence_kwargs)


def make_gymnasium_env(
    n_envs: int = 1, switch_on: SwitchOn = "steps", render_mode: str | None = None, **sequence_kwargs: Any
) -> gym.Env:
    """
    Entry point: a sequence of registered Gymnasium environments.

    :param n_envs: sub-environments that step together
    :param switch_on: see :class:`TaskSequenceEnv`
    :param render_mode: Gymnasium's render mode
    :param sequence_kwargs: arguments of :func:`gymnasium_sequence`
    :return: the environment
    """
    return _make(gymnasium_sequence, n_envs, switch_on, render_mode, sequence_kwargs)


def _make(
    sequence: Callable[..., TaskSequence], n_envs: int, switch_on: SwitchOn, render_mode: str | None, kwargs: dict[str, Any]
) -> TaskSequenceEnv:
    return TaskSequenceEnv(_checked(sequence, kwargs), n_envs, switch_on, render_mode)


def _checked(sequence: Callable[..., TaskSequence], kwargs: dict[str, Any]) -> TaskSequence:
    """The sequence; where an argument is unknown or missing, say which there are."""
    known = inspect.signature(sequence).parameters
    for name in kwargs:
        if name not in known:
            raise TypeError(unknown_name_message("argument", name, [*known, "n_envs", "switch_on", "render_mode"]))
    missing = [name for name, parameter in known.items() if parameter.default is parameter.empty and name not in kwargs]
    if missing:
        raise TypeError(f"Missing argument {', '.join(missing)}. Arguments: {', '.join(known)}; e.g. tasks=[name, name].")
    return sequence(**kwargs)


def _make_drawn(
    sequence: Callable[..., TaskSequence], n_envs: int, switch_on: SwitchOn, render_mode: str | None, kwargs: dict[str, Any]
) -> gym.Env:
    """The same for tasks that only draw arrays: Gymnasium's window shows them."""
    if render_mode == "human":
        return gym.wrappers.HumanRendering(_make(sequence, n_envs, switch_on, "rgb_array", kwargs))
    return _make(sequence, n_envs, switch_on, render_mode, kwargs)
