"""What a film is made of, and envs that cannot be drawn. The command itself: test_zoo.py."""

import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("rl_zoo3")


class Drawn(gym.Env):
    """Shows a grey that is brighter at every step, in pictures of odd height; draws in the way that is asked for."""

    metadata = {"render_modes": ["ansi"], "render_fps": 10}  # noqa: RUF012
    observation_space = spaces.Box(-1.0, 1.0, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))
    render_mode = "rgb_array"

    def __init__(self, draw):
        self.draw = draw

    def reset(self, *, seed=None, options=None):
        self.n = 0
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action):
        self.n += 1
        return np.zeros(2, dtype=np.float32), 0.0, False, self.n == 9, {}

    def render(self):
        return self.draw(self.n)


def grey(n):
    return np.full((33, 40, 3), 20 * n, dtype=np.uint8)


def no_device(n):
    raise RuntimeError("gladLoadGL error")


def filmed(draw, path, n_steps=None):
    from sb3_nbsp.zoo import video

    env = DummyVecEnv([lambda: Drawn(draw)])
    return video.film(PPO("MlpPolicy", env, n_steps=8, batch_size=8), env, path, n_steps, deterministic=True)


def test_an_episode_from_its_first_state(tmp_path):
    assert filmed(grey, tmp_path / "new" / "film.mp4") == 9
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "new" / "film.mp4"))
    meta, frames = next(reader), list(reader)
    width, height = meta["size"]
    assert meta["fps"] == 10 and width == 40 and height in (32, 34)
    assert [round(np.frombuffer(frame, np.uint8).mean() / 20) for frame in frames] == list(range(9))


def test_as_many_steps_as_are_asked_for_over_several_episodes(tmp_path):
    assert filmed(grey, tmp_path / "film.mp4", 14) == 14
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "film.mp4")[0] == 14


@pytest.mark.parametrize(
    "draw, said",
    [(no_device, r"RuntimeError: gladLoadGL error.*MUJOCO_GL=egl"), (lambda n: None, r"Expected .*'rgb_array'.*ansi")],
)
def test_what_cannot_be_drawn_is_said_in_words(draw, said, tmp_path, monkeypatch):
    from sb3_nbsp.zoo.video import NoPictures

    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(NoPictures, match=said):
        filmed(draw, tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def test_mujoco_is_spoken_of_where_it_draws(tmp_path, monkeypatch):
    from sb3_nbsp.zoo.video import NoPictures

    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    with pytest.raises(NoPictures, match=r"gladLoadGL error\.$"):
        filmed(no_device, tmp_path / "film.mp4")
