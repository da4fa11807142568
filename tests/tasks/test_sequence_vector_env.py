"""A task sequence on vector environments: the same switches as sub-environments one by one, and agents that learn on it."""

import itertools
from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
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


class InDict(Counter):
    """The same in a dict, beside an observation of another kind."""

    observation_space = spaces.Dict({"count": Counter.observation_space, "half": spaces.Box(0, 9, (1,), np.float32)})

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(**kwargs)
        return self._in_dict(obs), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, *rest = super().step(action)
        return self._in_dict(obs), *rest

    def _in_dict(self, obs: Any) -> dict[str, Any]:
        return {"count": obs, "half": np.array([self.steps / 2], dtype=np.float32)}


class InDoubles(InDict):
    """The same as float64."""

    observation_space = spaces.Box(0, 9, (2,), np.float64)

    def _in_dict(self, obs: Any) -> Any:
        return obs / 3


def one(task: int, render_mode: str | None = None, cls: type[Counter] = Counter) -> gym.Env:
    return cls(task)


def many(task: int, num_envs: int, cls: type[Counter] = Counter, **kwargs: Any) -> VectorEnv:
    settings = {"autoreset_mode": AutoresetMode.SAME_STEP, **kwargs}
    return SyncVectorEnv([partial(one, task, cls=cls)] * num_envs, **settings)


def sequence(steps: Any = 16, cycles: int = 2, cls: type[Counter] = Counter, **kwargs: Any) -> TaskSequence:
    makers = ((partial(one, i, cls=cls), partial(many, i, cls=cls, **kwargs)) for i in range(2))
    tasks = (Task(name, make, make_vector=make_vector) for name, (make, make_vector) in zip("AB", makers, strict=True))
    return TaskSequence(tuple(tasks), steps, cycles)


