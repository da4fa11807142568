"""Rollouts that are cut short leave nothing behind."""

import random

import numpy as np
import pytest
import torch as th
from helpers import NBSP_SETTINGS, same, sequence_env

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.acting import run
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.evaluation import SequenceEvalCallback


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
