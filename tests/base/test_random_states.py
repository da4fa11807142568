"""Random numbers that are drawn beside training."""

import random

import torch as th

from sb3_nbsp.base.random_states import global_random_kept


def test_what_no_agent_has_of_its_own_is_kept_also_on_devices(monkeypatch):
    on_devices = [th.tensor([1]), th.tensor([2])]
    monkeypatch.setattr(th.cuda, "is_available", lambda: True)
    monkeypatch.setattr(th.cuda, "get_rng_state_all", lambda: [state.clone() for state in on_devices])
    monkeypatch.setattr(th.cuda, "set_rng_state_all", lambda states: on_devices.__setitem__(slice(None), states))
    before = random.getstate()
    with global_random_kept():
        random.seed(3)
        on_devices[1] = th.tensor([9])
    assert random.getstate() == before and [int(state) for state in on_devices] == [1, 2]
