"""Meta-World tasks: seeds, goals, horizon and action repeat, on the real simulator."""

import builtins

import gymnasium as gym
import numpy as np
import pytest

from sb3_nbsp.tasks import MetaWorldEnv, metaworld_sequence
from sb3_nbsp.tasks.metaworld import _goals

ACTION = np.array([0.1, 0.5, -0.2, 0.3], dtype=np.float32)


@pytest.fixture
def simulator():
    return pytest.importorskip("metaworld")


def goals(env, seed, n_episodes=8):
    """The goal shown (3,) in each of the first episodes."""
    first = env.reset(seed=seed)[0]
    return [tuple(first[-3:])] + [tuple(env.reset()[0][-3:]) for _ in range(n_episodes - 1)]


def test_names_and_horizon(simulator):
    sequence = metaworld_sequence(tasks=["window-open-v3", "window-close"], steps_per_task=10)
    assert sequence.task_names == ("window-open", "window-close")
    with pytest.raises(ValueError, match="Did you mean 'window-open'"):
        metaworld_sequence(tasks=["windowopen"])
    with pytest.raises(ValueError, match="horizon must be at most 125 with action_repeat=4, got 126"):
        metaworld_sequence(action_repeat=4, horizon=126)
    with pytest.raises(ValueError, match="action_repeat"):
        metaworld_sequence(action_repeat=0)
    env = MetaWorldEnv("reach", action_repeat=3)
    assert env.horizon == 166
    env.close()


def test_missing_package_names_the_extra(monkeypatch):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "metaworld":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"sb3-nbsp\[metaworld\]"):
        metaworld_sequence()


def test_seeds_make_the_goals(simulator):
    env = MetaWorldEnv("window-open")
    state = np.random.get_state()
    first = goals(env, seed=1)
    env.step(ACTION)
    after = np.random.get_state()
    assert state[2:] == after[2:]
    np.testing.assert_array_equal(state[1], after[1], err_msg="numpy's global random state must stay as it was")
    assert first == goals(env, seed=1)
    assert len(set(first)) > 1
    assert not set(first) & set(goals(env, seed=2)), "another seed must give other goals"
    assert len(env._goals) == 50
    env.close()
    other = MetaWorldEnv("window-open")
    assert goals(other, seed=1, n_episodes=1)[0] == first[0]  # not made again
    assert _goals.cache_info().hits >= 2


def test_fixed_goal_is_the_same_for_every_seed(simulator):
    env = MetaWorldEnv("window-open", random_goals=False)
    assert len({*goals(env, seed=1, n_episodes=3), *goals(env, seed=2, n_episodes=2)}) == 1
    env.close()


def test_goal_is_shown_at_every_step(simulator):
    env = MetaWorldEnv("drawer-close", random_goals=False)
    obs, info = env.reset(seed=0)
    assert info["reward_function_version"] == "v2"
    assert obs.shape == (39,) and np.any(obs[-3:] != 0.0)
    np.testing.assert_allclose(env.step(ACTION)[0][-3:], obs[-3:])
    env.close()


def test_action_repeat_is_that_many_simulator_steps(simulator):
    single = MetaWorldEnv("drawer-close", random_goals=False)
    repeated = MetaWorldEnv("drawer-close", random_goals=False, action_repeat=4, horizon=2)
    for env in (single, repeated):
        env.reset(seed=0)
    steps = [single.step(ACTION) for _ in range(4)]
    obs, reward, terminated, truncated, info = repeated.step(ACTION)
    np.testing.assert_array_equal(obs, steps[-1][0])
    assert reward == pytest.approx(np.mean([step[1] for step in steps]))
    assert info["success"] == max(step[-1]["success"] for step in steps)
    assert (terminated, truncated) == (False, False)
    assert repeated.step(ACTION)[2:4] == (False, True)
    assert repeated.metadata["render_fps"] == 20
    single.close()
    repeated.close()


def test_success_in_a_repeated_step_counts_and_ends_nothing(simulator, monkeypatch):
    env = MetaWorldEnv("drawer-close", random_goals=False, action_repeat=4, horizon=5)
    env.reset(seed=0)
    original, flags = env._simulator.step, iter([0.0, 1.0, 0.0, 0.0])

    def step(action):
        obs, reward, terminated, truncated, info = original(action)
        return obs, reward, terminated, truncated, {**info, "success": next(flags)}

    monkeypatch.setattr(env._simulator, "step", step)
    _, _, terminated, truncated, info = env.step(ACTION)
    assert info["success"] == 1.0 and not terminated and not truncated
    env.close()


