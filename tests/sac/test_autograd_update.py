"""SAC's update with autograd and less waste, against SB3's own in float64."""

import pytest
import torch as th
from helpers import CHANNEL_FIRST_IMAGE
from helpers.fast_updates import NET, ROUNDING, difference, made, trained
from stable_baselines3 import SAC
from stable_baselines3.common.torch_layers import FlattenExtractor
from test_own_step import Exchanges
from torch import nn

from sb3_nbsp import NBSPSAC

pytestmark = pytest.mark.usefixtures("double_observations")


class BatchNormalised(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.normalise = nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.normalise(super().forward(observations))


AUTOGRAD = {
    "tanh": {"policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "gsde": {"use_sde": True},
    "three-critics": {"policy_kwargs": {"n_critics": 3, "activation_fn": nn.ELU, **NET}},
    "fixed-ent-coef": {"ent_coef": 0.2, "policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "n-steps": {"n_steps": 3, "policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "adamw": {"policy_kwargs": {"optimizer_class": th.optim.AdamW, "activation_fn": nn.Tanh, **NET}},
    "sgd": {"policy_kwargs": {"optimizer_class": th.optim.SGD, "activation_fn": nn.Tanh, **NET}},
    "exchanging": {"tau": 0.5, "policy_kwargs": {"optimizer_class": Exchanges, "activation_fn": nn.Tanh, **NET}},
    "amsgrad": {"policy_kwargs": {"optimizer_kwargs": {"amsgrad": True}, "activation_fn": nn.Tanh, **NET}},
    "no-foreach": {"policy_kwargs": {"optimizer_kwargs": {"foreach": False}, "activation_fn": nn.Tanh, **NET}},
    "linear": {"policy_kwargs": {"net_arch": []}},
    "batch-norm": {"policy_kwargs": {"features_extractor_class": BatchNormalised, **NET}},
    "target-interval": {"target_update_interval": 3, "policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
}


@pytest.mark.parametrize("case", AUTOGRAD)
def test_with_autograd_it_is_sb3s_too(case):
    theirs, ours = trained(made(SAC, **AUTOGRAD[case]), 40), trained(made(**AUTOGRAD[case]), 40)
    assert ours.update_path == "autograd" and difference(theirs, ours) < ROUNDING
    assert ours.logger.name_to_value == pytest.approx(theirs.logger.name_to_value, rel=1e-10, abs=1e-10)
    assert theirs.actor.optimizer.state_dict()["param_groups"] == ours.actor.optimizer.state_dict()["param_groups"]


def test_with_autograd_shared_image_features_are_sb3s_too():
    features = {"features_extractor_kwargs": {"features_dim": 8}, "share_features_extractor": True}
    kwargs = {"policy": "CnnPolicy", "space": CHANNEL_FIRST_IMAGE, "policy_kwargs": {"net_arch": [8], **features}}
    theirs, ours = (trained(made(cls, **kwargs), 4, batch_size=8) for cls in (SAC, NBSPSAC))
    assert ours.update_path == "autograd" and difference(theirs, ours) < ROUNDING
