"""Rollouts of many members in lock-step: each has its own random numbers, and all end together."""

from types import SimpleNamespace

import numpy as np
import torch as th
from helpers import same

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.population.rollouts import Job, _play


def test_where_rollouts_fail_or_cannot_be_closed_the_others_are_all_the_same():
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

    left = []
    member = SimpleNamespace(model=SimpleNamespace(predict=lambda *_, **__: (None, None)), leave_with=left.append)
    jobs = [Job(member, None, rollout(name, name == "second"), True, lambda _: None) for name in ("first", "second", "third")]
    before = np.random.get_state(), th.get_rng_state()
    _play(jobs, None)
    assert sorted(closed) == ["first", "second", "third"]
    assert [str(error) for error in left] == ["a broken env", "it does not close"]
    assert same(before, (np.random.get_state(), th.get_rng_state()))
