"""Atari games on ale-py's vector emulator, beside the same games one by one."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.atari_wrappers import ClipRewardEnv, MaxAndSkipEnv, WarpFrame
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor

from sb3_nbsp import NBSPPPO
from sb3_nbsp.tasks import GymnasiumVecEnv, TaskSequenceVectorEnv, atari_sequence
from sb3_nbsp.tasks.atari_vector import make_atari_vector

pytest.importorskip("ale_py")
SPACE = gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)


def sb3_game(game: str) -> gym.Env:
    """SB3's AtariWrapper without what draws random numbers or ends an episode before the game's end."""
    return ClipRewardEnv(WarpFrame(MaxAndSkipEnv(gym.make(f"{game}NoFrameskip-v4", full_action_space=True), 4)))


@pytest.mark.parametrize(("game", "rom"), [("Breakout", "breakout"), ("SpaceInvaders", "space_invaders")])
def test_observations_rewards_and_ends_are_those_of_sb3s_pipeline(game: str, rom: str) -> None:
    from ale_py.vector_env import AtariVectorEnv

    games = AtariVectorEnv(
        rom, 2, full_action_space=True, noop_max=0, use_fire_reset=False, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours = GymnasiumVecEnv(games)
    theirs = VecFrameStack(DummyVecEnv([lambda: sb3_game(game)] * 2), 4, channels_order="last")
    np.testing.assert_array_equal(np.moveaxis(ours.reset(), 1, -1), theirs.reset())
    random = np.random.default_rng(0)
    ended = rewarded = 0
    while ended == 0:
        actions = random.integers(18, size=2)
        obs, rewards, dones, infos = ours.step(actions)
        wanted_obs, wanted_rewards, wanted_dones, wanted_infos = theirs.step(actions)
        for i in np.flatnonzero(dones):
            # Where a game ends within the four frames of a step, SB3's MaxAndSkipEnv shows those of the step before.
            last, wanted = infos[i]["terminal_observation"], wanted_infos[i]["terminal_observation"]
            np.testing.assert_array_equal(np.moveaxis(last, 0, -1)[..., :-1], wanted[..., :-1])
            assert not infos[i]["TimeLimit.truncated"]
        np.testing.assert_array_equal(np.moveaxis(obs, 1, -1), wanted_obs)
        np.testing.assert_array_equal(rewards, wanted_rewards)
        np.testing.assert_array_equal(dones, wanted_dones)
        ended, rewarded = ended + int(dones.sum()), rewarded + int((rewards != 0).sum())
    assert rewarded > 0


def test_a_lost_life_ends_an_episode_and_not_the_game() -> None:
    env = GymnasiumVecEnv(make_atari_vector("Breakout", 2))
    assert env.observation_space == SPACE and env.action_space == gym.spaces.Discrete(18)
    env.seed(0)
    env.reset()
    lives_at_ends: list[int] = []
    for _ in range(300):
        obs, _, dones, infos = env.step(np.full(2, 3))
        for i in np.flatnonzero(dones):
            lives_at_ends.append(infos[i]["lives"])
            assert infos[i]["terminal_observation"].shape == SPACE.shape
            # A life lost: the game goes on where it was. A game lost: another picture.
            assert (infos[i]["lives"] < 5) == np.array_equal(infos[i]["terminal_observation"], obs[i])
    # Two copies of the game, five lives each; after the last one a new game begins. Without FIRE no second ball would come.
    assert {4, 3, 2, 1, 5} == set(lives_at_ends)
    env.close()


def test_never_two_emulators_at_work() -> None:
    sequence = atari_sequence(["Breakout", "Pong"], steps_per_task=8, cycles=2)
    env = gym.make_vec("sb3_nbsp/Atari-v0", num_envs=2, tasks=["Breakout", "Pong"], steps_per_task=8, cycles=2)
    assert isinstance(env, TaskSequenceVectorEnv) and env.single_observation_space == SPACE
    assert env.task_sequence.segments == sequence.segments
    env.reset(seed=1)
    emulators = {id(env._env)}
    for step in range(16):
        obs, _, terminated, truncated, info = env.step(np.zeros(2, dtype=np.int64))
        switched = step % 4 == 3
        assert (terminated | truncated).all() == switched
        if switched:
            assert info["final_info"]["task_done"].all() and not info["task_done"].any()
            emulators.add(id(env._env))
    assert info["task_name"].tolist() == ["Pong"] * 2 and obs.shape == (2, *SPACE.shape)
    env.close()


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"render_mode": "rgb_array"}, ValueError, "draws nothing, got render_mode='rgb_array'. Use gymnasium.make"),
        ({"n_envs": 2}, TypeError, "Unknown argument 'n_envs'. Did you mean 'num_envs'"),
        ({"taks": ["Pong"]}, TypeError, "Did you mean 'tasks'"),
    ],
)
def test_arguments_of_the_vector_env_are_checked(wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        gym.make_vec("sb3_nbsp/PongBreakout-v0", 2, **wrong)


def test_an_agent_goes_through_two_games() -> None:
    env = VecMonitor(
        GymnasiumVecEnv(gym.make_vec("sb3_nbsp/Atari-v0", num_envs=2, tasks=["Breakout", "Pong"], steps_per_task=32))
    )
    settings: dict[str, Any] = {
        "n_steps": 8,
        "batch_size": 16,
        "n_epochs": 1,
        "scoring_steps": 20,
        "memory_size": 8,
        "seed": 0,
    }
    model = NBSPPPO("CnnPolicy", env, policy_kwargs={"net_arch": []}, **settings)
    model.learn(64)
    assert sorted(model.learned_tasks) == ["Breakout", "Pong"]
    action, _ = model.predict(env.reset())
    assert action.shape == (2,)
    env.close()
