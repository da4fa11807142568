"""An agent that was trained with the task's id acts on envs that do not give it."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import copied, same
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize

from sb3_nbsp import NBSPSAC
from sb3_nbsp.task_ids import FirstObservations, InferredTaskId
from sb3_nbsp.task_ids.first_observations import first_observations
from sb3_nbsp.tasks import GymnasiumVecEnv, Task, TaskSequence, TaskSequenceEnv
from sb3_nbsp.tasks.point_goal import GOALS, PointGoalEnv

HORIZON, EPISODES = 3, 25
STEPS = HORIZON * EPISODES
pytestmark = pytest.mark.filterwarnings(
    "ignore:The goal metric", "ignore:A task has", "ignore:.*without a single update", "ignore:.*gets no neurons",
    "ignore:.*of its neurons free", "ignore:The sequence has",
)  # fmt: skip


class GoalShown(gym.ObservationWrapper):
    """The point mass with something by which its tasks can be told: about where the goal is."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-9.0, 9.0, (6,), np.float64)

    def observation(self, observation):
        return np.concatenate([observation, GOALS[self.name] + self.np_random.normal(0.0, 0.1, 2)])


def make(name, render_mode=None, shown=True):
    env = PointGoalEnv(name, horizon=HORIZON)
    if shown:
        env = GoalShown(env)
        env.name = name
    return env


def sequence(task_id=True, shown=True, steps=STEPS, **kwargs):
    tasks = tuple(Task(name, partial(make, name, shown=shown)) for name in ("east", "west"))
    return TaskSequence(tasks, steps, task_id=task_id, **kwargs)


def trained(cls=SAC, steps=2 * STEPS, callback=None, env=None, **kwargs):
    own = {"n_steps": 25, "batch_size": 25} if cls is PPO else {"learning_starts": 1000}
    model = cls("MlpPolicy", env or TaskSequenceEnv(sequence()), seed=0, policy_kwargs={"net_arch": [8]}, **{**own, **kwargs})
    return model.learn(steps, callback=FirstObservations() if callback is None else callback)


class Half(gym.ObservationWrapper):
    """Three entries: two observations have as many as one of training."""

    def __init__(self):
        super().__init__(plain_env())
        self.observation_space = gym.spaces.Box(-9.0, 9.0, (3,), np.float64)

    def observation(self, observation):
        return observation[:3]


def plain_env(task="west", shown=True):
    return sequence(task_id=False, shown=shown).make_task_env(task)


@pytest.mark.parametrize("cls", [SAC, PPO])
def test_the_newest_first_observations_of_each_task_are_kept_without_their_id(cls):
    callback = FirstObservations(memory_size=20)
    model = trained(cls, callback=callback)
    kept, spread = first_observations(model)
    assert {task: rows.shape for task, rows in kept.items()} == {"east": (20, 6), "west": (20, 6)}
    assert callback.state["n_summed"] == 2 * len(callback.model.ep_info_buffer) == 4 * EPISODES
    assert 0.02 < spread[0] < 0.5 and spread[2] > 0.05 and 0.9 < spread[4] < 1.1  # velocity is 0 where episodes begin
    for task, rows in kept.items():
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows[:, 4:].mean(axis=0), GOALS[task], atol=0.2)
        assert np.abs(rows[:, :2]).max() <= 0.1 and not rows[:, 2:4].any()  # where episodes begin


def test_training_is_left_alone():
    gated = {"task_gates": True, "memory_size": 0, "scoring_steps": 60, "learning_starts": 20}
    one = trained(NBSPSAC, **gated)
    other = trained(NBSPSAC, callback=[], **gated)
    assert same(copied(one.policy.state_dict()), copied(other.policy.state_dict()))


def test_an_agent_with_gates_acts_from_a_file_as_with_the_true_id(tmp_path):
    model = trained(NBSPSAC, task_gates=True, memory_size=0, scoring_steps=60, learning_starts=20)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model")
    for task in ("east", "west"):
        env, with_id = InferredTaskId(plain_env(task), loaded), loaded._wrap_env(sequence().make_task_env(task), verbose=0)
        returns = []
        for judged in (env, with_id):
            judged.seed(7)
            returns.append(evaluate_policy(loaded, judged, 6, return_episode_rewards=True)[0])
        assert returns[0] == returns[1]
        assert env.inferred_tasks == [task]


