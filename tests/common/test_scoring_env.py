"""Scoring on a ``VecEnv`` of several sub-envs: what its steps are, for every class, by hand and within ``learn()``."""

import csv
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers.common import TimeLimit
from helpers import HORIZON, toy_sequence, toy_sequence_env
from helpers.cases import PPO_CASE, SAC_CASE, every_case, on_cases
from rl_zoo3.gym_patches import PatchedTimeLimit
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecMonitor, VecNormalize

from sb3_nbsp.common.env_util import wrap_like
from sb3_nbsp.common.scoring_env import steps_on_task
from sb3_nbsp.tasks import PointGoalEnv

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


class Numbered(gym.Env):
    """Observes its number, its episode's number and the step's; its episodes are 3 + number steps long."""

    def __init__(self, number, keyed=False):
        self.number, self.keyed, self.episode = number, keyed, -1
        box = spaces.Box(0, 100, (3,), np.float32)
        self.observation_space = spaces.Dict({"all": box, "last": box}) if keyed else box
        self.action_space = spaces.Box(-1.0, 1.0, (2,))

    def observe(self):
        seen = np.array([self.number, self.episode, self.n_steps], dtype=np.float32)
        return {"all": seen, "last": seen + 1} if self.keyed else seen

    def reset(self, *, seed=None, options=None):
        self.episode, self.n_steps = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action):
        self.n_steps += 1
        ended, terminated = self.n_steps == 3 + self.number, self.number % 2 == 0
        info = {"is_success": float(self.episode % 2)} if ended else {}
        return self.observe(), float(self.n_steps), ended and terminated, ended and not terminated, info


@pytest.mark.parametrize("keyed", [False, True])
def test_a_sub_envs_steps_stand_together(keyed):
    env = DummyVecEnv([lambda i=i: Numbered(i, keyed) for i in range(3)])
    model = SAC_CASE.made(Numbered(0, keyed), policy="MultiInputPolicy" if keyed else "MlpPolicy")
    steps = steps_on_task(model, env, "A", 20, seed=0)  # rounded up to 21, 7 of each
    seen, after = (o["all"] if keyed else o for o in (steps.observations, steps.next_observations))
    assert seen[:, 0].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert seen[:, 2].tolist() == [0, 1, 2, 0, 1, 2, 0, 0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 0, 1]
    assert np.array_equal(after, seen + np.array([0, 0, 1]))  # the last observation of an episode too
    assert np.array_equal(steps.rewards, after[:, 2]) and steps.actions.shape == (21, 2)
    ends = [2, 5, 10, 18]
    assert np.flatnonzero(steps.episode_ends).tolist() == ends and np.flatnonzero(steps.dones).tolist() == [2, 5, 18]
    assert np.flatnonzero(steps.episode_starts).tolist() == [0, 3, 6, 7, 11, 14, 19]
    whole = 6, 6, 10, 15
    cut = sum(whole) / 4
    assert steps.goal("return").tolist() == [6] * 6 + [cut] + [10] * 4 + [cut] * 3 + [15] * 5 + [cut] * 2
    assert steps.goal("success").tolist() == [0] * 3 + [1] * 3 + [0.25] + [0] * 4 + [0.25] * 3 + [0] * 5 + [0.25] * 2


