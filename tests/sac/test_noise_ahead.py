"""Noise that is drawn ahead goes on from a checkpoint, on the CPU: which device it is on changes nothing but its place."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import same

from sb3_nbsp.base.random_states import ProcessStreams, RandomStates, RandomStreams
from sb3_nbsp.checkpoints.random_states import random_states, restore_random_states
from sb3_nbsp.checkpoints.trees import read_tree, write_tree
from sb3_nbsp.sac.noise_ahead import NoiseAhead


def both() -> list[SimpleNamespace]:
    return [SimpleNamespace(action_space=spaces.Discrete(2)) for _ in range(2)]


def own_streams(models) -> list[RandomStreams]:
    np.random.seed(5), th.manual_seed(5)
    return [RandomStreams(RandomStates()) for _ in models]


def noise_of(noise: NoiseAhead, n_steps: int) -> list[th.Tensor]:
    drawn = [th.zeros(2, 3, 4) for _ in range(n_steps)]
    for step in drawn:
        noise.take(step)
    return drawn


@pytest.mark.parametrize("n_steps", [0, 37, 50, 120])
@pytest.mark.parametrize("own", [True, False])
def test_noise_that_is_drawn_ahead_goes_on_from_a_checkpoint(n_steps, own, tmp_path):
    """As on a CUDA device: a generator of the agent's own there, or the process's."""
    models = both()
    for model, streams in zip(models, own_streams(models), strict=True):
        model.streams = streams if own else ProcessStreams()
    noise = NoiseAhead([model.streams for model in models])
    noise_of(noise, n_steps)
    for i, model in enumerate(models):
        write_tree(random_states(model), tmp_path / str(i))
    expected = noise_of(noise, 60)

    again = both()
    for model, streams in zip(again, own_streams(again), strict=True):
        model.streams = streams if own else ProcessStreams()
    other = NoiseAhead([model.streams for model in again])
    for i, model in enumerate(again):
        restore_random_states(model, read_tree(tmp_path / str(i)))
    assert same(noise_of(other, 60), expected)


def test_noise_that_is_gone_has_drawn_nothing():
    models = both()
    streams = own_streams(models)
    noise = NoiseAhead(streams)
    assert streams[0].ahead() is None
    noise_of(noise, 3)
    assert streams[0].ahead().shape == (47, 3, 4)
    del noise
    assert streams[0].ahead() is None


def test_agents_from_different_steps_are_told():
    models = both()
    streams = own_streams(models)
    streams[0].left_over = th.zeros(7, 3, 4)
    with pytest.warns(UserWarning, match="different gradient steps"):
        noise_of(NoiseAhead(streams), 1)
