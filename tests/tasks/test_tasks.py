"""Tasks and sequences: switching, counting, spaces, seeds. The fake task counts its steps, so every answer is known."""

import pickle
import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3 import SAC
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_nbsp.tasks import (
    PointGoalEnv,
    Task,
    TaskSequence,
    TaskSequenceEnv,
    gymnasium_sequence,
    named_sequences,
    point_goal_sequence,
    register_envs,
)

ACTION = np.zeros(1, dtype=np.float32)


class CountingEnv(gym.Env):
    """Observes [steps in this episode, noise of this episode]; ends after `length` steps; succeeds at `success_at`."""

    def __init__(self, render_mode=None, length=3, terminates=False, success_at=None, obs_space=None, bound=1.0):
        self.metadata = {"render_modes": ["rgb_array"]}
        self.render_mode = render_mode
        self.observation_space = obs_space or spaces.Box(-10.0, 10.0, (2,), np.float64)
        self.action_space = spaces.Box(-bound, bound, (1,))
        self.length, self.terminates, self.success_at = length, terminates, success_at
        self.closed = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.noise = 0, float(self.np_random.random())
        return self._obs(), {"from_task": True}

    def step(self, action):
        self.count += 1
        over = self.count >= self.length
        info = {} if self.success_at is None else {"success": float(self.count == self.success_at)}
        return self._obs(), 1.0, over and self.terminates, over and not self.terminates, info

    def _obs(self):
        if not isinstance(self.observation_space, spaces.Box):
            return self.observation_space.sample()
        return np.array([self.count, self.noise], dtype=self.observation_space.dtype)

    def render(self):
        return np.full((2, 2, 3), self.length, dtype=np.uint8)

    def close(self):
        self.closed += 1


def fake_task(name, **kwargs):
    return Task(name, partial(CountingEnv, **kwargs))


def fake_sequence(steps_per_task=7, cycles=1, task_id=False, **kwargs):
    return TaskSequence((fake_task("a", **kwargs), fake_task("b", **kwargs)), steps_per_task, cycles, task_id)


def roll(env, n_steps):
    """Step and reset as a VecEnv does; gives each step's (terminated, truncated, info)."""
    out = []
    env.reset()
    for _ in range(n_steps):
        _, _, terminated, truncated, info = env.step(ACTION)
        out.append((terminated, truncated, info))
        if terminated or truncated:
            env.reset()
    return out


def done_steps(records):
    return [number for number, (_, _, info) in enumerate(records, start=1) if info["task_done"]]


# --- TaskSequence ---


def test_sequence_arithmetic():
    sequence = fake_sequence(steps_per_task=[10, 4], cycles=2)
    assert sequence.task_names == ("a", "b")
    assert sequence.segments == ("a", "b", "a", "b")
    assert sequence.segment_steps == (10, 4, 10, 4)
    assert sequence.switch_steps == (10, 14, 24, 28)
    assert sequence.total_steps == 28
    assert [sequence.segment_at(step) for step in (0, 9, 10, 13, 14, 23, 24, 27, 28, 1000)] == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert fake_sequence(steps_per_task=5).segment_steps == (5, 5)


@pytest.mark.parametrize(
    "kwargs, error, words",
    [
        ({"tasks": ()}, ValueError, "at least one task"),
        ({"tasks": ("a",)}, TypeError, "Task objects"),
        ({"tasks": (fake_task("a"), fake_task("a"))}, ValueError, "distinct"),
        ({"steps_per_task": 0}, ValueError, "at least 1"),
        ({"steps_per_task": (5,)}, ValueError, "one per task"),
        ({"steps_per_task": (5, -1)}, ValueError, "at least 1"),
        ({"steps_per_task": 1e4}, TypeError, "steps_per_task"),
        ({"steps_per_task": (5, 1.5)}, TypeError, "int"),
        ({"cycles": 0}, ValueError, "cycles"),
        ({"cycles": True}, TypeError, "cycles"),
    ],
)
def test_sequence_refuses(kwargs, error, words):
    valid = {"tasks": (fake_task("a"), fake_task("b")), "steps_per_task": 5}
    with pytest.raises(error, match=words):
        TaskSequence(**{**valid, **kwargs})


