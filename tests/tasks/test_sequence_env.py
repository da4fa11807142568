"""How a sequence's env switches. The fake task counts its steps, so every answer is known."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from helpers.counting_env import ACTION, done_steps, fake_sequence, roll
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp.tasks import (
    TaskSequenceEnv,
)


@pytest.mark.known_answer
def test_switches_at_the_exact_step():
    records = roll(TaskSequenceEnv(fake_sequence(steps_per_task=7)), 20)
    assert done_steps(records) == [7, 14]
    # Episodes of 3 steps: 3, 6, cut at 7, then counted anew in the next task; after the end it stays on the last task.
    assert [n for n, (_, truncated, _) in enumerate(records, 1) if truncated] == [3, 6, 7, 10, 13, 14, 17, 20]
    assert not any(terminated for terminated, _, _ in records)
    assert [info["task_name"] for _, _, info in records] == ["a"] * 7 + ["b"] * 13
    assert [info["segment"] for _, _, info in records] == [0] * 7 + [1] * 13
    assert [info["sequence_steps"] for _, _, info in records] == list(range(1, 21))


@pytest.mark.known_answer
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


@pytest.mark.known_answer
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


def test_a_number_of_sub_envs_given_as_text_is_shown_as_such():
    with pytest.raises(ValueError, match=r"n_envs must lie between 1 and .*, got '2'"):
        TaskSequenceEnv(fake_sequence(), n_envs="2")


@pytest.mark.known_answer
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


def test_where_no_episode_runs_there_is_a_place_all_the_same():
    env, other = TaskSequenceEnv(fake_sequence(steps_per_task=5)), TaskSequenceEnv(fake_sequence(steps_per_task=5))
    env.fast_forward(np.int64(8))
    assert other.restore_episode(env.episode_state()) is False
    assert other.reset()[1]["task_name"] == "b" and type(other.sequence_steps) is int


@pytest.mark.known_answer
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


@pytest.mark.parametrize("n_envs", [1, 2, 3])
def test_an_evaluation_with_as_many_episodes_as_are_told_judges_every_task_alike(n_envs):
    """Each sub-env takes turns of its own."""
    seen = []

    def note(now, _):
        if now["done"]:
            seen.append(now["info"]["task_name"])

    envs = [partial(TaskSequenceEnv, fake_sequence(), switch_on=switch_on) for switch_on in ("episode", "steps")]
    judged = DummyVecEnv([envs[0]] * n_envs)
    model = PPO("MlpPolicy", judged, n_steps=2, batch_size=2, device="cpu")
    with pytest.warns(UserWarning, match="a multiple of the number of tasks, 2, times that of the env's sub-envs"):
        evaluate_policy(model, DummyVecEnv(envs[1:]), 1)
    for _ in range(2):  # the turns go on
        seen.clear()
        evaluate_policy(model, judged, 2 * n_envs, callback=note)
        assert sorted(seen) == ["a"] * n_envs + ["b"] * n_envs
