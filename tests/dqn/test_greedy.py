"""NBSPDQN and NBSPQRDQN: exploration follows each task, and gradients are clipped without what is held."""

import pytest
import torch as th
from helpers.cases import DQN_CASE, greedy_cases

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


@pytest.mark.known_answer
@greedy_cases
def test_epsilon_follows_each_task(case):
    model = case.made(exploration_fraction=0.5, exploration_final_eps=0.0)
    rates = []
    model.learn(120, callback=lambda *_: rates.append(model.exploration_rate) is None)
    # In step i the callback sees the rate that step i - 1 left behind: falling from 1 to 0 over half of each task.
    assert [round(rates[i], 2) for i in (1, 15, 30, 59, 60, 75, 90, 119)] == [0.97, 0.5, 0, 0, 1, 0.5, 0, 0]


@greedy_cases
def test_epsilon_follows_each_learn_by_hand(case):
    model = case.made(case.toy_env(), exploration_fraction=0.5, exploration_final_eps=0.0).learn(60)
    assert model.exploration_rate == 0
    model.consolidate(case.toy_env(), "A")
    model.learn(60, reset_num_timesteps=False, callback=lambda *_: model.num_timesteps < 75)
    assert 0.5 <= model.exploration_rate < 0.6


@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_what_is_held_does_not_use_up_the_clipped_norm(mask_target):
    model = DQN_CASE.made(DQN_CASE.toy_env(), mask_target=mask_target).learn(40)
    layer = model.neuron_masks.networks[0].layers[0]
    model.neuron_masks.hold(0, {layer.name: (th.arange(8) == 3).float()})
    model._apply_masks()
    model.policy.optimizer.zero_grad()
    model.q_net(th.randn(64, 3)).sum().backward()
    gradient = layer.own[0].grad
    assert gradient[3].abs().sum() > 0 and not gradient[:3].any() and not gradient[4:].any()