def test_segment_at_refuses_negative():
    with pytest.raises(ValueError, match="from 0"):
        fake_sequence().segment_at(-1)


def test_unknown_task_name_suggests():
    with pytest.raises(ValueError, match="Did you mean 'east'"):
        point_goal_sequence().make_task_env("eats")
    with pytest.raises(ValueError, match="Did you mean 'north'"):
        point_goal_sequence(tasks=["nort"])
    with pytest.raises(ValueError, match="Known: a, b"):
        fake_sequence().make_task_env("zzz")


# --- TaskEnv ---


def test_task_env_canonical_observation_and_one_hot():
    plain, _ = fake_sequence().make_task_env("b").reset(seed=1)
    assert plain.dtype == np.float32 and plain.shape == (2,)
    env = fake_sequence(task_id=True).make_task_env("b")
    assert env.observation_space == spaces.Box(-np.inf, np.inf, (4,), np.float32)
    obs, info = env.reset(seed=1)
    np.testing.assert_array_equal(obs, [*plain, 0.0, 1.0])
    assert info == {"from_task": True, "task_id": 1, "task_name": "b", "task_done": False}
    obs, _, _, _, info = env.step(ACTION)
    assert obs[0] == 1.0 and list(obs[2:]) == [0.0, 1.0]
    assert info["task_id"] == 1 and info["task_name"] == "b" and info["task_done"] is False


def test_task_env_success_is_of_the_step_and_is_success_of_the_episode():
    env = fake_sequence(success_at=2, length=3).make_task_env("a")
    for _ in range(2):
        env.reset()
        infos = [env.step(ACTION)[-1] for _ in range(3)]
        assert [info["success"] for info in infos] == [0.0, 1.0, 0.0]
        assert [info["is_success"] for info in infos] == [False, True, True]


def test_task_env_without_success_reports_none():
    env = fake_sequence().make_task_env("a")
    env.reset()
    assert not {"success", "is_success"} & set(env.step(ACTION)[-1])


def test_other_spaces_are_left_and_refuse_a_task_id():
    image = spaces.Box(0, 255, (2,), np.uint8)
    for space in (image, spaces.Dict({"x": image}), spaces.Discrete(3)):
        assert fake_sequence(obs_space=space).make_task_env("a").observation_space == space
        with pytest.raises(ValueError, match="1-D float Box"):
            fake_sequence(obs_space=space, task_id=True).make_task_env("a")


# --- TaskSequenceEnv: switching ---


def test_switches_at_the_exact_step():
    records = roll(TaskSequenceEnv(fake_sequence(steps_per_task=7)), 20)
    assert done_steps(records) == [7, 14]
    # Episodes of 3 steps: 3, 6, cut at 7, then counted anew in the next task; after the end it stays on the last task.
    assert [n for n, (_, truncated, _) in enumerate(records, 1) if truncated] == [3, 6, 7, 10, 13, 14, 17, 20]
    assert not any(terminated for terminated, _, _ in records)
    assert [info["task_name"] for _, _, info in records] == ["a"] * 7 + ["b"] * 13
    assert [info["segment"] for _, _, info in records] == [0] * 7 + [1] * 13
    assert [info["sequence_steps"] for _, _, info in records] == list(range(1, 21))


def test_cycles_come_back_to_the_same_env():
    env = TaskSequenceEnv(fake_sequence(steps_per_task=(4, 2), cycles=2))
    records = roll(env, 13)
    assert done_steps(records) == [4, 6, 10, 12]
    assert [info["task_id"] for _, _, info in records] == [0] * 4 + [1] * 2 + [0] * 4 + [1] * 3
    assert records[9][2]["segment"] == 2


def test_a_terminated_step_stays_terminated_at_the_switch():
    records = roll(TaskSequenceEnv(fake_sequence(steps_per_task=6, terminates=True)), 6)
    assert records[5][:2] == (True, False) and records[5][2]["task_done"]
    records = roll(TaskSequenceEnv(fake_sequence(steps_per_task=5, terminates=True)), 5)
    assert records[4][:2] == (False, True) and records[4][2]["task_done"]


