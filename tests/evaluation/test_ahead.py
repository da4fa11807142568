"""Evaluations that were played ahead belong to the training that they were played for."""

import pytest
from helpers import NBSP_SETTINGS, sequence_env

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.acting import run
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.population import Population, population


def made(seed: int) -> NBSPSAC:
    return NBSPSAC("MlpPolicy", sequence_env(), **{**NBSP_SETTINGS, "seed": seed})


def test_after_an_interruption_nothing_of_it_is_in_the_next_agents_results(monkeypatch):
    def interrupted(members, *_):
        for member in members:
            callback, rollout = member.coming_evaluation
            callback.take_played(run(rollout, member.model.predict, callback.deterministic))
        raise KeyboardInterrupt

    callbacks = [SequenceEvalCallback(0, 1, seed=3) for _ in range(3)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(population, "play_ahead", interrupted)
        Population([made(0), made(1)]).learn(20, callbacks=callbacks[:2])
    rows = []
    for callback in callbacks[1:]:  # one of the interrupted, and a new one
        made(2).learn(5, callback=callback)
        rows.append(callback.results.evaluations[0])
    assert rows[0].mean_return == rows[1].mean_return and rows[0].step == 0
    assert callbacks[1]._evaluator is None  # its envs were opened anew, and closed