def test_each_sub_env_is_told_at_each_reset_and_keeps_its_id_to_the_episodes_end():
    model = trained()
    turns = partial(TaskSequenceEnv, sequence(task_id=False), switch_on="episode")
    env = InferredTaskId(DummyVecEnv([turns, partial(plain_env, "west")]), model)
    assert env.observation_space == model.observation_space
    observation = env.reset()
    assert observation.dtype == np.float32
    for episode in range(4):
        expected = [("east", "west")[episode % 2], "west"]
        for _ in range(HORIZON):
            assert env.inferred_tasks == expected
            np.testing.assert_array_equal(observation[:, 6:], [[name == "east", name == "west"] for name in expected])
            observation, _, dones, infos = env.step(model.predict(observation)[0])
            assert [info["inferred_task"] for info in infos] == expected
        assert dones.all()
        last = infos[0]["terminal_observation"]
        assert last in model.observation_space and last[6:].tolist() == [name == expected[0] for name in ("east", "west")]


def test_it_works_in_gymnasiums_vector_envs():
    def vector_env(make):
        return VecMonitor(GymnasiumVecEnv(SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP)))

    gated = {"task_gates": True, "memory_size": 0, "scoring_steps": 60, "learning_starts": 20}
    model = trained(NBSPSAC, 4 * STEPS, env=vector_env(lambda: TaskSequenceEnv(sequence(steps=2 * STEPS), 2)), **gated)
    assert InferredTaskId(vector_env(plain_env), model).reset()[:, 6:].tolist() == [[0, 1]] * 2


def test_a_reserved_id_keeps_its_place():
    model = trained(env=TaskSequenceEnv(sequence(task_id=5)))
    assert InferredTaskId(plain_env("west"), model).reset()[:, 6:].tolist() == [[0, 1, 0, 0, 0]]


def test_tasks_that_look_alike_are_named_at_the_tasks_end_and_refused():
    env = TaskSequenceEnv(sequence(shown=False))
    with pytest.warns(UserWarning, match="cannot be told apart.*east looks like west.*west looks like east"):
        model = trained(env=env)
    with pytest.raises(ValueError, match=r"east looks like west.*west looks like east.*task_id=True"):
        InferredTaskId(plain_env(shown=False), model)


def test_a_task_that_is_being_learned_counts_once_it_was_seen():
    model = trained(steps=STEPS)
    assert list(first_observations(model)[0]) == ["east"]
    assert InferredTaskId(plain_env("east"), model).reset()[:, 6:].tolist() == [[1, 0]]
    model = trained(steps=STEPS + 10 * HORIZON)
    with pytest.raises(ValueError, match="west has 11 first observations"):
        InferredTaskId(plain_env("east"), model)


def test_training_that_goes_on_from_a_file_goes_on_keeping(tmp_path):
    whole = trained()
    half = trained(steps=STEPS + 30)
    half.save(tmp_path / "model")
    loaded = SAC.load(tmp_path / "model")
    assert same(loaded.baseline_states, half.baseline_states)
    env = TaskSequenceEnv(sequence())
    env.fast_forward(STEPS + 30)
    loaded.set_env(env)
    loaded.learn(STEPS - 30, callback=FirstObservations(), reset_num_timesteps=False)
    counts = [{task: len(rows) for task, rows in first_observations(model)[0].items()} for model in (whole, loaded)]
    assert counts[0] == counts[1]


def test_what_cannot_work_is_refused_in_words():
    with pytest.raises(ValueError, match="kept no first observations"):
        InferredTaskId(plain_env(), trained(callback=[], steps=3))
    with pytest.raises(ValueError, match=r"observations of shape \(6,\)"):
        InferredTaskId(plain_env(shown=False), trained())
    with pytest.raises(ValueError, match=r"observations of shape \(6,\)"):
        InferredTaskId(sequence().make_task_env("east"), trained())  # ends in the id already
    model = trained()
    normalised = VecNormalize(DummyVecEnv([plain_env]))
    for env in (normalised, VecMonitor(normalised)):
        with pytest.raises(ValueError, match=r"InferredTaskId needs .*norm_obs=False"):
            InferredTaskId(env, model)
    assert InferredTaskId(VecNormalize(DummyVecEnv([plain_env]), norm_obs=False), model).reset()[:, 6:].tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="InferredTaskId needs observations as the task sequence gives them: not stacked"):
        InferredTaskId(VecFrameStack(DummyVecEnv([Half]), 2), model)
    for env in (TaskSequenceEnv(sequence(task_id=False)), plain_env()):
        with pytest.raises(ValueError, match="task_id=True"):
            trained(env=env, steps=3)
    with pytest.raises(ValueError, match="norm_obs=False"):
        trained(env=VecNormalize(DummyVecEnv([lambda: TaskSequenceEnv(sequence())])), steps=3)
    with pytest.raises(ValueError, match="memory_size"):
        FirstObservations(memory_size=0)
    with pytest.raises(ValueError, match="at least 20, got 19"):
        FirstObservations(memory_size=19)
