"""Looking at activations, and scoring, leave no trace in a model, whatever its layers are."""

import numpy as np
import pytest
import torch as th
from helpers.cases import SAC_CASE
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_nbsp.common.scoring_env import steps_on_task

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


class Noisy(BaseFeaturesExtractor):
    """Layers that do something else in training, and that note what they see."""

    def __init__(self, space):
        super().__init__(space, 6)
        self.net = nn.Sequential(nn.Linear(space.shape[0], 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, x):
        return self.net(x)


def test_activations_and_scores_leave_no_trace():
    model = SAC_CASE.made(policy_kwargs={"features_extractor_class": Noisy})
    steps = steps_on_task(model, SAC_CASE.task_env(), "east", 30, seed=0)
    model.policy.set_training_mode(True)
    modes = [part.training for part in model.policy.modules()]
    state = {name: value.clone() for name, value in model.policy.state_dict().items()}
    random = th.get_rng_state(), np.random.get_state()[1].tolist()
    first, second = model.activations_on(steps), model.activations_on(steps)
    model.score_neurons(SAC_CASE.task_env(), "east")
    assert first.keys() == second.keys() and all(th.equal(first[name], second[name]) for name in first)
    assert all(th.equal(value, state[name]) for name, value in model.policy.state_dict().items())
    assert [part.training for part in model.policy.modules()] == modes
    assert th.equal(th.get_rng_state(), random[0]) and np.random.get_state()[1].tolist() == random[1]
