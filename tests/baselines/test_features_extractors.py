"""To which network a features extractor belongs, shared or not: what resets and penalties take hold of."""

from typing import Any

import pytest
import torch as th
from helpers import same, sequence_env
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from test_baselines import STEPS
from test_baselines_plasticity import changed, snapshot

from sb3_nbsp.baselines import Resets
from sb3_nbsp.baselines.parameters import learned_parameters


def with_extractor(cls: Any, shared: bool) -> Any:
    kwargs = {"features_extractor_class": OneLayer, "share_features_extractor": shared, "net_arch": [8]}
    small = {"n_steps": 20, "batch_size": 10} if cls is PPO else {"learning_starts": 10}
    return cls("MlpPolicy", sequence_env(steps=STEPS), seed=1, policy_kwargs=kwargs, **small)


class OneLayer(BaseFeaturesExtractor):
    def __init__(self, space: Any):
        super().__init__(space, 5)
        self.linear = th.nn.Linear(space.shape[0], 5)

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.linear(observations).relu()


def test_a_shared_extractor_comes_before_the_layers_that_are_counted():
    model, callback = with_extractor(PPO, shared=True), Resets(n_layers=2)
    model.learn(20, callback=callback)
    before = snapshot(model)
    callback.reset()
    linear = {f"features_extractor.linear.{part}" for part in ("weight", "bias")}
    assert changed(before, snapshot(model)) == set(before) - linear


def test_an_extractor_of_the_actors_own_is_not_the_critics():
    model, callback = with_extractor(PPO, shared=False), Resets(networks="critic")
    model.learn(20, callback=callback)
    before = snapshot(model)
    callback.reset()
    networks = {name.split(".")[0] for name in changed(before, snapshot(model))}
    assert networks == {"mlp_extractor", "value_net", "vf_features_extractor"}
    assert {name.split(".")[0] for name in learned_parameters(model, "actor")} >= {"features_extractor", "action_net"}


@pytest.mark.parametrize("cls", [SAC, TD3])
def test_targets_of_a_shared_extractor_follow_at_once(cls):
    model, callback = with_extractor(cls, shared=True), Resets()
    model.learn(30, callback=callback)
    online, target = model.critic.state_dict(), model.critic_target.state_dict()
    assert "features_extractor.linear.weight" in online and not same(online, target)
    callback.reset()
    assert same(model.critic.state_dict(), model.critic_target.state_dict())
    shared = {name for name, p in learned_parameters(model, "critic").items() if p in set(model.actor.parameters())}
    assert shared == {f"actor.features_extractor.linear.{part}" for part in ("weight", "bias")}
