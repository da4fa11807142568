"""A task sequence on vector environments: the same switches as sub-environments one by one, and agents that learn on it."""

import itertools
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from sb3_nbsp import NBSPDQN, NBSPPPO
from sb3_nbsp.tasks import GymnasiumVecEnv, Task, TaskSequence, TaskSequenceEnv, TaskSequenceVectorEnv

N_ENVS = 2


class Counter(gym.Env):
    """Counts its steps, in an observation of integers; episodes of five steps terminate."""

    observation_space = spaces.MultiDiscrete([100, 100])
    action_space = spaces.Discrete(2)

    def __init__(self, task: int) -> None:
        self.task = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.array([self.task, 0]), {"begun": True}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.array([self.task, self.steps]), float(self.task == action), self.steps == 5, False, {"count": self.steps}


def one(task: int, render_mode: str | None = None) -> gym.Env:
    return Counter(task)


def many(task: int, num_envs: int) -> VectorEnv:
    return SyncVectorEnv([partial(one, task)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def sequence(steps: Any = 16, cycles: int = 2) -> TaskSequence:
    return TaskSequence(
        tuple(Task(name, partial(one, i), make_vector=partial(many, i)) for i, name in enumerate("AB")), steps, cycles
    )


def test_it_switches_as_sub_environments_one_by_one_do() -> None:
    theirs = DummyVecEnv([lambda: TaskSequenceEnv(sequence((16, 24)), N_ENVS)] * N_ENVS)
    ours = GymnasiumVecEnv(TaskSequenceVectorEnv(sequence((16, 24)), N_ENVS))
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    assert ours.reset_infos == theirs.reset_infos
    for step in range(50):
        actions = np.array([step % 2, 1])
        obs, rewards, dones, infos = ours.step(actions)
        wanted_obs, wanted_rewards, wanted_dones, wanted_infos = theirs.step(actions)
        for got, wanted in ((obs, wanted_obs), (rewards, wanted_rewards), (dones, wanted_dones)):
            np.testing.assert_array_equal(got, wanted)
        for info, wanted_info in zip(infos, wanted_infos, strict=True):
            np.testing.assert_equal(info, wanted_info)
        assert ours.reset_infos == theirs.reset_infos
        assert ours.get_attr("sequence_steps") == theirs.get_attr("sequence_steps")


def test_it_goes_to_a_place() -> None:
    env = GymnasiumVecEnv(TaskSequenceVectorEnv(sequence(), N_ENVS))
    env.env_method("fast_forward", 20)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(N_ENVS, dtype=np.int64))
    env.reset()
    assert env.reset_infos[0]["task_name"] == "B" and env.reset_infos[1]["sequence_steps"] == 20
    done_at = [step for step in range(1, 10) if env.step(np.zeros(N_ENVS, dtype=np.int64))[3][0]["task_done"]]
    assert done_at == [6]  # 12 of the segment's 16 steps were left


def test_a_vector_env_is_seeded_anew_at_each_visit() -> None:
    seeds = []

    class Seeds(Counter):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            seeds.append(seed)
            return super().reset(seed=seed, options=options)

    def make_vector(num_envs: int) -> VectorEnv:
        return SyncVectorEnv([lambda: Seeds(0)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    tasks = tuple(Task(name, partial(one, 0), make_vector=make_vector) for name in "AB")
    env = GymnasiumVecEnv(TaskSequenceVectorEnv(TaskSequence(tasks, 4, cycles=2), N_ENVS))
    env.seed(7)
    env.reset()
    for _ in range(8):
        env.step(np.zeros(N_ENVS, dtype=np.int64))
    given = [seed for seed in seeds if seed is not None]
    assert len(given) == len(set(given)) == 4 * N_ENVS
    again, _ = itertools.tee(given)
    seeds.clear()
    env.seed(7)
    env.env_method("fast_forward", 0)
    env.reset()
    assert seeds == list(again)[:N_ENVS]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task_id": True, "make": 0}, "appends no ids"),
        ({"make_vector": None}, r"'A' cannot make a vector env .*TaskSequenceEnv"),
        ({"steps": 1}, "shortest segment"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    make: Any = partial(gym.make, "Pendulum-v1") if "make" in settings else partial(one, 0)
    tasks = (Task("A", make, make_vector=settings.get("make_vector", partial(many, 0))),)
    with pytest.raises(ValueError, match=message):
        TaskSequenceVectorEnv(TaskSequence(tasks, settings.get("steps", 10), task_id=settings.get("task_id", False)), N_ENVS)


def test_spaces_that_differ_are_refused() -> None:
    tasks = (
        Task("A", partial(one, 0), make_vector=partial(many, 0)),
        Task("P", lambda _: gym.make("Pendulum-v1"), make_vector=many),
    )
    with pytest.raises(ValueError, match="share their spaces: 'P'"):
        TaskSequenceVectorEnv(TaskSequence(tasks, 10), N_ENVS)


@pytest.mark.parametrize("make_model", [
    lambda env: NBSPPPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, scoring_steps=10, memory_size=4),
    lambda env: NBSPDQN("MlpPolicy", env, learning_starts=4, scoring_steps=10, memory_size=4, buffer_size=100),
])  # fmt: skip
def test_agents_hold_and_remember_every_task(make_model: Any) -> None:
    env = VecMonitor(GymnasiumVecEnv(TaskSequenceVectorEnv(sequence(48), N_ENVS)))
    model = make_model(env)
    model.learn(sequence(48).total_steps)
    assert sorted(model.learned_tasks) == ["A", "B"]
    assert model.position.is_finished and env.unwrapped.get_attr("sequence_steps") == [192, 192]


def test_a_checkpoint_goes_on_at_its_place(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "scoring_steps": 10, "memory_size": 4, "seed": 3}

    def made() -> VecMonitor:
        return VecMonitor(GymnasiumVecEnv(TaskSequenceVectorEnv(sequence(48), N_ENVS)))

    NBSPPPO("MlpPolicy", made(), **settings).learn(60).save_checkpoint(tmp_path)
    ends = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="begin anew, the same way"):
            model = NBSPPPO.load_checkpoint(tmp_path, made())
        assert model.position.steps == 64 and model.learned_tasks == ["A"]
        model.learn(96, reset_num_timesteps=False)
        assert model.learned_tasks == ["A", "B"]
        ends.append(model.get_parameters()["policy"])
    for name, value in ends[0].items():
        np.testing.assert_array_equal(ends[1][name], value)
