"""An evaluation comes to its end, whatever the task's episodes do."""

import warnings

import gymnasium as gym
import pytest
from helpers import HORIZON
from helpers.cases import SAC_CASE

from sb3_nbsp.evaluation import SequenceEvalCallback, evaluator
from sb3_nbsp.evaluation.evaluator import TaskEvaluator
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv


class WithoutEnd(gym.Wrapper):
    def step(self, action):
        obs, reward, _, _, info = self.env.step(action)
        return obs, reward, False, False, info


def sequence(limit=None):
    def make(render_mode=None):
        env = WithoutEnd(PointGoalEnv("east", horizon=HORIZON))
        return env if limit is None else gym.wrappers.TimeLimit(env, limit)

    return TaskSequence((Task("endless", make),), 60)


def test_an_episode_without_an_end_is_cut_and_that_is_said(monkeypatch):
    monkeypatch.setattr(evaluator, "MAX_EPISODE_STEPS", 50)
    model = SAC_CASE.made(TaskSequenceEnv(sequence()), scoring_steps=20)
    with pytest.warns(UserWarning, match="task 'endless' had no end after 50 steps and was cut"):
        model.learn(60, callback=SequenceEvalCallback(60, n_eval_episodes=1))


def test_a_tasks_own_limit_counts():
    model = SAC_CASE.made(TaskSequenceEnv(sequence(limit=7)))
    evaluation = TaskEvaluator(model.env, sequence(limit=7), n_eval_episodes=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation.evaluate(model)
    assert evaluation.envs["endless"].envs[0].episode_lengths == [7, 7]


def test_a_model_that_has_diverged_is_not_evaluated():
    model = SAC_CASE.made(TaskSequenceEnv(sequence(limit=7)))
    model.actor.mu.weight.data[:] = float("nan")
    with pytest.raises(ValueError, match=r"parameter policy\.actor\.mu\.weight"):
        TaskEvaluator(model.env, sequence(limit=7)).evaluate(model)