def test_full_length_episode_never_overruns_the_simulator(simulator):
    env = MetaWorldEnv("reach", random_goals=False)
    for _ in range(2):
        env.reset(seed=0)
        truncations = [env.step(ACTION)[3] for _ in range(500)]
        assert truncations == [False] * 499 + [True]
    env.close()


def test_sequence_env_switches(simulator):
    env = gym.make("sb3_nbsp/MetaWorld-v0", tasks=["drawer-close", "coffee-button"], steps_per_task=7, horizon=5)
    obs, info = env.reset(seed=0)
    assert obs.shape == (39,) and obs.dtype == np.float32 and obs in env.observation_space
    names, ends = [info["task_name"]], []
    for number in range(1, 15):
        obs, _, _, truncated, info = env.step(env.action_space.sample())
        assert obs in env.observation_space and isinstance(info["is_success"], bool)
        if truncated:
            ends.append(number)
            names.append(env.reset()[1]["task_name"])
    assert ends == [5, 7, 12, 14]
    assert names == ["drawer-close", "drawer-close", "coffee-button", "coffee-button", "coffee-button"]
    env.close()


def test_named_sequences(simulator):
    env = gym.make("sb3_nbsp/CoffeeButtonDrawerClose-v0").unwrapped
    sequence = env.task_sequence
    assert sequence.task_names == ("coffee-button", "drawer-close")
    assert (sequence.segment_steps, sequence.cycles) == ((10_000, 5_000), 1)
    assert (env._task_envs[0].unwrapped.action_repeat, env._task_envs[0].unwrapped.horizon) == (4, 50)
    env.close()
    env = gym.make("sb3_nbsp/WindowCloseOpen-v0", steps_per_task=1_000).unwrapped
    assert env.task_sequence.segments == ("window-close", "window-open") * 2
    assert (env._task_envs[0].unwrapped.action_repeat, env._task_envs[0].unwrapped.horizon) == (1, 500)
    env.close()


@pytest.mark.known_answer
def test_version_1_of_stick_pulls_reward_knows_where_the_object_is(simulator):
    """By hand, with the stick in the gripper and in the object: distances to the object itself, not to the stick's height."""
    env = MetaWorldEnv("stick-pull", reward_function_version="v1")
    assert env.reset(seed=0)[1]["reward_function_version"] == "v1"
    told = env.step(ACTION)
    target = env._simulator._target_pos
    assert told[-1]["obj_to_target"] == pytest.approx(np.linalg.norm(told[0][11:13] - target[:2]))

    inner = env._simulator
    hand = (inner._get_site_pos("rightEndEffector") + inner._get_site_pos("leftEndEffector")) / 2
    made = told[0].copy()
    made[4:7] = made[11:14] = hand
    reward = inner.compute_reward(np.array([0.0, 0.0, 0.0, 1.0]), made)[0]
    to_goal = np.linalg.norm(hand[:2] - target[:2])
    near = np.exp(-(to_goal**2) / 0.01) + np.exp(-(to_goal**2) / 0.001)
    place, pull = 1000 * inner.maxPlaceDist + 2 * 1000, 1000 * (inner.maxPullDist - to_goal) + 2000 * near
    assert reward == pytest.approx(1 / 50 + 100 * inner.heightTarget + max(place + pull, 0))
    env.close()


def test_names_are_understood_in_the_order_too():
    names = ("window-open-v3", "window-close-v3", "window-open")
    sequence = metaworld_sequence(names[:2], 10, order=names)
    assert sequence.segments == ("window-open", "window-close", "window-open")


def test_the_rewards_version_is_chosen_for_a_whole_sequence(simulator):
    sequence = metaworld_sequence(["hammer"], steps_per_task=10, reward_function_version="v1")
    env = sequence.make_task_env("hammer")
    assert env.unwrapped.reward_function_version == "v1"
    env.close()
    with pytest.raises(ValueError, match="reward_function_version must be one of v1, v2; got 'v3'"):
        metaworld_sequence(reward_function_version="v3")
    with pytest.raises(ValueError, match="reward_function_version must be one of v1, v2; got 'v3'"):
        MetaWorldEnv("hammer", reward_function_version="v3")
