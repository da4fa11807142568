"""Many copies of an Atari game, stepped by ale-py's threads in one call."""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sb3_nbsp.tasks.atari_emulator import EPISODE_FRAMES, FIRE, FRAME_SKIP, ID, import_emulator


def make_atari_vector(
    game: str,
    num_envs: int,
    frame_stack: int = 4,
    repeat_action_probability: float = 0.0,
    max_frames: int = EPISODE_FRAMES,
    num_threads: int = 0,
    episodic_life: bool = True,
    fire_reset: bool = True,
    clip_rewards: bool = True,
) -> VectorEnv:
    """
    A game for training, as :func:`make_atari_game` makes it one by one, but for three things of ale-py's own: a frame is the
    brighter of two *grey* pictures rather than the grey of the brighter colours (in Pong up to 16 of 255 apart, in most
    games equal); a reset presses FIRE for one frame and no UP; and after a lost life the stack of frames goes on, and the
    next action is FIRE whatever the agent chose (there SB3's wrapper presses FIRE and UP between two steps).

    :param game: as in Gymnasium's ids, e.g. ``"SpaceInvaders"``
    :param num_envs: number of copies
    :param frame_stack: newest frames in an observation
    :param repeat_action_probability: chance that a frame repeats the previous action ("sticky actions")
    :param max_frames: a longer game is truncated
    :param num_threads: threads of the emulator; 0: as many as ale-py chooses
    :param episodic_life: a lost life ends an episode, not the game
    :param fire_reset: FIRE is pressed where an episode begins
    :param clip_rewards: rewards are clipped to their sign
    :return: the vector env, with ``SAME_STEP``: ``Discrete(18)``, observations (num_envs, 84, 84, frame_stack) of uint8
    :raises ImportError: if ale-py or OpenCV is not installed
    """
    import_emulator()
    from ale_py.vector_env import AtariVectorEnv

    games = AtariVectorEnv(
        gym.spec(ID.format(game)).kwargs["game"],
        num_envs,
        num_threads=num_threads,
        max_num_frames_per_episode=max_frames,
        repeat_action_probability=repeat_action_probability,
        full_action_space=True,
        autoreset_mode=AutoresetMode.SAME_STEP,
        stack_num=frame_stack,
        frameskip=FRAME_SKIP,
        life_loss_info=episodic_life,  # its own episodic_life=True would begin a new game at each lost life
        reward_clipping=clip_rewards,
        use_fire_reset=fire_reset,
    )
    return AtariLives(games, fire_reset)


class AtariLives(VectorEnv):
    """
    ale-py's vector env with the channels last, and with all that SAME_STEP tells where a life was lost but not the game:
    ale-py ends the episode there and gives no ``final_obs``.

    :param games: made with ``life_loss_info=True`` if lost lives end episodes
    :param fire: whether FIRE is pressed after a lost life that ended an episode
    """

    def __init__(self, games: VectorEnv, fire: bool = True) -> None:
        self._games = games
        self._fire = fire
        self.num_envs = games.num_envs
        self.metadata = games.metadata
        assert games.single_observation_space.shape is not None
        frames, height, width = games.single_observation_space.shape
        self.single_observation_space = spaces.Box(0, 255, (height, width, frames), np.uint8)
        self.single_action_space = games.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = games.action_space
        self._waits_for_fire = np.zeros(self.num_envs, dtype=np.bool_)
        self._frames = np.zeros(self.num_envs, dtype=np.int32)  # of the running games

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium."""
        obs, info = self._games.reset(seed=seed, options=options)
        self._waits_for_fire[:] = False
        self._frames = info["episode_frame_number"]
        return _channels_last(obs), info

    def step(self, actions: npt.NDArray[np.int64]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See Gymnasium."""
        obs, rewards, terminated, truncated, info = self._games.step(np.where(self._waits_for_fire, FIRE, actions))
        obs = _channels_last(obs)
        ended = np.logical_or(terminated, truncated)
        # The frame counter begins anew with a game, not with a life.
        new_game = ended & (info["episode_frame_number"] < self._frames)
        self._frames = info["episode_frame_number"]
        self._waits_for_fire = ended & ~new_game & self._fire
        if ended.any():
            final = _channels_last(info["final_obs"]) if "final_obs" in info else obs
            info["final_obs"] = np.where(new_game[:, None, None, None], final, obs)
            info["_final_obs"] = ended
        return obs, rewards, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Close the emulators."""
        self._games.close()


def _channels_last(obs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A view: SB3 turns it back."""
    return np.moveaxis(obs, 1, -1)
