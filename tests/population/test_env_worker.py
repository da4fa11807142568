"""What a worker does."""

import pickle

import numpy as np
import pytest
from helpers import same

from sb3_nbsp.population.env_worker import MARK, flat, message, number_of


@pytest.mark.parametrize(
    "actions",
    [
        np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4).reshape(4, 1),
        np.array([True, False]),
        np.arange(3, dtype=">i2"),
        [1, 2],
    ],
)
def test_actions_arrive_as_they_were(actions):
    sent = pickle.loads(pickle.dumps(flat(actions)))
    arrived = sent[0] if len(sent) == 1 else np.ndarray(sent[2], sent[1], sent[0]).copy()
    assert same(arrived, actions)
    if isinstance(actions, np.ndarray):
        assert arrived.strides == actions.strides and arrived.flags.writeable


def test_a_message_has_its_number_and_what_pickle_reads():
    for number in (1, MARK):
        told = message(number, pickle.dumps("told"))
        assert number_of(told) == number and pickle.loads(told) == "told"
