"""Each task is played with the policy that it ended with: the honest rows that one network is compared with."""

from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import copied, same, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from test_baselines import STEPS, discrete_env, nbspsac, sac

from sb3_nbsp.baselines import Resets, SavedCopies
from sb3_nbsp.baselines.saved_copies import acting, saved_copy
from sb3_nbsp.common import SkillNeuronCallback
from sb3_nbsp.evaluation import SequenceEvalCallback, SequenceResults
from sb3_nbsp.evaluation.contexts import playing
from sb3_nbsp.evaluation.judged_by_copies import judged_by_copies


class Noted(SavedCopies):
    """Notes what acts at the end of each task, by an own copy."""

    def on_task_end(self, task: str) -> None:
        super().on_task_end(task)
        self.at_end = {**getattr(self, "at_end", {}), task: copied(acting(self.model))}


Noted.__name__ = "SavedCopies"  # under this name its state is kept


def ppo() -> PPO:
    return PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=20, batch_size=10, seed=1)


def dqn() -> DQN:
    return DQN("MlpPolicy", discrete_env(), learning_starts=10, train_freq=1, seed=1)


@pytest.mark.parametrize("make", [sac, nbspsac, ppo, dqn])
def test_an_old_task_is_played_with_its_copy_and_the_model_stays_as_it_is(make):
    model, callback = make(), Noted()
    model.learn(2 * STEPS, callback=callback)
    now = copied(model.policy.state_dict())
    for task in ("east", "west"):
        with playing(model, task):
            assert same(acting(model), callback.at_end[task])
    assert not same(callback.at_end["east"], callback.at_end["west"])
    assert same(model.policy.state_dict(), now)
    with playing(model, "north"):  # not known
        assert same(model.policy.state_dict(), now)


def test_the_task_that_is_learned_is_played_as_it_is_also_where_it_is_met_again():
    model, callback = sac(), Noted()
    model.learn(2 * STEPS + 30, callback=callback)  # half of the second visit to "east"
    assert callback.state["learned"] == "east"
    now = copied(acting(model))
    with saved_copy(model, "east"):
        assert same(acting(model), now)
    with saved_copy(model, "west"):
        assert same(acting(model), callback.at_end["west"]) and not same(acting(model), now)


def test_a_loaded_model_has_its_copies(tmp_path):
    model, callback = sac(), Noted()
    model.learn(2 * STEPS, callback=callback)
    model.save(tmp_path / "model")
    loaded = SAC.load(tmp_path / "model")
    observations = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    with playing(model, "east"):
        expected = model.predict(observations, deterministic=True)[0]
    with playing(loaded, "east"):
        assert np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    assert not np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)


def test_from_scratch_each_task_is_judged_by_its_own_networks():
    """With resets behind it: what is copied is what was learned. After the last task nothing is reset."""
    model, callback = nbspsac(), Noted()
    resets, evaluation = Resets(period=None, at_task_end=True), SequenceEvalCallback(eval_freq=0, n_eval_episodes=1)
    model.learn(4 * STEPS, callback=[evaluation, callback, resets, SkillNeuronCallback()])
    assert evaluation.results.metrics().fm <= 0  # nothing is forgotten: an old task's copy does what it did
    with playing(model, "west"):
        assert same(acting(model), callback.at_end["west"])
    assert same(acting(model), callback.at_end["west"]) and not same(acting(model), callback.at_end["east"])


def test_training_is_the_same_with_it():
    states: list[Any] = [sac().learn(3 * STEPS, callback=c).policy.state_dict() for c in (None, SavedCopies())]
    assert same(*states)
    assert all(isinstance(value, th.Tensor) for value in states[0].values())


def evaluated(*callbacks: BaseCallback) -> SequenceResults:
    evaluation = SequenceEvalCallback(eval_freq=STEPS // 2, n_eval_episodes=1)
    nbspsac().learn(4 * STEPS, callback=[evaluation, *callbacks, SkillNeuronCallback()])
    return evaluation.results


def test_a_run_without_copies_tells_what_its_copies_would_have_done():
    """Over two visits to each task. A copy has one gradient step more: it is made after the step that ends the task."""
    run, run_with_copies = evaluated(), evaluated(SavedCopies())
    plain, derived, copies = (
        np.array([list(evaluation.mean_return.values()) for evaluation in results.evaluations])
        for results in (run, judged_by_copies(run), run_with_copies)
    )
    assert np.abs(derived - copies).max() < 0.1 * np.abs(plain - copies).max()