class Within(BaseCallback):
    """Does something with the model at step 48."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def _on_step(self):
        if self.num_timesteps == 48:
            self.what(self.model)
        return True


@every_case
def test_by_hand_and_within_learn(case):
    """However many sub-envs training has, and on the training env itself."""
    model = case.made(case.point_goal(4))
    model.learn(96, callback=Within(lambda model: model.consolidate(case.point_goal(4), task="A")))
    assert model.score_neurons(case.point_goal(3), "B").n_steps == 60
    model.consolidate(task="B")
    model.learn(48, reset_num_timesteps=False).consolidate(case.point_goal(2), "C")
    assert model.learned_tasks == ["A", "B", "C"] and len(model.memory) > 0
    for skill in model.skill_neurons.values():
        assert skill.n_steps == 60 and skill.goal_metric in ("success", "reward")
    assert all(bool(p.isfinite().all()) for p in model.policy.parameters())


@on_cases(SAC_CASE, PPO_CASE)
@pytest.mark.parametrize("vec_env", [DummyVecEnv, SubprocVecEnv])
def test_wrapped_as_the_training_env_is(case, vec_env):
    def wrapped(n_envs, kind=DummyVecEnv):
        return VecNormalize(VecFrameStack(kind([lambda: Monitor(PointGoalEnv("east", horizon=HORIZON))] * n_envs), 2))

    model = case.made(wrapped(2)).learn(64)
    own = wrapped(3, vec_env)
    own.obs_rms = model.env.obs_rms
    count = own.obs_rms.count
    assert model.score_neurons(own, "A").to_dict() == model.score_neurons(own, "A").to_dict()
    assert model.consolidate(own, "A").n_steps == 60 and own.obs_rms.count == count
    own.close()


class Far(PointGoalEnv):
    """Observes what only a normalised policy can read."""

    def step(self, action):
        observation, *rest = super().step(action)
        return observation + 1000, *rest


@on_cases(SAC_CASE, PPO_CASE)
def test_observations_are_normalised_as_in_training_or_refused(case):
    def far():
        return DummyVecEnv([lambda: Monitor(Far("east", horizon=HORIZON))])

    model = case.made(VecNormalize(far())).learn(64)
    for env, words in (
        (far(), "does not normalise"),
        (model.env.venv, "does not norm"),
        (VecNormalize(far()), "other statis"),
    ):
        with pytest.raises(ValueError, match=f"{words}.*Pass the plain Gymnasium env.*env.obs_rms ="):
            model.consolidate(env, "A")
        with pytest.raises(ValueError, match=words):
            model.score_neurons(env, "A")
    shared = VecNormalize(far())
    shared.obs_rms = model.get_vec_normalize_env().obs_rms
    for env in (Far("east", horizon=HORIZON), shared):
        assert abs(steps_on_task(model, env, "A", 20, seed=0).observations).max() <= 10
    with pytest.raises(ValueError, match=r"normalises observations .*and the training env does not"):
        case.made(far()).consolidate(VecNormalize(far()), "A")
    assert model.learned_tasks == []


@on_cases(SAC_CASE, PPO_CASE)
def test_a_plain_env_is_stacked_as_in_training(case):
    model = case.made(VecFrameStack(case.point_goal(), 2)).learn(64)
    steps = steps_on_task(model, PointGoalEnv("east", horizon=HORIZON), "A", 20, seed=0)
    assert steps.observations.shape == (20, *model.observation_space.shape)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        model.consolidate(Numbered(0), "A")


SQUARE = spaces.Box(-1.0, 1.0, (4, 4))
SQUARES = spaces.Dict({"rows": SQUARE, "columns": SQUARE})


@on_cases(SAC_CASE)
@pytest.mark.parametrize("order", ["first", "last", {"rows": "first", "columns": "last"}])
def test_frames_are_stacked_on_the_axis_of_training(case, order):
    keyed = isinstance(order, dict)
    space = SQUARES if keyed else SQUARE
    env = VecFrameStack(toy_sequence_env(space=space, steps=32), 3, channels_order=order)
    assert wrap_like(env, toy_sequence(space).make_task_env("a")).observation_space == env.observation_space
    model = case.made(env, "MultiInputPolicy" if keyed else "MlpPolicy").learn(64)
    assert model.learned_tasks == ["a", "b"]


class Doubled(VecFrameStack):
    """Not what its parent makes."""

    def __init__(self, venv):
        super().__init__(venv, 2)
        self.observation_space = spaces.Box(-1.0, 1.0, (4, 16))

    def reset(self):
        return np.tile(super().reset(), 2)


@on_cases(SAC_CASE, PPO_CASE)
def test_wrappers_that_cannot_be_repeated_are_told_before_training(case):
    model = case.made(Doubled(toy_sequence_env(space=SQUARE)))
    with pytest.raises(ValueError, match=r"give observations in Box.*\(4, 16\).*repeated .*\(4, 8\)"):
        model.learn(32)
    assert model.num_timesteps == 0


@on_cases(SAC_CASE, PPO_CASE)
def test_a_sequence_of_several_sub_envs_is_not_stepped(case):
    model = case.made(case.point_goal()).learn(48)
    sequence = case.sequence_env(4)
    with pytest.raises(ValueError, match="the env of one task, got one that goes through a task sequence"):
        case.made(sequence).consolidate(sequence, "east")
    with pytest.raises(ValueError, match="the env of one task, got one that goes through a task sequence"):
        model.score_neurons(sequence, "east")
    assert sequence.get_attr("sequence_steps") == [0] * 4


@on_cases(SAC_CASE, PPO_CASE)
def test_no_rows_in_a_monitor_around_all_sub_envs(case, tmp_path):
    plain = DummyVecEnv([lambda: PointGoalEnv("east", horizon=HORIZON, discrete=case.discrete)] * 4)
    model = case.made(VecMonitor(plain, str(tmp_path / "all"))).learn(80)
    before = rows(tmp_path)
    model.consolidate(task="A")
    assert rows(tmp_path) == before
    model.learn(80, reset_num_timesteps=False)
    assert len(rows(tmp_path)) > len(before) > 0 and {int(row["l"]) for row in rows(tmp_path)} == {HORIZON}


def rows(folder):
    with (folder / "all.monitor.csv").open() as file:
        file.readline()
        return list(csv.DictReader(file))


class Tenth(gym.ObservationWrapper):
    """Observations of another size in the same space."""

    def observation(self, observation):
        return observation * 0.1


@pytest.mark.parametrize("vec", [DummyVecEnv, None], ids=["vec env", "env"])
def test_an_env_that_is_wrapped_otherwise_than_in_training_is_told(vec):
    def make():
        return Tenth(PointGoalEnv("east", horizon=HORIZON))

    model = SAC_CASE.made(make() if vec is None else vec([make])).learn(40)
    with pytest.warns(UserWarning, match="is wrapped in nothing, the training env in Tenth"):
        model.consolidate(PointGoalEnv("east", horizon=HORIZON), "east")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The env to score on")
        model.consolidate(Monitor(make()), "east")
        for limit in (TimeLimit, PatchedTimeLimit):
            model.consolidate(gym.wrappers.TransformReward(limit(make(), 99), float), "east")
        model.consolidate(DummyVecEnv([make]), "east")
        model.consolidate(task="east")
