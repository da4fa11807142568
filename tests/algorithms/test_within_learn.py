"""``consolidate()`` and ``score_neurons()`` within ``learn()``, from a callback; monitors that see nothing of scoring."""

import csv

import numpy as np
import pytest
from helpers import HORIZON
from helpers.cases import PPO_CASE, SAC_CASE, every_case, off_policy_cases
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp.tasks import PointGoalEnv

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


class At(BaseCallback):
    """Does something at a step, and notes the observations of each task."""

    def __init__(self, step, what):
        super().__init__()
        self.step, self.what = step, what

    def _on_step(self):
        if self.num_timesteps == self.step:
            self.what(self.model)
        return True


def goal(case, name):
    return PointGoalEnv(name, horizon=HORIZON, discrete=case.discrete)


def own_env(case, name="east"):
    return DummyVecEnv([lambda: Monitor(goal(case, name))])


@every_case
@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("call", ["consolidate", "score_neurons"])
def test_on_an_env_of_its_own(case, n_envs, call):
    model = case.made(case.point_goal(n_envs))
    model.learn(128, callback=At(48, lambda model: getattr(model, call)(own_env(case), task="A")))
    assert model.learned_tasks == (["A"] if call == "consolidate" else [])
    assert all(bool(p.isfinite().all()) for p in model.policy.parameters()) and model._n_updates > 0
    if call == "consolidate":
        model.consolidate(own_env(case), "B")
        # The step in flight, the 48th of A, is in neither memory.
        assert (len(model.memory._tasks[0]), len(model.memory._tasks[1])) == (48 - n_envs, min(50, 128 - 48))
        assert model.learned_tasks == ["A", "B"]


@every_case
def test_the_step_in_flight_is_not_the_next_tasks(case):
    """Its observation is marked by the env."""

    class Counting(PointGoalEnv):
        steps = 0

        def step(self, action):
            type(self).steps += 1
            observation, *rest = super().step(action)
            return np.full_like(observation, type(self).steps), *rest

    env = DummyVecEnv([lambda: Monitor(Counting("east", horizon=1000, discrete=case.discrete))])
    model = case.made(env, memory_size=200)
    model.learn(96, callback=At(40, lambda model: model.consolidate(own_env(case), task="A")))
    model.consolidate(own_env(case), "B")
    a, b = (model.memory._tasks[task].observations[:, 0] for task in range(2))
    assert a.max() <= 39 and b.min() >= 40  # an action follows on the observation of its step before


@off_policy_cases
def test_training_that_is_stopped_in_that_step_loses_no_other(case):
    def stop(model):
        model.consolidate(own_env(case), task="A")
        raise KeyboardInterrupt

    model = case.made(case.point_goal())
    with pytest.raises(KeyboardInterrupt):
        model.learn(60, callback=At(30, stop))
    model.learn(10, reset_num_timesteps=False)
    assert model.replay_buffer.size() == 10


@every_case
@pytest.mark.parametrize("call", ["consolidate", "score_neurons"])
@pytest.mark.parametrize("explicit", [False, True])
def test_on_the_training_env_it_is_refused(case, call, explicit):
    env = case.point_goal()
    model = case.made(env)
    with pytest.raises(ValueError, match=r"Within learn\(\), neurons cannot be scored on the training env.*after learn\(\)"):
        model.learn(64, callback=At(20, lambda model: getattr(model, call)(env if explicit else None, task="A")))
    model.learn(48).consolidate(task="A")  # afterwards it can
    assert model.learned_tasks == ["A"]


@pytest.mark.parametrize("case", [SAC_CASE, PPO_CASE], ids=["sac", "ppo"])
@pytest.mark.parametrize("own", [False, True])
def test_scoring_leaves_no_rows_in_a_monitor_and_may_cut_episodes_short(case, own, tmp_path):
    monitored = Monitor(goal(case, "east"), str(tmp_path / "own"), allow_early_resets=False)
    env = DummyVecEnv([lambda: Monitor(goal(case, "east"), str(tmp_path / "training"), allow_early_resets=False)])
    model = case.made(env, scoring_steps=25).learn(48)
    rows = [episode_rows(tmp_path / f"{name}.monitor.csv") for name in ("own", "training")]
    model.consolidate(monitored if own else None, task="A")
    monitored.reset()
    model.learn(32, reset_num_timesteps=False)
    after = [episode_rows(tmp_path / f"{name}.monitor.csv") for name in ("own", "training")]
    assert after[0] == rows[0] == [] and len(after[1]) > len(rows[1])
    assert {int(row["l"]) for row in after[1]} == {HORIZON}


def episode_rows(path):
    with path.open() as file:
        file.readline()
        return list(csv.DictReader(file))
