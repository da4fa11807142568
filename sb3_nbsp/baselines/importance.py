"""What EWC and MAS share: importances as means over what the agent met in the task."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch as th

from sb3_nbsp.baselines.network_outputs import critic_outputs, has_critic
from sb3_nbsp.baselines.parameters import learned_parameters
from sb3_nbsp.baselines.quadratic_penalty import QuadraticPenalty
from sb3_nbsp.baselines.task_samples import as_seen, visited

BATCH_SIZE = 8  # every sample's own gradients are held at once


class SensitivityPenalty(QuadraticPenalty):
    """
    Omega_j = mean over samples of how much the outputs of the networks depend on parameter j.

    The samples are drawn from the finished task's part of the replay buffer, as Continual World does (10 batches of 256).
    Where there is none (PPO), the policy is run on the task for as many env steps, which do not count as training's.

    :param coef: strength of the penalty; default: Continual World's
    :param networks: ``actor``, ``critic`` or ``all``
    :param n_samples: samples per task
    :param verbose: 1 prints each task end
    """

    def __init__(self, coef: float = 1e4, networks: str = "actor", n_samples: int = 2560, verbose: int = 0):
        super().__init__(coef, networks, verbose)
        if n_samples < 1:
            raise ValueError(f"n_samples must be 1 or more; got {n_samples!r}.")
        self.n_samples = n_samples

    @abstractmethod
    def actor_sensitivities(self, observations: Any, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
        """
        :param observations: [batch, ...], as the policy takes them
        :param parameters: the parameters that are held
        :return: for each of them [batch, ...]
        """

    @abstractmethod
    def critic_sensitivities(self, outputs: th.Tensor, parameters: list[th.nn.Parameter]) -> list[th.Tensor]:
        """
        :param outputs: [batch, K], see :func:`~sb3_nbsp.baselines.network_outputs.critic_outputs`
        :param parameters: the parameters that are held
        :return: for each of them [batch, ...]
        """

    def importances(self, task: str, parameters: dict[str, th.nn.Parameter]) -> dict[str, th.Tensor]:
        """See :meth:`QuadraticPenalty.importances`."""
        self.model.policy.set_training_mode(False)
        samples = visited(self.model, task, self.state["steps"], self.n_samples)
        sums = {name: th.zeros_like(p) for name, p in parameters.items()}
        for start in range(0, len(samples), BATCH_SIZE):
            batch = samples.rows(slice(start, start + BATCH_SIZE))
            observations = as_seen(self.model, batch.observations)
            for network in self._networks():
                held = learned_parameters(self.model, network)
                for name, values in zip(held, self._sensitivities(network, observations, batch.actions, held), strict=True):
                    sums[name] += values.detach().sum(dim=0)
        return {name: total / len(samples) for name, total in sums.items()}

    def _networks(self) -> list[str]:
        if not has_critic(self.model):  # the one network of a value-based algorithm is looked at once, as what acts
            return ["actor"]
        return ["actor", "critic"] if self.networks == "all" else [self.networks]

    def _sensitivities(
        self, network: str, observations: Any, actions: np.ndarray, held: dict[str, th.nn.Parameter]
    ) -> list[th.Tensor]:
        if network == "actor":
            return self.actor_sensitivities(observations, list(held.values()))
        taken = th.as_tensor(actions, device=self.model.device, dtype=th.float32)
        return self.critic_sensitivities(critic_outputs(self.model, observations, taken), list(held.values()))
