"""Actor-critic losses of PPO and A2C on scored steps, see :mod:`sb3_nbsp.common.scoring_losses`."""

import numpy as np
import torch as th
from stable_baselines3 import PPO

from sb3_nbsp.base.arrays import rows_as_tensors
from sb3_nbsp.common.scoring_losses import discounted_target, state_action
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps


def actor_loss(model: PPO, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """-mean[ A log pi(a|s) ], A a constant"""
    return actor_and_critic_loss(model, steps, rows, recorder)[0]


def critic_loss(model: PPO, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """mean[ A^2 ]"""
    return actor_and_critic_loss(model, steps, rows, recorder)[1]


def shared_loss(model: PPO, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
    """Of what both use: the actor's loss + vf_coef * the critic's"""
    actor, critic = actor_and_critic_loss(model, steps, rows, recorder)
    return actor + model.vf_coef * critic


def actor_and_critic_loss(
    model: PPO, steps: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder
) -> tuple[th.Tensor, th.Tensor]:
    """
    With the one-step advantage A = r + gamma (1 - d) V(s') - V(s), in which V(s') is a constant:

        -mean[ A log pi(a|s) ]  and  mean[ A^2 ]
    """
    with th.no_grad():
        next_observations = rows_as_tensors(steps.next_observations, rows, model.device)
        target = discounted_target(model, steps, rows, model.policy.predict_values(next_observations).flatten())
    with recorder:
        values, log_prob, _ = model.policy.evaluate_actions(*state_action(model, steps, rows))
    advantages = target - values.flatten()
    return -(advantages.detach() * log_prob).mean(), advantages.square().mean()


LOSSES = {"actor": actor_loss, "critic": critic_loss, "shared": shared_loss}
