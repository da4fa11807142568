"""How important each parameter was for a task, as the mean over samples of what a method (EWC, MAS) calls its sensitivity."""

from collections.abc import Callable
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_nbsp.baselines.network_outputs import critic_outputs, has_critic
from sb3_nbsp.baselines.parameters import Networks, learned_parameters
from sb3_nbsp.baselines.task_samples import Visited, as_seen

BATCH_SIZE = 8  # every sample's own gradients are held at once

# (model, observations [batch, ...] as the policy takes them, parameters) -> for each parameter [batch, ...]
ActorSensitivities = Callable[[BaseAlgorithm, Any, list[th.nn.Parameter]], list[th.Tensor]]
# (outputs [batch, K] of critic_outputs(), parameters) -> for each parameter [batch, ...]
CriticSensitivities = Callable[[th.Tensor, list[th.nn.Parameter]], list[th.Tensor]]


def mean_importances(
    model: BaseAlgorithm, samples: Visited, networks: Networks, of_actor: ActorSensitivities, of_critic: CriticSensitivities
) -> dict[str, th.Tensor]:
    """
    Omega_j = 1/M sum_i of how much the outputs of the networks in sample i depend on parameter j.

    :param model: the model, at the task's end
    :param samples: M samples of the task
    :param networks: ``actor``, ``critic`` or ``all``: whose parameters
    :param of_actor: the sensitivities of what acts, sample by sample
    :param of_critic: those of the critic
    :return: Omega by the parameters' names inside the policy, each in its parameter's shape
    """
    sums = {name: th.zeros_like(p) for name, p in learned_parameters(model, networks).items()}
    for start in range(0, len(samples), BATCH_SIZE):
        batch = samples.rows(slice(start, start + BATCH_SIZE))
        observations = as_seen(model, batch.observations)
        for network in _looked_at(model, networks):
            held = learned_parameters(model, network)
            if network == "actor":
                found = of_actor(model, observations, list(held.values()))
            else:
                actions = th.as_tensor(batch.actions, device=model.device, dtype=th.float32)
                found = of_critic(critic_outputs(model, observations, actions), list(held.values()))
            for name, values in zip(held, found, strict=True):
                sums[name] += values.detach().sum(dim=0)
    return {name: total / len(samples) for name, total in sums.items()}


def _looked_at(model: BaseAlgorithm, networks: Networks) -> list[Networks]:
    if not has_critic(model):  # the one network of a value-based algorithm is looked at once, as what acts
        return ["actor"]
    return ["actor", "critic"] if networks == "all" else [networks]
