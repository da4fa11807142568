"""
Atari games, one after another, in one action space and one observation space.

An agent trains as SB3's Atari agents do: rewards are clipped to -1, 0 and 1, and the loss of a life ends an episode. So
``rollout/ep_rew_mean`` during training tells clipped rewards *per life*. It is judged on whole games and raw scores.
"""

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import AtariWrapper, EpisodicLifeEnv

from sb3_nbsp.tasks.atari_emulator import EPISODE_FRAMES, FIRE, FRAME_SKIP, FRAMES_PER_SECOND, ID, NOOP, UP, import_emulator
from sb3_nbsp.tasks.atari_scores import SCORES
from sb3_nbsp.tasks.atari_vector import make_atari_vector
from sb3_nbsp.tasks.sequence import TaskSequence, check_positive_int, names_of, ordered, unknown_name_message
from sb3_nbsp.tasks.task import Task


def atari_sequence(
    tasks: str | Iterable[str] = ("Pong", "Breakout"),
    steps_per_task: int | tuple[int, ...] = 1_000_000,
    cycles: int = 1,
    frame_stack: int = 4,
    repeat_action_probability: float = 0.0,
    max_evaluation_frames: int = EPISODE_FRAMES,
    order: Iterable[str] | None = None,
) -> TaskSequence:
    """
    Atari games, one after another, each with all 18 actions. See :func:`make_atari_game` for what an episode is.

    A game's reference scores are those of :mod:`sb3_nbsp.tasks.atari_scores`, where it has any.

    :param tasks: games, ``"Pong"``, ``"SpaceInvaders"``, ``"space_invaders"``, or their ids, ``"ALE/Pong-v5"``
    :param steps_per_task: environment steps (of 4 frames each) for one visit, over all sub-environments
    :param cycles: how often the list is gone through
    :param frame_stack: newest frames in an observation
    :param repeat_action_probability: chance that a frame repeats the previous action ("sticky actions"; 0.25 is usual)
    :param max_evaluation_frames: longest game in evaluation; with fewer than the default, scores do not compare with published
        ones. Some games wait for the player: an agent that never serves in Tennis takes them all, half a minute of computing
    :param order: names of the tasks in the order in which they are visited in a cycle; default: each once
    :return: the sequence
    :raises ImportError: if ale-py or OpenCV is not installed
    :raises ValueError: if a game is unknown or a number out of range
    """
    known = _known_games()
    names = [_game_of(name, known) for name in names_of(tasks)]
    check_positive_int(frame_stack, "frame_stack")
    check_positive_int(max_evaluation_frames, "max_evaluation_frames")
    if not 0 <= repeat_action_probability < 1:
        raise ValueError(f"repeat_action_probability must be at least 0 and below 1, got {repeat_action_probability}.")
    make = partial(make_atari_game, frame_stack=frame_stack, repeat_action_probability=repeat_action_probability)
    judge = partial(make, evaluation=True, max_frames=max_evaluation_frames)
    many = partial(make_atari_vector, frame_stack=frame_stack, repeat_action_probability=repeat_action_probability)
    made = (Task(name, partial(make, name), partial(judge, name), SCORES.get(name), partial(many, name)) for name in names)
    return TaskSequence(tuple(made), steps_per_task, cycles, order=ordered(order))


def make_atari_game(
    game: str,
    render_mode: str | None = None,
    evaluation: bool = False,
    frame_stack: int = 4,
    repeat_action_probability: float = 0.0,
    max_frames: int = EPISODE_FRAMES,
) -> gym.Env:
    """
    One game through SB3's ``AtariWrapper``: each step is 4 frames, and a game begins with up to 30 no-ops, FIRE and UP.

    In training the loss of a life ends the episode, and rewards are clipped to their sign. In evaluation an episode is a
    whole game, and rewards are the game's own; after a lost life NOOP, FIRE and UP are pressed for the agent, as
    training's reset does: there it never meets a game that waits for FIRE, so it cannot learn to press it.

    :param game: as in Gymnasium's ids, e.g. ``"SpaceInvaders"``
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``None``
    :param evaluation: whether agents are judged on it rather than trained
    :param frame_stack: newest frames in an observation
    :param repeat_action_probability: chance that a frame repeats the previous action
    :param max_frames: a longer game is truncated
    :return: the environment: ``Discrete(18)``, observations (84, 84, frame_stack) of uint8, oldest frame first
    :raises ImportError: if ale-py or OpenCV is not installed
    """
    import_emulator()
    env: gym.Env = gym.make(
        ID.format(game),
        render_mode=render_mode,
        full_action_space=True,
        max_num_frames_per_episode=max_frames,
        disable_env_checker=True,
    )
    env = AtariWrapper(
        env,
        frame_skip=FRAME_SKIP,
        terminal_on_life_loss=not evaluation,
        clip_reward=not evaluation,
        action_repeat_probability=repeat_action_probability,
    )
    env = FireAfterLifeLoss(env) if evaluation else NewGameOnDemand(env)
    return LastFrames(env, frame_stack)


class LastFrames(gym.Wrapper):
    """
    Show the last frames instead of one, the newest last; black ones before an episode's first, as ``VecFrameStack`` has it.

    :param env: observations (height, width, 1) of uint8
    :param n_frames: number of frames
    """

    def __init__(self, env: gym.Env, n_frames: int) -> None:
        super().__init__(env)
        assert env.observation_space.shape is not None
        height, width, _ = env.observation_space.shape
        self.observation_space = spaces.Box(0, 255, (height, width, n_frames), np.uint8)
        self.metadata = {**env.metadata, "render_fps": FRAMES_PER_SECOND // FRAME_SKIP}
        self._frames = np.zeros(self.observation_space.shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium."""
        frame, info = self.env.reset(seed=seed, options=options)
        self._frames = np.zeros_like(self._frames)
        return self._append(frame), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See Gymnasium."""
        frame, reward, terminated, truncated, info = self.env.step(action)
        return self._append(frame), reward, terminated, truncated, info

    def _append(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        # A new array every time: buffers keep what they were handed.
        self._frames = np.concatenate([self._frames[..., 1:], frame], axis=-1)
        return self._frames


class NewGameOnDemand(gym.Wrapper):
    """
    Begin a new game where an episode is broken off or a seed is given. SB3's ``EpisodicLifeEnv`` by itself would go on with
    the running game: after a task switch with the one left visits ago, and without regard to the seed.

    :param env: wrapped in an ``EpisodicLifeEnv``
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        inner = env
        while not isinstance(inner, EpisodicLifeEnv):
            assert isinstance(inner, gym.Wrapper)
            inner = inner.env
        self._lives = inner
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium."""
        if self._running or seed is not None:
            self._lives.was_real_done = True
        self._running = True
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See Gymnasium."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._running = not (terminated or truncated)
        return obs, reward, terminated, truncated, info


class FireAfterLifeLoss(gym.Wrapper):
    """
    Press NOOP, FIRE and UP after each lost life, within the step that lost it.

    :param env: a game whose actions 0, 1 and 2 are these
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._lives = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium."""
        result = self.env.reset(seed=seed, options=options)
        self._lives = self._lives_left()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See Gymnasium. What is scored while the buttons are pressed counts too."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        before, self._lives = self._lives, self._lives_left()
        if 0 < self._lives < before:
            for button in (NOOP, FIRE, UP):
                if terminated or truncated:
                    break
                obs, more, terminated, truncated, info = self.env.step(button)
                reward = float(reward) + float(more)
        return obs, reward, terminated, truncated, info

    def _lives_left(self) -> int:
        return int(self.unwrapped.ale.lives())  # type: ignore[attr-defined]


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
