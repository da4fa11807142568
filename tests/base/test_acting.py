"""Rollouts that are cut short leave nothing behind."""

import random

import numpy as np
import pytest
import torch as th
from helpers import NBSP_SETTINGS, copied, same, sequence_env
from helpers.cases import PPO_CASE
from stable_baselines3.common.vec_env import VecEnvWrapper

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.acting import run
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.evaluation import SequenceEvalCallback


class TellsAtEndsOnly(VecEnvWrapper):
    """No list of infos but where an episode ends, as in SB3's test of VecExtractDictObs."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, ends, infos = self.venv.step_wait()
        return observations, rewards, ends, infos if ends.any() else []


@pytest.mark.parametrize("n_envs", [1, 3])
def test_an_env_that_tells_nothing_of_a_step_is_learned_and_scored(n_envs):
    models = []
    for wrap in (lambda env: env, TellsAtEndsOnly):
        models.append(PPO_CASE.made(wrap(PPO_CASE.point_goal(n_envs))))
        models[-1].learn(96)
        models[-1].consolidate(task="east")
    first, second = models
    assert same(copied(first.policy.state_dict()), copied(second.policy.state_dict()))
    assert first.skill_neurons and first.skill_neurons == second.skill_neurons


def states() -> tuple:
    return random.getstate(), np.random.get_state(), th.get_rng_state()


def interrupted(*_, **__):
    random.random(), np.random.rand(), th.rand(1)  # as a policy may
    raise KeyboardInterrupt


def test_an_interrupted_rollout_is_left_at_once_though_someone_holds_the_error():
    left = []

    def rollout():
        try:
            with isolated_rng(3):
                yield np.zeros((1, 2)), np.ones(1, dtype=bool)
        finally:
            left.append(True)

    before = states()
    with pytest.raises(KeyboardInterrupt) as held:
        run(rollout(), interrupted, True)
    assert held.value is not None and left and same(before, states())


def test_an_interrupted_evaluation_leaves_random_states_as_they_were(monkeypatch):
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS)
    callback = SequenceEvalCallback(40, 1)
    found = []
    monkeypatch.setattr(model, "predict", lambda *_, **__: found.append(states()) or interrupted())
    evaluate = callback._evaluate
    monkeypatch.setattr(callback, "_evaluate", lambda kind: found.append(states()) or evaluate(kind))
    with pytest.raises(KeyboardInterrupt) as held:
        model.learn(20, callback=callback)
    before, inside = found
    assert held.value is not None and same(before, states()) and not same(before, inside)
