"""EWC's and MAS's importances where there is no squashed Gaussian, against their formulas sample by sample."""

import pytest
import torch as th
from helpers import sequence_env
from stable_baselines3 import DQN, PPO, TD3
from test_baselines import discrete_env
from torch import nn

from sb3_nbsp.baselines.ewc import actor_fisher
from sb3_nbsp.baselines.mas import actor_sensitivities
from sb3_nbsp.baselines.parameters import learned_parameters


@pytest.mark.known_answer
@pytest.mark.parametrize("cls", [DQN, TD3, PPO])
def test_importances_of_other_policies_sample_by_sample(cls):
    """
    EWC: sum_k w_k (d o_k)^2 with w = 1 where there is no distribution (DQN, TD3), and the probabilities of actions (PPO) for
    o = log p; at least 1e-5. MAS: | d sum_k o_k^2 |.
    """
    env, small = sequence_env() if cls is TD3 else discrete_env(), {} if cls is PPO else {"buffer_size": 10}
    model = cls("MlpPolicy", env, seed=1, policy_kwargs={"net_arch": [4]}, **small)
    parameters = list(learned_parameters(model, "actor").values())
    observations = th.randn(3, *model.observation_space.shape)
    fisher_of, sensitivities = (f(model, observations, parameters) for f in (actor_fisher, actor_sensitivities))
    for i in range(3):
        policy, one = model.policy, observations[i : i + 1]
        if cls is PPO:
            outputs = policy.get_distribution(one).distribution.probs[0].log()
        else:
            outputs = (policy.actor if cls is TD3 else policy.q_net)(one)[0]
        weights = outputs.detach().exp() if cls is PPO else th.ones(len(outputs))
        expected = [th.zeros_like(p) for p in parameters]
        for output, weight in zip(outputs, weights, strict=True):
            for total, gradient in zip(expected, gradients(output, parameters), strict=True):
                total += weight * gradient**2
        for found, total in zip(fisher_of, expected, strict=True):
            assert th.allclose(found[i], total.clamp(min=1e-5), rtol=1e-4, atol=1e-9)
        for found, gradient in zip(sensitivities, gradients((outputs**2).sum(), parameters), strict=True):
            assert th.allclose(found[i], gradient.abs(), rtol=1e-4, atol=2e-6)
    assert max(float(found.max()) for found in fisher_of) > 1e-3


def gradients(scalar: th.Tensor, parameters: list[nn.Parameter]) -> list[th.Tensor]:
    found = th.autograd.grad(scalar, parameters, retain_graph=True, allow_unused=True)
    return [th.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
