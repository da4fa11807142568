"""One Atari game, as agents are trained and judged on it."""

from typing import Any, Literal

import gymnasium as gym
from stable_baselines3.common.atari_wrappers import (
    ClipRewardEnv,
    EpisodicLifeEnv,
    FireResetEnv,
    MaxAndSkipEnv,
    NoopResetEnv,
    StickyActionEnv,
    WarpFrame,
)

from sb3_nbsp.tasks.atari_emulator import EPISODE_FRAMES, FRAME_SKIP, ID, NOOP_FRAMES, import_emulator
from sb3_nbsp.tasks.atari_wrappers import FireAfterLifeLoss, LastFrames, NewGameOnDemand, ScaledRam

ObsType = Literal["grayscale", "ram"]


def make_atari_game(
    game: str,
    render_mode: str | None = None,
    evaluation: bool = False,
    frame_stack: int = 4,
    repeat_action_probability: float = 0.0,
    max_frames: int = EPISODE_FRAMES,
    obs_type: ObsType = "grayscale",
    episodic_life: bool = True,
    fire_reset: bool = True,
    clip_rewards: bool = True,
) -> gym.Env:
    """
    One game as SB3's ``AtariWrapper`` has it: each step is 4 frames, and a game begins with up to 30 no-ops, FIRE and UP.

    In training the loss of a life ends the episode, and rewards are clipped to their sign. In evaluation an episode is a
    whole game, and rewards are the game's own; after a lost life NOOP, FIRE and UP are pressed for the agent, as
    training's reset does: there it never meets a game that waits for FIRE, so it cannot learn to press it.

    :param game: as in Gymnasium's ids, e.g. ``"SpaceInvaders"``
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``None``
    :param evaluation: whether agents are judged on it rather than trained
    :param frame_stack: newest pictures in an observation
    :param repeat_action_probability: chance that a frame repeats the previous action
    :param max_frames: a longer game is truncated
    :param obs_type: ``"grayscale"``: the last pictures, (84, 84, frame_stack) of uint8, oldest first; ``"ram"``: the console's
        memory, 128 numbers from 0 to 1 (float32), for a network without convolutions
    :param episodic_life: in training the loss of a life ends the episode
    :param fire_reset: FIRE and UP are pressed where an episode begins; without it the agent must serve by itself
    :param clip_rewards: in training rewards are clipped to -1, 0 and 1
    :return: the environment, ``Discrete(18)``
    :raises ImportError: if ale-py or OpenCV is not installed
    """
    env = _begun_with_noops(game, render_mode, obs_type, repeat_action_probability, max_frames)
    if episodic_life and not evaluation:
        env = EpisodicLifeEnv(env)
    if fire_reset:
        env = FireResetEnv(env)
    if clip_rewards and not evaluation:
        env = ClipRewardEnv(env)
    if episodic_life and not evaluation:
        env = NewGameOnDemand(env)
    if episodic_life and evaluation and fire_reset:
        env = FireAfterLifeLoss(env)
    return env if obs_type == "ram" else LastFrames(WarpFrame(env), frame_stack)


def _begun_with_noops(game: str, render_mode: str | None, obs_type: ObsType, sticky: float, max_frames: int) -> gym.Env:
    """The game in steps of four frames."""
    import_emulator()
    kwargs: dict[str, Any] = {
        "render_mode": render_mode,
        "full_action_space": True,
        "max_num_frames_per_episode": max_frames,
        "disable_env_checker": True,
    }
    if obs_type == "ram":
        ram: dict[str, Any] = {"obs_type": "ram", "frameskip": FRAME_SKIP, "repeat_action_probability": sticky}
        return ScaledRam(gym.make(ID.format(game), **ram, **kwargs))
    env: gym.Env = gym.make(ID.format(game), **kwargs)
    if sticky > 0:
        env = StickyActionEnv(env, sticky)
    return MaxAndSkipEnv(NoopResetEnv(env, NOOP_FRAMES), FRAME_SKIP)
