"""What the NBSP algorithms with a learned entropy coefficient (SAC and its relatives) share."""

from typing import Any

import numpy as np
import torch as th

from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scoring import LossFunction


class SoftContinualAlgorithm(OffPolicyContinualAlgorithm):
    """Base of NBSP's soft actor-critics, to be mixed in before the SB3 parent."""

    optimizer_names = ("actor.optimizer", "critic.optimizer")
    target_networks = (("critic", "critic_target"),)

    reset_ent_coef: bool

    # Attributes of the SB3 parents
    actor: Any
    critic: Any
    critic_target: Any
    ent_coef: str | float
    log_ent_coef: th.Tensor | None
    ent_coef_optimizer: th.optim.Adam | None
    ent_coef_tensor: th.Tensor

    def _prepare_next_task(self, index: int) -> None:
        super()._prepare_next_task(index)
        if self.reset_ent_coef and self.ent_coef_optimizer is not None and self.log_ent_coef is not None:
            initial = float(str(self.ent_coef).partition("_")[2] or 1.0)  # "auto" or "auto_<initial value>"
            self.log_ent_coef.data.fill_(np.log(initial))
            self.ent_coef_optimizer.state.clear()

    def _scoring_losses(self) -> dict[str, LossFunction]:
        return {"actor": self._actor_loss, "critic": self._critic_loss}

    def _actor_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """mean[ alpha log pi(a|s) - Q(s, a) ], a ~ pi(s) (Haarnoja et al. 2018, eq. 7)"""
        observations = self._tensor(rollout.observations, rows)
        with recorder:
            actions, log_prob = self.actor.action_log_prob(observations)
        return (self._current_ent_coef() * log_prob - self._q_value(observations, actions)).mean()

    def _q_value(self, observations: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """What the actor maximises, [batch]."""
        raise NotImplementedError

    def _critic_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """The critics' loss."""
        raise NotImplementedError

    def _next_step(self, rollout: ScoringSteps, rows: np.ndarray) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Next observations, actions there and their log-probabilities [batch]."""
        observations = self._tensor(rollout.next_observations, rows)
        return observations, *self.actor.action_log_prob(observations)

    def _discounted_target(self, rollout: ScoringSteps, rows: np.ndarray, next_value: th.Tensor) -> th.Tensor:
        """
        r + gamma (1 - d) V(s')

        :param next_value: V(s'), [batch, ...]
        """
        shape = (-1,) + (1,) * (next_value.dim() - 1)
        rewards, dones = (self._tensor(values, rows).reshape(shape) for values in (rollout.rewards, rollout.dones))
        return rewards + self.gamma * (1 - dones) * next_value

    def _current_ent_coef(self) -> th.Tensor:
        return self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()
