"""The point seen in pictures: what they show and hide, and that convolutional policies learn from them."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecTransposeImage

from sb3_nbsp import NBSPDQN
from sb3_nbsp.tasks import PointGoalEnv, PointGoalImageEnv, point_image_sequence
from sb3_nbsp.tasks.point_goal import ARENA, GOALS
from sb3_nbsp.tasks.point_goal_image import ARENA_SIDE, BEFORE, CUE, N_CUES, NOW, SIDE

EAST, WEST, NORTH, SOUTH = 1, 2, 3, 4  # moves
ENV_ID = "sb3_nbsp/PointGoalImage-v0"


def position_in(channel: np.ndarray) -> np.ndarray:
    """Where a blob is, in the arena's units: its centre of mass."""
    weights = channel.astype(float) / channel.sum(dtype=float)
    column, row = (weights.sum(axis=0) @ np.arange(SIDE), weights.sum(axis=1) @ np.arange(SIDE))
    return np.array([column - (SIDE - 1) / 2, (SIDE - 1) / 2 - row]) * 2 * ARENA / ARENA_SIDE


def pictures(env: gym.Env, moves: list[int], seed: int = 1) -> np.ndarray:
    """Observations of an episode, [len(moves) + 1, 36, 36, 3]."""
    return np.stack([env.reset(seed=seed)[0]] + [env.step(move)[0] for move in moves])


def test_gymnasium_and_stable_baselines_accept_it():
    env = PointGoalImageEnv("east", cue=0)
    check_env(env, skip_render_check=True)
    assert env.observation_space == gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    assert is_image_space(env.observation_space, check_channels=True)
    assert env.action_space == gym.spaces.Discrete(5)
    assert isinstance(PointGoalImageEnv("east", discrete=False).action_space, gym.spaces.Box)


def test_an_unknown_cue_or_goal_is_named():
    with pytest.raises(ValueError, match="cue must be a whole number from 0 to 3, or None for no bar; got 4"):
        PointGoalImageEnv("east", cue=4)
    with pytest.raises(ValueError, match="Unknown goal 'est'"):
        point_image_sequence(tasks=("est",))


def test_the_picture_shows_the_point_where_it_is():
    env = PointGoalImageEnv("east", horizon=200)
    plain = PointGoalEnv("east", horizon=200, discrete=True)
    moves = np.random.default_rng(0).integers(5, size=100)
    for picture, vector in zip(pictures(env, moves), pictures(plain, moves), strict=True):
        assert np.abs(vector[:2]).max() < ARENA  # a blob at the wall is cut off
        np.testing.assert_allclose(position_in(picture[..., NOW]), vector[:2], atol=0.01)


@pytest.mark.parametrize(("move", "row", "column"), [(EAST, 0, 1), (WEST, 0, -1), (NORTH, -1, 0), (SOUTH, 1, 0)])
def test_north_is_up_and_the_walls_are_inside_the_picture(move, row, column):
    last = pictures(PointGoalImageEnv("east"), [move] * 25)[-1, ..., NOW]
    at = np.unravel_index(last.argmax(), last.shape)
    half = ARENA_SIDE / 2
    np.testing.assert_allclose(np.array(at) - (SIDE - 1) / 2, [row * half, column * half], atol=1.6)
    assert last.max() > 150


def test_the_velocity_is_visible():
    shown = pictures(PointGoalImageEnv("east"), [EAST, EAST, NORTH, WEST])
    velocities = pictures(PointGoalEnv("east", discrete=True), [EAST, EAST, NORTH, WEST])[:, 2:]
    seen = [position_in(picture[..., NOW]) - position_in(picture[..., BEFORE]) for picture in shown]
    np.testing.assert_allclose(np.array(seen) / 0.1, velocities, atol=0.1)
    assert np.array_equal(shown[1:, ..., BEFORE], shown[:-1, ..., NOW])


def test_an_episode_begins_at_rest_whatever_was_before():
    env = PointGoalImageEnv("east")
    first = pictures(env, [EAST] * 25)
    assert np.array_equal(first[0, ..., NOW], first[0, ..., BEFORE])
    assert np.array_equal(first, pictures(env, [EAST] * 25))
    assert not np.array_equal(first, pictures(env, [EAST] * 25, seed=2))


def test_the_cue_differs_by_task_and_the_goal_is_not_shown():
    shown = [pictures(PointGoalImageEnv(goal, cue=cue), [EAST] * 9) for cue, goal in enumerate(GOALS)]
    for i, one in enumerate(shown):
        assert one[..., CUE].any() and (one[..., CUE] == one[0, ..., CUE]).all()
        for other in shown[:i]:
            assert not (one[..., CUE] & other[..., CUE]).any()
            assert np.array_equal(one[..., [NOW, BEFORE]], other[..., [NOW, BEFORE]])
    assert len(shown) == N_CUES
    east, west = (pictures(PointGoalImageEnv(goal), [EAST] * 9) for goal in ("east", "west"))
    assert np.array_equal(east, west) and not east[..., CUE].any()


def test_pictures_stay_as_they_were_when_written_into():
    env = PointGoalImageEnv("east", cue=1)
    expected = pictures(env, [EAST, EAST])
    env.reset(seed=1)[0][:] = 7
    env.step(EAST)[0][:] = 7
    assert np.array_equal(env.step(EAST)[0], expected[-1])


def test_the_sequence_gives_each_task_its_place():
    sequence = point_image_sequence(tasks=("west", "north"), steps_per_task=30)
    bars = [sequence.make_task_env(name).reset(seed=1)[0][..., CUE].argmax(axis=1)[0] for name in sequence.task_names]
    assert bars == [0, 9]
    plain = point_image_sequence(task_id=False)
    assert not plain.make_task_env("west").reset()[0][..., CUE].any()
    assert sequence.segments == ("west", "north") * 2 and not sequence.task_id


def test_rendering_shows_the_goal():
    env = gym.make(ENV_ID, render_mode="rgb_array")
    env.reset(seed=1)
    frame = env.render()
    assert frame.shape == (128, 128, 3) and (frame == (60, 180, 75)).all(axis=-1).any()


@pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")
@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_convolutional_policy_learns_over_a_switch(n_envs):
    env = make_vec_env(ENV_ID, n_envs, env_kwargs={"steps_per_task": 60, "horizon": 10, "n_envs": n_envs})
    model = NBSPDQN(
        "CnnPolicy",
        env,
        buffer_size=200,
        learning_starts=20,
        batch_size=16,
        train_freq=2,
        scoring_steps=40,
        seed=1,
        policy_kwargs={"features_extractor_kwargs": {"features_dim": 16}},
    )
    assert isinstance(model.env, VecTransposeImage) and model.observation_space.shape == (3, SIDE, SIDE)
    model.learn(100)
    assert model.learned_tasks == ["east"] and model.position.task == "west" and model._n_updates > 10
    layers = model.skill_neurons["east"].layers.values()
    assert [len(layer.scores) for layer in layers] == [32, 64, 64, 16]  # NatureCNN's channels, then its features
    assert sum(len(layer.chosen) for layer in layers) == round(0.2 * (32 + 64 + 64 + 16))
    assert len(model.replay_buffer.memory) == 60