def test_reset_info_and_early_reset():
    env = TaskSequenceEnv(fake_sequence(steps_per_task=2))
    _, info = env.reset()
    assert info == {
        "from_task": True, "task_id": 0, "task_name": "a", "task_done": False, "segment": 0, "sequence_steps": 0,
    }  # fmt: skip
    env.step(ACTION)
    assert env.reset()[1]["task_name"] == "a", "a reset in mid-segment must not switch"
    assert env.step(ACTION)[-1]["task_done"]
    assert env.step(ACTION)[-1]["task_done"] is False, "one segment must not be reported twice"
    assert env.reset()[1]["segment"] == 1


def test_four_sub_envs_switch_together():
    vec_env = make_vec_env(partial(TaskSequenceEnv, fake_sequence(steps_per_task=10), n_envs=4), n_envs=4)
    assert isinstance(vec_env, DummyVecEnv)
    vec_env.reset()
    done_at = []
    for step in range(1, 8):
        _, _, dones, infos = vec_env.step(np.zeros((4, 1)))
        flags = [info["task_done"] for info in infos]
        assert len(set(flags)) == 1, "sub-environments fell out of step"
        if flags[0]:
            done_at.append(step)
            assert dones.all() and all(info["TimeLimit.truncated"] for info in infos)
        assert vec_env.get_attr("sequence_steps") == [4 * step] * 4
    assert done_at == [3, 5]
    assert vec_env.get_attr("task_sequence")[0].task_names == ("a", "b")


def test_set_n_envs_keeps_the_position():
    env = TaskSequenceEnv(fake_sequence(steps_per_task=10))
    roll(env, 4)
    env.set_n_envs(3)
    records = roll(env, 2)
    assert [info["sequence_steps"] for _, _, info in records] == [7, 10]
    assert done_steps(records) == [2]


@pytest.mark.parametrize("n_envs", [0, -1, 8])
def test_set_n_envs_refuses(n_envs):
    with pytest.raises(ValueError, match="n_envs must lie between 1 and the shortest segment's 7"):
        TaskSequenceEnv(fake_sequence(steps_per_task=7), n_envs=n_envs)


def test_fast_forward():
    env = TaskSequenceEnv(fake_sequence(steps_per_task=5, cycles=2))
    env.reset()
    env.fast_forward(8)
    with pytest.raises(gym.error.ResetNeeded, match="fast_forward"):
        env.step(ACTION)
    records = roll(env, 4)
    assert [info["task_name"] for _, _, info in records] == ["b", "b", "a", "a"]
    assert done_steps(records) == [2] and records[1][2]["segment"] == 1
    env.fast_forward(10)
    assert env.reset()[1]["segment"] == 2, "at a boundary the next segment begins"
    env.fast_forward(3)
    assert env.reset()[1]["segment"] == 0, "it also goes back"
    for beyond in (20, 99):
        env.fast_forward(beyond)
        assert done_steps(roll(env, 6)) == [] and env.reset()[1]["segment"] == 3
    with pytest.raises(ValueError, match="0 or more"):
        env.fast_forward(-1)


def test_episode_mode_goes_round():
    env = TaskSequenceEnv(fake_sequence(steps_per_task=2, cycles=3), switch_on="episode")
    names = []
    for _ in range(5):
        _, info = env.reset()
        names.append(info["task_name"])
        infos = [env.step(ACTION) for _ in range(3)]
        assert not any(info["task_done"] for *_, info in infos)
        assert [truncated for _, _, _, truncated, _ in infos] == [False, False, True]
        assert infos[0][-1]["segment"] == infos[0][-1]["task_id"]
    assert names == ["a", "b", "a", "b", "a"]
    with pytest.raises(ValueError, match="switch_on='steps'"):
        env.fast_forward(1)
    with pytest.raises(ValueError, match="'steps' or 'episode'"):
        TaskSequenceEnv(fake_sequence(), switch_on="step")


# --- spaces, closing, rendering ---


