"""What is put around an Atari game beside SB3's own wrappers: what an agent sees, and where a game begins."""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv

from sb3_nbsp.tasks.atari_emulator import FIRE, FRAME_SKIP, FRAMES_PER_SECOND, NOOP, NOOP_FRAMES, UP


class ScaledRam(gym.ObservationWrapper):
    """
    Show the 128 bytes of the console's memory as numbers from 0 to 1. As ``AtariWrapper`` has it, a game begins after 1 to 30
    single frames in which nothing is pressed; frames are skipped by the emulator itself, which is faster.

    :param env: made with ``obs_type="ram"`` and ``frameskip=4``
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0.0, 1.0, env.observation_space.shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium."""
        _, info = self.env.reset(seed=seed, options=options)
        ale = self.unwrapped.ale  # type: ignore[attr-defined]
        buttons = ale.getLegalActionSet()
        for _ in range(self.np_random.integers(1, NOOP_FRAMES + 1)):
            ale.act(buttons[NOOP])
        return self.observation(ale.getRAM()), info

    def observation(self, observation: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """
        :param observation: bytes
        :return: the same from 0 to 1
        """
        return observation.astype(np.float32) / np.float32(255)


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
