"""Rollouts end with their task, and the last one is not a few steps long."""

import pytest
from helpers import sequence_env
from helpers.cases import PPO_CASE

from sb3_nbsp.common.rollout_rows import rollout_rows


@pytest.mark.known_answer
@pytest.mark.parametrize(
    ("left", "n_envs", "expected"),
    [
        (None, 1, 64),  # nothing is kept of the task
        (500, 1, 64),
        (64, 1, 64),
        (65, 1, 33),  # one step would be left, and 32 come after these
        (95, 1, 48),
        (96, 1, 64),  # a minibatch of 32 is left
        (40, 1, 40),
        (4 * 64 + 1, 4, 33),  # a row of four sub-envs is left, of which the task has one
        (4 * 64 + 28, 4, 36),
        (4 * 64 + 32, 4, 64),
    ],
)
def test_rows(left, n_envs, expected):
    assert rollout_rows(left, 64, n_envs, 32) == expected


@pytest.mark.known_answer
def test_minibatches_that_are_larger_than_a_rollout():
    assert [rollout_rows(left, 16, 1, 64) for left in (48, 32, 31, 17, 16, 3)] == [16, 16, 16, 9, 16, 3]


def test_a_task_that_is_a_step_longer_than_its_rollouts():
    model = PPO_CASE.made(sequence_env(steps=33, cycles=1), scoring_steps=20)  # rollouts of 16, minibatches of 8
    sizes, train = [], model.train
    model.train = lambda: (sizes.append(model.rollout_buffer.pos), train())
    model.learn(66)
    assert sizes == [16, 9, 8, 16, 9, 8] and model.num_timesteps == 66
