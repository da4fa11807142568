"""
Atari games, one after another, in one action space and one observation space.

An agent trains as SB3's Atari agents do: rewards are clipped to -1, 0 and 1, and the loss of a life ends an episode. So
``rollout/ep_rew_mean`` during training tells clipped rewards *per life*. It is judged on whole games and raw scores.
"""

import re
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import gymnasium as gym

from sb3_nbsp.base.arguments import Interval, Is, Whole, check_values
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.tasks.atari_emulator import EPISODE_FRAMES, ID, import_emulator
from sb3_nbsp.tasks.atari_game import ObsType, make_atari_game
from sb3_nbsp.tasks.atari_scores import SCORES
from sb3_nbsp.tasks.atari_vector import make_atari_vector
from sb3_nbsp.tasks.sequence import TaskSequence, sequence_of_names
from sb3_nbsp.tasks.task import Task


def _is_chance(value: Any) -> bool:
    return Interval(0, 1).allows(value) and value < 1


ARGUMENTS = {
    "frame_stack": Annotated[int, Whole(1, "pictures")],
    "repeat_action_probability": Annotated[float, Is("a chance, 0 or more and below 1", _is_chance)],
    "max_evaluation_frames": Annotated[int, Whole(1, "frames")],
    "obs_type": ObsType,
    "episodic_life": bool,
    "fire_reset": bool,
    "clip_rewards": bool,
}


def atari_sequence(
    tasks: str | Iterable[str] = ("Pong", "Breakout"),
    steps_per_task: int | tuple[int, ...] = 1_000_000,
    cycles: int = 1,
    frame_stack: int = 4,
    repeat_action_probability: float = 0.0,
    max_evaluation_frames: int = EPISODE_FRAMES,
    order: Iterable[str] | None = None,
    obs_type: ObsType = "grayscale",
    task_id: bool | int = False,
    episodic_life: bool = True,
    fire_reset: bool = True,
    clip_rewards: bool = True,
) -> TaskSequence:
    """
    Atari games, one after another, each with all 18 actions. See :func:`make_atari_game` for what an episode is.

    A game's reference scores are those of :mod:`sb3_nbsp.tasks.atari_scores`, where it has any.

    :param tasks: games, ``"Pong"``, ``"SpaceInvaders"``, ``"space_invaders"``, or their ids, ``"ALE/Pong-v5"``
    :param steps_per_task: environment steps (of 4 frames each) for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param frame_stack: newest pictures in an observation; of no meaning for ``obs_type="ram"``
    :param repeat_action_probability: chance that a frame repeats the previous action ("sticky actions"; 0.25 is usual)
    :param max_evaluation_frames: longest game in evaluation; with fewer than the default, scores do not compare with published
        ones. Some games wait for the player: an agent that never serves in Tennis takes them all, half a minute of computing
    :param order: names of the tasks in the order in which they are visited in a cycle; default: each once
    :param obs_type: ``"grayscale"``: the last pictures, (84, 84, frame_stack) of uint8; ``"ram"``: the 128 bytes of the
        console's memory, as numbers from 0 to 1: a small network without convolutions learns some games in minutes on a CPU
    :param task_id: append the task's one-hot id to the observation (``obs_type="ram"`` only), see :class:`TaskSequence`
    :param episodic_life: in training the loss of a life ends the episode
    :param fire_reset: FIRE and UP are pressed where an episode begins; without it the agent must serve by itself
    :param clip_rewards: in training rewards are clipped to -1, 0 and 1. Evaluation has raw scores and whole games always
    :return: the sequence
    :raises ImportError: if ale-py or OpenCV is not installed
    :raises ValueError: if a game is unknown, a number out of range, or pictures are to have a task's id
    """
    shared: dict[str, Any] = {
        "frame_stack": frame_stack,
        "repeat_action_probability": repeat_action_probability,
        "episodic_life": episodic_life,
        "fire_reset": fire_reset,
        "clip_rewards": clip_rewards,
    }
    check_values(ARGUMENTS, {**shared, "obs_type": obs_type, "max_evaluation_frames": max_evaluation_frames})
    if obs_type != "ram" and task_id is not False:
        raise ValueError("Pictures have no place for a task's id: use task_id=False, or obs_type='ram'.")
    task_of = partial(_task, obs_type=obs_type, max_evaluation_frames=max_evaluation_frames, shared=shared)
    name_of = partial(_game_of, known=_known_games())
    return sequence_of_names(task_of, tasks, steps_per_task, cycles, task_id, order, name_of)


def _task(game: str, obs_type: ObsType, max_evaluation_frames: int, shared: dict[str, Any]) -> Task:
    make = partial(make_atari_game, game, obs_type=obs_type, **shared)
    judge = partial(make, evaluation=True, max_frames=max_evaluation_frames)
    # ale-py's vector emulator shows no memory.
    many = partial(make_atari_vector, game, **shared) if obs_type == "grayscale" else None
    return Task(game, make, judge, SCORES.get(game), many)


def _known_games() -> list[str]:
    import_emulator()
    suffix = ID.format("")
    return [env_id.removesuffix(suffix) for env_id in gym.registry if env_id.endswith(suffix)]


def _game_of(name: str, known: list[str]) -> str:
    """A game's name out of whatever it is called: "Pong", "space_invaders", "ALE/Pong-v5", "PongNoFrameskip-v4"."""
    short = re.sub(r"(NoFrameskip|Deterministic)?(-v\d+)?$", "", name.removeprefix("ALE/"))
    by_letters = {game.lower(): game for game in known}
    if (letters := re.sub(r"[\W_]", "", short).lower()) not in by_letters:
        raise ValueError(unknown_name_message("Atari game", short, known))
    return by_letters[letters]
