"""Tasks and what a sequence of them is: counting, observations, spaces, seeds. The fake task counts its steps."""

import pickle
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers.counting_env import ACTION, CountingEnv, fake_sequence, fake_task, roll
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_nbsp.tasks import (
    Task,
    TaskSequence,
    TaskSequenceEnv,
    gymnasium_sequence,
    point_goal_sequence,
)

# --- TaskSequence ---


@pytest.mark.known_answer
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
        ({"tasks": (fake_task("a"), fake_task("b"), fake_task("a"))}, ValueError, r"distinct.*order=\('a', 'b', 'a'\)"),
        ({"steps_per_task": 0}, ValueError, "steps_per_task must be a whole number of env steps, 1 or more"),
        ({"steps_per_task": (5,)}, ValueError, r"one per task \(2\); got \(5,\)"),
        ({"steps_per_task": (5, -1)}, ValueError, "1 or more"),
        ({"steps_per_task": 1e4}, ValueError, "steps_per_task"),
        ({"steps_per_task": "10"}, ValueError, "got '10'"),
        ({"steps_per_task": (5, 1.5)}, ValueError, "whole number"),
        ({"cycles": 0}, ValueError, "cycles"),
        ({"cycles": True}, ValueError, "cycles"),
    ],
)
def test_sequence_refuses(kwargs, error, words):
    valid = {"tasks": (fake_task("a"), fake_task("b")), "steps_per_task": 5}
    with pytest.raises(error, match=words):
        TaskSequence(**{**valid, **kwargs})


def test_numbers_of_numpy_are_plain_ones():
    tasks = (fake_task("a"), fake_task("b"))
    for steps in (np.int64(5), (np.int64(5), np.int32(5)), [5, 5]):
        sequence = TaskSequence(tasks, steps, np.int64(2), np.int64(3))
        assert sequence.segments == ("a", "b", "a", "b") and sequence.segment_steps == (5,) * 4
        numbers = (*sequence.segment_steps, sequence.cycles, sequence.task_id, sequence.id_width, sequence.total_steps)
        assert {type(number) for number in numbers} == {int}


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
    with pytest.raises(gym.error.ClosedEnvironmentError, match="Make a new one"):
        env.reset()
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
