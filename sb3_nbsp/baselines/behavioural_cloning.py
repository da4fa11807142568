"""Behavioural cloning: the actor keeps doing in old tasks' observations what it did at their end."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch as th
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.base.arrays import Observations
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.network_outputs import action_distribution
from sb3_nbsp.baselines.parameters import check_coef, check_count
from sb3_nbsp.baselines.task_samples import as_seen, visited
from sb3_nbsp.rehearsal.cloning import distribution_parameters, kl_to_stored

BATCH_SIZE = 1024  # of the forward passes at a task's end


class BehaviouralCloning(TaskBoundaryCallback):
    """
    Add to the actor's loss, from the second task on,

        coef * E_s[ KL(pi_old(.|s) || pi(.|s)) ]

    over remembered observations of the old tasks, with pi_old the policy at the end of the task that an observation is from.
    A task that is met again gets a new memory in place of its old one, and is not cloned while it is learned.

    Source: ClonEx-SAC's loss (Wolczyk et al. 2022, arXiv 2209.13900) without its choice of the policy that
    explores a new task, which needs a head per task; the actor alone is cloned, as there. Defaults: the authors' CW20 runs and
    COOM (``CL/scripts/cl.sh``): 100, 10,000 samples of the replay buffer per task, batches of 128.

    The gradient is added right before the actor's optimizer steps. The memory is saved with the model.

    ``NBSPSAC`` and ``NBSPTQC`` have the same loss inside (``rehearsal="clone"``), at a smaller cost; this callback serves
    plain SAC and TQC, and as what theirs is compared with.

    :param coef: strength
    :param memory_size: observations kept per task
    :param batch_size: remembered observations per gradient step
    :param verbose: 1 prints each task end
    :raises TypeError: where the actor is not SAC's or TQC's
    """

    def __init__(self, coef: float = 100.0, memory_size: int = 10_000, batch_size: int = 128, verbose: int = 0):
        super().__init__(verbose)
        self.coef = check_coef(coef)
        self.memory_size = check_count("memory_size", memory_size)
        self.batch_size = check_count("batch_size", batch_size)
        self._loss: th.Tensor | None = None

    def initial_state(self) -> dict[str, Any]:
        """``memories``: by task, observations (not normalised) and the policy's distribution in them."""
        return {"memories": {}}

    def _init_callback(self) -> None:
        if not hasattr(getattr(self.model.policy, "actor", None), "action_dist"):
            raise TypeError(
                f"BehaviouralCloning needs an actor like SAC's or TQC's, got {type(self.model).__name__}. "
                'For PPO use NBSPPPO with rehearsal="clone".'
            )
        super()._init_callback()

    def on_task_end(self, task: str) -> None:
        """Remember observations, and what the policy does in them."""
        self.model.policy.set_training_mode(False)
        samples = visited(self.model, task, self.state["steps"], self.memory_size)
        stored = []
        for start in range(0, len(samples), BATCH_SIZE):
            with th.no_grad():
                part = samples.rows(slice(start, start + BATCH_SIZE)).observations
                stored.append(distribution_parameters(self._distribution(part)).cpu().numpy())
        memory = {"observations": samples.observations, "distributions": np.concatenate(stored)}
        self.state["memories"][task] = memory

    def hook(self) -> Iterator[RemovableHandle]:
        """Add the gradient of cloning before the actor's optimizer steps."""
        if self.state["memories"]:
            yield self.model.actor.optimizer.register_step_pre_hook(self._add_gradient)

    def _add_gradient(self, optimizer: th.optim.Optimizer, *_: Any) -> None:
        memories = [memory for task, memory in self.state["memories"].items() if task != self.current_task]
        if not memories:
            return
        with th.enable_grad():
            loss = self.loss(memories)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            gradients = th.autograd.grad(self.coef * loss, parameters, allow_unused=True)
        for p, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad.add_(gradient)
        self._loss = loss.detach()

    def loss(self, memories: list[dict[str, Any]]) -> th.Tensor:
        """
        mean KL(stored || current) on a batch, in which each task has an equal chance.

        :param memories: what is kept of some tasks
        """
        counts = np.bincount(np.random.randint(len(memories), size=self.batch_size), minlength=len(memories))
        divergences = []
        for memory, count in zip(memories, counts, strict=True):
            if count == 0:
                continue
            rows = np.random.randint(len(memory["distributions"]), size=count)
            stored = th.as_tensor(memory["distributions"][rows], device=self.model.device)
            divergences.append(kl_to_stored(stored, self._distribution(_rows(memory["observations"], rows))))
        return th.cat(divergences).mean()

    def _distribution(self, observations: Observations) -> Any:
        return action_distribution(self.model, as_seen(self.model, observations))

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        if self._loss is not None:
            self.logger.record("baselines/cloning_loss", float(self._loss))
            self._loss = None


def _rows(observations: Observations, rows: np.ndarray) -> Observations:
    if isinstance(observations, dict):
        return {key: values[rows] for key, values in observations.items()}
    return observations[rows]
