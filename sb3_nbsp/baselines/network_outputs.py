"""What an actor and a critic put out, differentiably, and its gradients sample by sample."""

from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import Distribution


def action_distribution(model: BaseAlgorithm, observations: Any) -> Distribution | None:
    """
    :param model: any SB3 model
    :param observations: [batch, ...], as the policy takes them
    :return: the policy's distribution (a squashed Gaussian before it is squashed), ``None`` for a policy without one
        (DQN, TD3)
    """
    policy: Any = model.policy
    if hasattr(policy, "get_distribution"):
        return policy.get_distribution(observations)
    if hasattr(getattr(policy, "actor", None), "action_dist"):
        mean, log_std, extra = policy.actor.get_action_dist_params(observations)
        return policy.actor.action_dist.proba_distribution(mean, log_std, **extra)
    return None


def has_critic(model: BaseAlgorithm) -> bool:
    """Whether a network of its own values what another does: not so in DQN and QRDQN."""
    return hasattr(model.policy, "critic") or hasattr(model.policy, "value_net")


def critic_outputs(model: BaseAlgorithm, observations: Any, actions: th.Tensor) -> th.Tensor:
    """
    What the critic puts out.

    :param model: any SB3 model
    :param observations: [batch, ...], as the policy takes them
    :param actions: [batch, action_dim], scaled to [-1, 1]
    :return: [batch, K]: the Q-values (quantiles) of all critics, of all actions of DQN and QRDQN, or V(s)
    """
    policy: Any = model.policy
    if hasattr(policy, "predict_values"):
        return policy.predict_values(observations)
    if hasattr(policy, "critic"):
        found = policy.critic(observations, actions)
        return found.flatten(1) if isinstance(found, th.Tensor) else th.cat(found, dim=1)  # TQC stacks its critics
    return (policy.q_net if hasattr(policy, "q_net") else policy.quantile_net)(observations).flatten(1)


def deterministic_actions(model: BaseAlgorithm, observations: Any) -> th.Tensor:
    """
    What an acting network without a distribution puts out.

    :return: [batch, K]: TD3's actions, or what DQN and QRDQN choose by
    """
    policy: Any = model.policy
    return policy.actor(observations) if hasattr(policy, "actor") else critic_outputs(model, observations, th.empty(0))


def sample_gradients(outputs: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
    """
    Differentiate each sample's output by itself.

    :param outputs: [batch], each of one sample
    :param parameters: parameters
    :return: for each parameter [batch, ...]; 0 where the outputs do not depend on it
    """
    eye = th.eye(len(outputs), device=outputs.device, dtype=outputs.dtype)
    gradients = th.autograd.grad(outputs, parameters, eye, retain_graph=True, allow_unused=True, is_grads_batched=True)
    pairs = zip(gradients, parameters, strict=True)
    return [p.new_zeros(len(outputs), *p.shape) if gradient is None else gradient for gradient, p in pairs]
