"""A-GEM: a gradient step that would raise the loss on old transitions is projected."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch as th
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.base.arrays import each, to_array
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import check_count
from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.rollout import ScoringSteps

NOT_REHEARSED = "skill_fraction=0, rehearsal='replay', memory_size=10_000, replay_mode='share', old_task_fraction=0"


class AGEM(TaskBoundaryCallback):
    """
    From the second task on, with g the gradient of a network's loss on the batch and g_ref that of the same loss on a batch of
    old transitions, learn from

        g - (g . g_ref / g_ref . g_ref) g_ref    where g . g_ref < 0,    else g

    so that the loss on the old batch does not rise, to first order. Actor and critic are projected each by itself, since each
    learns at its own time; Continual World takes the two scalar products together.

    The old transitions are the memory of our off-policy algorithms, which must not be rehearsed besides:
    ``skill_fraction=0, rehearsal="replay", memory_size=10_000, replay_mode="share", old_task_fraction=0``. What is learned is
    then all that this class does with them, and the memory is saved with the model.

    Source: Chaudhry et al. 2019 (arXiv 1812.00420, eq. 11); for SAC, actor and critic, 10,000 transitions per task and batches
    of 128 Continual World (Wolczyk et al. 2021, ``continualworld/methods/agem.py`` and ``paper_cl_experiments``).

    :param batch_size: old transitions per gradient step
    :param verbose: 1 prints each task end
    :raises TypeError: for another algorithm than our off-policy ones
    :raises ValueError: where nothing is remembered, the memory is rehearsed, or returns are over several steps
    """

    before_consolidation = False

    def __init__(self, batch_size: int = 128, verbose: int = 0):
        super().__init__(verbose)
        self.batch_size = check_count("batch_size", batch_size)
        self._violations: list[bool] = []

    def on_task_end(self, task: str) -> None:
        """Nothing: the algorithm remembers the task's transitions."""

    def _init_callback(self) -> None:
        model: Any = self.model
        if not isinstance(model, OffPolicyContinualAlgorithm):
            raise TypeError(
                "A-GEM takes old transitions from the memory of NBSPSAC, NBSPTQC, NBSPDQN or NBSPQRDQN; got "
                f"{type(model).__name__}. Use one of them with {NOT_REHEARSED}."
            )
        rehearses = (model.rehearsal, model.replay_mode, model.old_task_fraction) != ("replay", "share", 0)  # type: ignore[attr-defined]
        if model.memory is None or model.memory_size == 0 or rehearses:
            raise ValueError(f"A-GEM needs a memory that is not rehearsed: expected {NOT_REHEARSED}. Set these arguments.")
        if model.n_steps > 1:
            raise ValueError(f"A-GEM knows one-step returns only; got n_steps={model.n_steps}. Use n_steps=1.")
        super()._init_callback()

    def hook(self) -> Iterator[RemovableHandle]:
        """Project the gradients before the optimizers step, once there are old tasks."""
        for part in self.model.scoring_losses if self.state["ended"] else ():
            # The one network of DQN and QRDQN has the policy's optimizer.
            owner = getattr(self.model.policy, part, self.model.policy)
            yield owner.optimizer.register_step_pre_hook(partial(self._project, part))

    def _project(self, part: str, optimizer: th.optim.Optimizer, *_: Any) -> None:
        if len(self.model.memory) == 0:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        with th.enable_grad():
            reference = th.autograd.grad(self._loss(part), parameters, allow_unused=True, materialize_grads=True)
        gradients = [p.grad for p in parameters]
        self._violations.append(project(gradients, reference))

    def _loss(self, part: str) -> th.Tensor:
        """A network's loss on a batch of old transitions."""
        buffer = self.model.replay_buffer
        samples = buffer._to_samples(buffer.memory.sample(self.batch_size), self.model.get_vec_normalize_env())
        actions = to_array(samples.actions)
        steps = ScoringSteps(
            observations=each(to_array, samples.observations),
            actions=actions[:, 0] if hasattr(self.model.action_space, "n") else actions,
            rewards=to_array(samples.rewards[:, 0]),
            next_observations=each(to_array, samples.next_observations),
            dones=to_array(samples.dones[:, 0]),
            episode_starts=np.zeros(self.batch_size, dtype=bool),
            episode_ends=np.zeros(self.batch_size, dtype=bool),
            successes=np.zeros(self.batch_size),
        )
        return self.model.scoring_losses[part](self.model, steps, np.arange(self.batch_size), ActivationRecorder([]))

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        if self._violations:
            self.logger.record("baselines/agem_projected", float(np.mean(self._violations)))
            self._violations.clear()


def project(gradients: list[th.Tensor], reference: tuple[th.Tensor, ...]) -> bool:
    """
    g <- g - (g . g_ref / g_ref . g_ref) g_ref where g . g_ref < 0.

    :param gradients: g by parameter, changed in place
    :param reference: g_ref, in the same shapes
    :return: whether it was projected
    """
    product = th.stack([(g * r).sum() for g, r in zip(gradients, reference, strict=True)]).sum()
    if product >= 0:
        return False
    share = product / th.stack([r.square().sum() for r in reference]).sum()
    for g, r in zip(gradients, reference, strict=True):
        g.sub_(share * r)
    return True
