"""What the NBSP algorithms with an epsilon-greedy Q-network (DQN and its relatives) share."""

import numpy as np
import torch as th

from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scoring import LossFunction


class GreedyContinualAlgorithm(OffPolicyContinualAlgorithm):
    """Base of NBSP's Q-learners, to be mixed in before the SB3 parent."""

    optimizer_names = ("policy.optimizer",)
    clips_gradients = True

    def _scoring_losses(self) -> dict[str, LossFunction]:
        return {"critic": self._td_loss}

    def _td_loss(self, rollout: ScoringSteps, rows: np.ndarray, recorder: ActivationRecorder) -> th.Tensor:
        """The Q-network's loss."""
        raise NotImplementedError
