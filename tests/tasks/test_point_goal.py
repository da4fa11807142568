"""The embedded tasks and the ids under which sequences are made."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3 import SAC
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env

from sb3_nbsp.tasks import (
    PointGoalEnv,
    named_sequences,
    point_goal_sequence,
    register_envs,
)

# --- the embedded default ---


def test_point_goal_env():
    env = PointGoalEnv("east", horizon=25)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space and abs(obs[:2]).max() <= 0.1
    records = [env.step(np.array([1.0, 0.0])) for _ in range(25)]
    assert [truncated for *_, truncated, _ in records] == [False] * 24 + [True]
    assert not any(terminated for _, _, terminated, _, _ in records)
    assert any(info["success"] for *_, info in records)
    # The point passes the goal: the reward is highest where the distance is least, and never above 0.
    rewards = [reward for _, reward, *_ in records]
    assert max(rewards) > -0.2 and rewards[0] < -0.7 and max(rewards) <= 0.0
    assert all(record[0] in env.observation_space for record in records)


@pytest.mark.parametrize("goal", ["east", "west", "north", "south"])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_point_goal_is_not_reached_by_chance(goal, scale):
    env = point_goal_sequence(tasks=[goal]).make_task_env(goal)
    env.reset(seed=100)
    env.action_space.seed(100)
    solved = 0
    for _ in range(100):
        env.reset()
        over = False
        while not over:
            _, _, _, over, info = env.step(scale * env.action_space.sample())
        solved += info["is_success"]
    assert solved <= 3


def test_point_goal_render():
    env = gym.make("sb3_nbsp/PointGoal-v0", render_mode="rgb_array")
    env.reset(seed=0)
    image = env.render()
    green = (image == (60, 180, 75)).all(axis=-1)
    assert image.dtype == np.uint8 and green.any()
    assert np.argwhere(green)[:, 1].min() > image.shape[1] / 2, "east is on the right"
    with pytest.raises(ValueError, match="'rgb_array' only"):
        PointGoalEnv("east", render_mode="ansi")


# --- registration ---


def test_registered_ids():
    register_envs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_envs()
    for env_id, description in named_sequences().items():
        assert gym.spec(env_id).disable_env_checker and isinstance(gym.spec(env_id).entry_point, str)
        assert description and "\n" not in description


def test_what_gymnasium_knows_of_them_can_be_sent_and_written():
    for env_id in named_sequences():
        spec = pickle.loads(pickle.dumps(gym.spec(env_id)))
        assert gym.envs.registration.EnvSpec.from_json(spec.to_json()).entry_point == spec.entry_point
    made = gym.make("sb3_nbsp/PointGoal-v0", horizon=7)
    again = gym.make(made.spec)
    assert again.unwrapped.task_sequence.make_task_env("east").unwrapped.horizon == 7


def test_made_ids_and_overrides():
    default = gym.make("sb3_nbsp/PointGoal-v0").unwrapped
    assert default.task_sequence.segments == ("east", "west") * 2 and default.task_sequence.task_id
    four = gym.make("sb3_nbsp/PointGoal4-v0").unwrapped
    assert four.task_sequence.segments == ("east", "west", "north", "south")
    assert four.observation_space.shape == (8,)
    env = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=[30, 20], cycles=1, n_envs=2, switch_on="episode", horizon=9)
    assert env.unwrapped.task_sequence.switch_steps == (30, 50)
    assert env.unwrapped.switch_on == "episode"
    env.reset()
    assert [env.step(np.zeros(2))[3] for _ in range(9)] == [False] * 8 + [True]


def test_gymnasium_id():
    env = gym.make(
        "sb3_nbsp/Gymnasium-v0", tasks=["CartPole-v1", "sb3_nbsp.tasks:CartPole-v1"], steps_per_task=5, task_id=True
    )
    assert env.observation_space.shape == (6,)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"'CartPole-v1'.*'Acrobot-v1'"):
        gym.make("sb3_nbsp/Gymnasium-v0", tasks=["CartPole-v1", "Acrobot-v1"])


def test_checkers_find_nothing():
    env = gym.make("sb3_nbsp/PointGoal-v0", render_mode="rgb_array")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gymnasium_check_env(env.unwrapped)
        sb3_check_env(gym.make("sb3_nbsp/PointGoal-v0"))
    texts = [str(warning.message) for warning in caught]
    # The canonical observation is unbounded on purpose.
    assert [text for text in texts if "infinity" not in text] == []


def test_plain_sac_goes_through_a_sequence():
    env = make_vec_env("sb3_nbsp/PointGoal-v0", n_envs=2, seed=100, env_kwargs={"n_envs": 2, "steps_per_task": 60})
    model = SAC("MlpPolicy", env, learning_starts=50, batch_size=16, policy_kwargs={"net_arch": [16]}, seed=100)
    model.learn(240)
    assert env.get_attr("sequence_steps") == [240, 240]
    # Each segment ends with a truncation, so that no target crosses the switch.
    assert model.replay_buffer.timeouts[[29, 59, 89, 119]].all()
    task_ids = model.replay_buffer.observations[:120, 0, 4:]
    np.testing.assert_array_equal(task_ids[:, 1], ([0.0] * 30 + [1.0] * 30) * 2)


def test_arguments_of_a_named_sequence_are_checked():
    with pytest.raises(TypeError, match=r"Unknown argument 'steps_per_tsk'\. Did you mean 'steps_per_task'"):
        gym.make("sb3_nbsp/PointGoal-v0", steps_per_tsk=30)
    with pytest.raises(TypeError, match=r"Missing argument tasks\. Arguments: tasks, steps_per_task"):
        gym.make("sb3_nbsp/Gymnasium-v0", steps_per_task=30)
