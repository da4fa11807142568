"""Rollouts of many members in lock-step: each has its own random numbers, and all end together."""

import numpy as np
import pytest
import torch as th
from helpers import same

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.population.rollouts import Job, _play


def test_where_a_rollout_cannot_be_closed_the_others_are_all_the_same():
    closed = []

    def rollout(name, fails):
        try:
            with isolated_rng(3):
                yield None
                if fails:
                    raise RuntimeError("a broken env")
                yield None
        finally:
            closed.append(name)
            if name == "first":
                raise OSError("it does not close")

    jobs = [Job(None, None, rollout(name, name == "second"), True, lambda _: None) for name in ("first", "second", "third")]
    before = np.random.get_state(), th.get_rng_state()
    with pytest.raises((RuntimeError, OSError)) as held:
        _play(jobs, None)
    assert held.value is not None and sorted(closed) == ["first", "second", "third"]
    assert same(before, (np.random.get_state(), th.get_rng_state()))