@pytest.mark.parametrize(
    "other, kind",
    [
        ({"obs_space": spaces.Box(-1.0, 1.0, (3,))}, "observation"),
        ({"obs_space": spaces.Discrete(3)}, "observation"),
        ({"bound": 2.0}, "action"),
    ],
)
def test_differing_spaces_are_refused_at_construction(other, kind):
    made = []

    def make(render_mode, **kwargs):
        made.append(CountingEnv(render_mode, **kwargs))
        return made[-1]

    sequence = TaskSequence((Task("first", make), Task("odd", partial(make, **other))), 5)
    with pytest.raises(ValueError, match=f"{kind} space: task 'first'.*task 'odd'"):
        TaskSequenceEnv(sequence)
    assert [env.closed for env in made] == [1, 1]


def test_differing_observation_bounds_become_one_space():
    tasks = (fake_task("a"), fake_task("b", obs_space=spaces.Box(-5.0, 50.0, (2,), np.float32)))
    assert TaskSequenceEnv(TaskSequence(tasks, 5)).observation_space == spaces.Box(-np.inf, np.inf, (2,), np.float32)


def test_close_and_render():
    made = []

    def make(length, render_mode):
        made.append(CountingEnv(render_mode, length=length))
        return made[-1]

    sequence = TaskSequence((Task("a", partial(make, 3)), Task("b", partial(make, 4))), 3)
    env = TaskSequenceEnv(sequence, render_mode="rgb_array")
    assert env.metadata["render_modes"] == ["rgb_array"]
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    roll(env, 2)
    assert env.render()[0, 0, 0] == 3
    env.step(ACTION)
    env.reset()
    assert env.render()[0, 0, 0] == 4
    env.close()
    env.close()
    assert [inner.closed for inner in made] == [1, 1]


# --- seeds ---


def noises(seed, n_steps=14):
    """The first observations' noise of each episode, over both tasks and a second cycle."""
    env = TaskSequenceEnv(fake_sequence(steps_per_task=3, cycles=2))
    obs, _ = env.reset(seed=seed)
    out = [obs[1]]
    for _ in range(n_steps):
        _, _, terminated, truncated, _ = env.step(ACTION)
        if terminated or truncated:
            out.append(env.reset()[0][1])
    return out


def test_seeds_repeat_and_differ():
    first = noises(seed=5)
    assert first == noises(seed=5)
    assert len(set(first)) == len(first), "tasks and visits must not repeat each other's episodes"
    assert not set(first) & set(noises(seed=6)), "neighbouring seeds must share no episode"


def test_a_new_seed_reaches_every_task():
    env = TaskSequenceEnv(fake_sequence(length=3), switch_on="episode")

    def both(seed):
        return {info["task_name"]: obs[1] for obs, info in (env.reset(seed=seed), env.reset())}

    assert both(1) == both(1) != both(2)


@pytest.mark.parametrize("vec_env_cls", [DummyVecEnv, SubprocVecEnv])
def test_vec_env_seeds_and_methods(vec_env_cls):
    def first_obs():
        vec_env = make_vec_env(
            "sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0",
            n_envs=2,
            seed=3,
            env_kwargs={"n_envs": 2, "steps_per_task": 20},
            vec_env_cls=vec_env_cls,
        )
        try:
            obs = vec_env.reset()
            vec_env.env_method("fast_forward", 20)
            assert vec_env.get_attr("sequence_steps") == [20, 20]
            assert [sequence.task_names for sequence in vec_env.get_attr("task_sequence")] == [("east", "west")] * 2
            vec_env.reset()
            _, _, _, infos = vec_env.step(np.zeros((2, 2)))
            assert [info["task_name"] for info in infos] == ["west", "west"]
            assert [info["sequence_steps"] for info in infos] == [22, 22]
        finally:
            vec_env.close()
        return obs

    obs = first_obs()
    assert not np.allclose(obs[0], obs[1])
    np.testing.assert_array_equal(obs, first_obs())


def test_sequences_are_picklable():
    for sequence in (point_goal_sequence(), gymnasium_sequence(["Pendulum-v1"]), fake_sequence()):
        assert pickle.loads(pickle.dumps(sequence)).task_names == sequence.task_names


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
