"""Rollouts end with their task, and none is a few steps long."""

import pytest
from helpers import sequence_env
from helpers.cases import PPO_CASE

from sb3_nbsp.common.rollout_rows import rollout_rows

FAR = 10_000


@pytest.mark.known_answer
@pytest.mark.parametrize(
    ("left", "asked", "n_envs", "expected"),
    [
        (None, FAR, 1, 64),  # nothing is kept of the task
        (64, FAR, 1, 64),
        (65, FAR, 1, 65),  # one step more would be a rollout of its own
        (95, FAR, 1, 95),
        (96, FAR, 1, 64),  # a minibatch of 32 is left
        (40, FAR, 1, 40),
        (65, 64, 1, 64),  # learn() ends here
        (65, 65, 1, 65),
        (4 * 64 + 1, FAR, 4, 65),  # a row of four sub-envs, of which the task has one
        (4 * 64 + 28, FAR, 4, 71),
        (4 * 64 + 32, FAR, 4, 64),
    ],
)
def test_rows(left, asked, n_envs, expected):
    assert rollout_rows(left, asked, 64, n_envs, 32) == expected


@pytest.mark.known_answer
def test_minibatches_that_are_larger_than_a_rollout():
    assert [rollout_rows(left, FAR, 16, 1, 64) for left in (48, 32, 31, 17, 16, 3)] == [16, 16, 31, 17, 16, 3]
    assert rollout_rows(17, FAR, 16, 1, 0) == 16  # a buffer of one's own may have no room for more


def test_a_task_that_is_a_step_longer_than_its_rollouts():
    model = PPO_CASE.made(sequence_env(steps=33, cycles=1), scoring_steps=20)  # rollouts of 16, minibatches of 8
    sizes, train = [], model.train
    model.train = lambda: (sizes.append(model.rollout_buffer.pos), train())
    model.learn(66)
    assert sizes == [16, 17, 16, 17] and model.num_timesteps == 66