@pytest.mark.parametrize("steps", [(16, 24), (20, 30)])  # with 20 and 30 an episode of five steps ends where the task does
@pytest.mark.parametrize("cls", [Counter, InDict, InDoubles])
@pytest.mark.parametrize("copy", [True, False])
def test_it_switches_as_sub_environments_one_by_one_do(steps: tuple[int, int], cls: type[Counter], copy: bool) -> None:
    theirs = DummyVecEnv([lambda: TaskSequenceEnv(sequence(steps, cls=cls), N_ENVS)] * N_ENVS)
    ours = GymnasiumVecEnv(TaskSequenceVectorEnv(sequence(steps, cls=cls, copy=copy), N_ENVS))
    seen, wanted_seen = [ours.reset()], [theirs.reset()]
    assert ours.reset_infos == theirs.reset_infos
    for step in range(60):
        actions = np.array([step % 2, 1])
        (obs, *told), (wanted_obs, *wanted) = ours.step(actions), theirs.step(actions)
        np.testing.assert_equal(told, wanted)
        if not isinstance(obs, dict):
            last = told[2][0].get("terminal_observation", obs[0])
            assert obs.dtype == last.dtype == ours.observation_space.dtype
        seen, wanted_seen = [*seen, obs], [*wanted_seen, deepcopy(wanted_obs)]
        assert ours.reset_infos == theirs.reset_infos
        assert ours.get_attr("sequence_steps") == theirs.get_attr("sequence_steps")
    np.testing.assert_equal(seen, wanted_seen)  # here: also an observation that is looked at later is what it was


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
        ({"make_vector": None}, r"'A' cannot make a vector env.*TaskSequenceEnv"),
        ({"steps": 1}, "shortest segment"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    make: Any = partial(gym.make, "Pendulum-v1") if "make" in settings else partial(one, 0)
    tasks = (Task("A", make, make_vector=settings.get("make_vector", partial(many, 0))),)
    with pytest.raises(ValueError, match=message):
        TaskSequenceVectorEnv(TaskSequence(tasks, settings.get("steps", 10), task_id=settings.get("task_id", False)), N_ENVS)


@pytest.mark.parametrize(
    ("make", "make_vector", "error", "message"),
    [
        (lambda _: gym.make("Pendulum-v1"), partial(many, 0), ValueError, "observation space: task 'A' has .*, task 'B' has"),
        (partial(one, 0), partial(many, 0, cls=InDict), ValueError, "the vector env of task 'B' has Dict"),
        (partial(one, 0), lambda n: many(0, n + 1), ValueError, "'B' must make 2 .* got 3 with SAME_STEP"),
        (partial(one, 0), partial(many, 0, autoreset_mode=AutoresetMode.NEXT_STEP), ValueError, "'B' .*got 2 with NEXT_STEP"),
        (partial(one, 0), partial(many, 0, autoreset_mode=AutoresetMode.DISABLED), ValueError, "'B' .*got 2 with DISABLED"),
        (partial(one, 0), lambda n: one(0), TypeError, r"'B' must make a gymnasium\.vector\.VectorEnv"),
    ],
)  # fmt: skip
def test_a_later_tasks_mistake_is_told_before_training(make: Any, make_vector: Any, error: Any, message: str) -> None:
    tasks = (Task("A", partial(one, 0), make_vector=partial(many, 0)), Task("B", make, make_vector=make_vector))
    with pytest.raises(error, match=message):
        TaskSequenceVectorEnv(TaskSequence(tasks, 10), N_ENVS)


def test_only_one_vector_env_is_open_at_a_time() -> None:
    made: list[VectorEnv] = []

    def make_vector(num_envs: int) -> VectorEnv:
        assert all(env.closed for env in made)
        made.append(many(0, num_envs))
        return made[-1]

    env = TaskSequenceVectorEnv(
        TaskSequence(tuple(Task(n, partial(one, 0), make_vector=make_vector) for n in "AB"), 4), N_ENVS
    )
    env.reset()
    for _ in range(3):
        env.step(np.zeros(N_ENVS, dtype=np.int64))
    env.close()
    assert len(made) == 4 and made[-1].closed
    with pytest.raises(gym.error.ClosedEnvironmentError, match="Make a new one"):
        env.reset()


def of_vector_tasks(*makers: Any) -> TaskSequence:
    tasks = (Task(name, partial(one, 0), make_vector=maker) for name, maker in zip("AB", makers, strict=True))
    return TaskSequence(tuple(tasks), 16)


def test_two_sub_environments_are_enough_to_look_at() -> None:
    asked: list[int] = []

    def make_vector(num_envs: int) -> VectorEnv:
        asked.append(num_envs)
        return many(0, num_envs)

    for num_envs in (1, 2, 8):
        TaskSequenceVectorEnv(of_vector_tasks(make_vector, make_vector), num_envs).reset()
    assert asked == [1, 1, 1, 2, 2, 2, 2, 2, 8]


def only_eight(num_envs: int) -> VectorEnv:
    assert num_envs == 8, "a multiple of 8 is needed"
    return many(0, num_envs)


@pytest.mark.parametrize("make_vector", [only_eight, lambda num_envs: many(0, 8)])
def test_a_task_that_makes_this_number_only_is_looked_at_with_it(make_vector: Any) -> None:
    TaskSequenceVectorEnv(of_vector_tasks(partial(many, 0), make_vector), 8).reset()
    message = r"(?s)a multiple of 8 is needed.* \(This came up while task 'B' was made\.\)|'B' must make 16 .*, got 8"
    with pytest.raises((AssertionError, ValueError), match=message):
        TaskSequenceVectorEnv(of_vector_tasks(partial(many, 0), make_vector), 16)


def at_most_four(num_envs: int) -> VectorEnv:
    if num_envs > 4:
        raise MemoryError("no room")
    return many(0, num_envs)


def test_what_fails_only_with_all_sub_environments_names_its_task_where_it_begins() -> None:
    with pytest.raises(ValueError, match=r"'A' must make 8 sub-environments .*, got 2"):
        TaskSequenceVectorEnv(of_vector_tasks(lambda num_envs: many(0, 2), partial(many, 0)), 8).reset()
    env = TaskSequenceVectorEnv(of_vector_tasks(partial(many, 0), at_most_four), 8)
    env.reset()
    env.step(np.zeros(8, dtype=np.int64))
    with pytest.raises(MemoryError, match=r"no room \(This came up while task 'B' was made\.\)"):
        env.step(np.zeros(8, dtype=np.int64))


def test_tasks_are_no_sequence() -> None:
    with pytest.raises(TypeError, match=r"sequence must be a sb3_nbsp\.tasks\.TaskSequence"):
        TaskSequenceVectorEnv(sequence().tasks, N_ENVS)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", [PPO, NBSPPPO])
def test_an_evaluation_on_it_is_told_what_it_sees(cls: Any) -> None:
    env = VecMonitor(GymnasiumVecEnv(TaskSequenceVectorEnv(sequence(), N_ENVS)))
    model = cls("MlpPolicy", env, n_steps=8, batch_size=8)
    with pytest.warns(
        UserWarning, match=r"here 'A', .*its 16 steps .*number of tasks, 2, times that of the env's sub-envs"
    ) as told:
        evaluate_policy(model, env, 2)
        evaluate_policy(model, env, 2)
    assert len(told) == 1


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
