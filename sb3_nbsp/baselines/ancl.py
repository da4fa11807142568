"""ANCL: held near the old parameters, and near those of an auxiliary network that learned the new task without being held."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.ewc import actor_fisher, critic_fisher
from sb3_nbsp.baselines.importance import mean_importances
from sb3_nbsp.baselines.parameters import Networks, check_coef, check_count, check_networks, learned_parameters, optimizers
from sb3_nbsp.baselines.quadratic_penalty import Parameters, no_penalty, penalty_hooks
from sb3_nbsp.baselines.task_samples import visited
from sb3_nbsp.common.env_util import is_task_sequence

AUXILIARY_SEED = 40_000  # what its random numbers are drawn for, beside those of task ends


class ANCL(TaskBoundaryCallback):
    """
    Auxiliary network continual learning, in its form with EWC. From the second task on a task is learned twice:

    1. by the auxiliary network, which goes on from the old parameters theta_old and is held by nothing;
    2. by the network itself, again from theta_old, with this added to the loss:

        coef/2 sum_j F_j (theta_j - theta_old_j)^2 + aux_coef/2 sum_j F^aux_j (theta_j - theta_aux_j)^2

    F is the diagonal of the Fisher information (as :class:`~sb3_nbsp.baselines.EWC` computes it) at the end of each task,
    merged as F <- fusion F + (1 - fusion) F_new, beginning with 0; F^aux that of the auxiliary network at its end.

    The auxiliary network acts too: a task's env steps are shared between the two, half and half, so that the method takes no
    more of them than others; the replay buffer stays, and serves both. Until then evaluations see the auxiliary network.
    Where the network goes back to theta_old, so do target networks, and the optimizers begin anew. What is no part of the
    policy, SAC's learned entropy coefficient, stays where the auxiliary network has left it. Going back takes place where a
    rollout starts: rollouts must be short enough that one starts in each task's second part.

    Source: Kim et al. 2023 (arXiv 2303.05859) by the authors' code, ``src/approach/a-ewc.py`` of ``kim-sanghwan/ANCL``, from
    which the three numbers are too: they are for image classification, where both networks see all data. How it is best
    carried over to reinforcement learning is not published; sharing the steps is our choice.

    :param coef: strength of the penalty around the old parameters
    :param aux_coef: strength of the penalty around those of the auxiliary network
    :param fusion: share of the earlier tasks' Fisher information, in [0, 1]
    :param aux_steps: env steps, over all sub-envs, that the auxiliary network learns from the beginning of a task; default:
        half of the task's in the sequence
    :param networks: which parameters are held: ``actor``, ``critic`` or ``all``
    :param n_samples: samples per Fisher information
    :param verbose: 1 prints each task end
    :raises ValueError: without a task sequence and ``aux_steps``; or where a task of the sequence leaves no steps for the
        network itself, or less than a rollout
    """

    def __init__(
        self,
        coef: float = 1e4,
        aux_coef: float = 10.0,
        fusion: float = 0.5,
        aux_steps: int | None = None,
        networks: Networks = "actor",
        n_samples: int = 2560,
        verbose: int = 0,
    ):
        super().__init__(verbose)
        if not 0 <= fusion <= 1:
            raise ValueError(f"fusion must be a number in [0, 1]; got {fusion!r}.")
        self.coef = check_coef(coef)
        self.aux_coef = check_coef(aux_coef)
        self.fusion = fusion
        self.aux_steps = aux_steps if aux_steps is None else check_count("aux_steps", aux_steps)
        self.networks = check_networks(networks)
        self.n_samples = check_count("n_samples", n_samples)

    def initial_state(self) -> dict[str, Any]:
        """
        ``importances`` and ``anchors``: F and theta_old. ``start``: the policy when the task began, while the auxiliary
        network learns. ``auxiliary``: F^aux and theta_aux, while the network itself does.
        """
        return {**no_penalty(), "start": None, "auxiliary": None}

    def _on_training_start(self) -> None:
        if self.aux_steps is None and not is_task_sequence(self.training_env):
            raise ValueError(
                "ANCL gives its auxiliary network half of a task's steps: without a task sequence, give aux_steps."
            )
        if is_task_sequence(self.training_env):
            self._check_second_part()
        super()._on_training_start()

    def _check_second_part(self) -> None:
        rollout = _rollout_steps(self.model)
        for steps in self.training_env.get_attr("task_sequence", 0)[0].segment_steps[1:]:
            auxiliary = steps // 2 if self.aux_steps is None else self.aux_steps
            if steps - auxiliary < rollout:
                raise ValueError(
                    f"ANCL's network begins again where a rollout starts, after the {auxiliary:,} env steps of the auxiliary "
                    f"network. Expected at least a rollout's steps, {rollout:,}, after them; got a task of {steps:,}. Take "
                    "shorter rollouts (n_steps, train_freq), fewer aux_steps or longer tasks."
                )

    def on_task_end(self, task: str) -> None:
        """Merge the Fisher information, and let the auxiliary network begin."""
        if self.state["start"] is not None:
            warnings.warn(
                f"ANCL: task {task!r} has ended after {self.state['steps']:,} steps of each env, before its network began "
                "again: it goes on from the auxiliary network, held by nothing. Give fewer aux_steps or train for longer.",
                stacklevel=2,
            )
        held = learned_parameters(self.model, self.networks)
        merged = merge(self.state["importances"], self._fisher(task), self.fusion)
        anchors = {name: p.detach().cpu().clone() for name, p in held.items()}
        start = {name: value.detach().cpu().clone() for name, value in self.model.policy.state_dict().items()}
        self.state.update(importances=merged, anchors=anchors, start=start, auxiliary=None)

    def _fisher(self, task: str | None) -> dict[str, th.Tensor]:
        self.model.policy.set_training_mode(False)
        samples = visited(self.model, task or "without a name", self.state["steps"], self.n_samples)
        found = mean_importances(self.model, samples, self.networks, actor_fisher, critic_fisher)
        return {name: values.cpu() for name, values in found.items()}

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        steps = self.state["steps"] * self.training_env.num_envs
        if self.state["start"] is not None and 0 < steps >= self._steps_of_auxiliary():
            self._begin_again()

    def _steps_of_auxiliary(self) -> int:
        if self.aux_steps is not None:
            return self.aux_steps
        sequence = self.training_env.get_attr("task_sequence", 0)[0]
        segment = min(len(self.state["ended"]), len(sequence.segments) - 1)
        return sequence.segment_steps[segment] // 2

    def _begin_again(self) -> None:
        """The auxiliary network has learned: keep what it knows, and let the network itself begin."""
        with self.own_rng(AUXILIARY_SEED):
            importances = self._fisher(self.state["learned"])
        held = learned_parameters(self.model, self.networks)
        anchors = {name: p.detach().cpu().clone() for name, p in held.items()}
        start = self.state["start"]
        with th.no_grad():
            for name, value in self.model.policy.state_dict().items():
                value.copy_(start[name])
        for optimizer in optimizers(self.model):
            optimizer.state.clear()
        self.state.update(start=None, auxiliary={"importances": importances, "anchors": anchors})
        self._put_in_force()

    def hook(self) -> Iterator[RemovableHandle]:
        """Add the gradients of both penalties, while the network itself learns."""
        if self.state["auxiliary"] is not None:
            held = learned_parameters(self.model, self.networks)
            yield from penalty_hooks(self.state, held, self.coef / 2)
            yield from penalty_hooks(self.state["auxiliary"], held, self.aux_coef / 2)


def merge(earlier: Parameters, new: Parameters, fusion: float) -> dict[str, th.Tensor]:
    """
    fusion F + (1 - fusion) F_new.

    :param earlier: F by the parameters' names; empty at first, which stands for 0
    :param new: F_new
    :param fusion: in [0, 1]
    """
    return {name: fusion * earlier.get(name, th.zeros_like(value)) + (1 - fusion) * value for name, value in new.items()}


def _rollout_steps(model: Any) -> int:
    """Env steps from the start of a rollout to the next; of off-policy rollouts that are counted in episodes, at least."""
    if isinstance(model, OnPolicyAlgorithm):
        return model.n_steps * model.n_envs
    in_steps = model.train_freq.unit == TrainFrequencyUnit.STEP
    return (model.train_freq.frequency if in_steps else 1) * model.n_envs
