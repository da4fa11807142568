"""
Cloning inside an off-policy algorithm: a term of its loss that holds networks on old observations to what they put out there.

    at a task's end         observations of the task are kept, and what the networks put out there      CloningTerm.remember
    in each gradient step   a batch of them is drawn, every old task with an equal chance               CloningTerm.draw
                            clone_coef * mean(divergence(kept outputs, outputs now)) joins the loss     CloningTerm.in_force

What is held of which algorithm says a :class:`ClonedOutputs`: ``SOFT_ACTOR`` here, ``CLONED`` in ``dqn/`` and ``qrdqn/``.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.save_util import recursive_getattr

from sb3_nbsp.base.arrays import Observations, each, to_tensors
from sb3_nbsp.common.cloned_neurons import acting_layers, activations, check_acting_neurons, mean_square, only_skill_neurons
from sb3_nbsp.rehearsal.cloning import distribution_parameters, kl_to_stored
from sb3_nbsp.rehearsal.memory import Clones, JoinedMemory

BATCH_SIZE = 1024  # of the forward passes at a task's end
TIME_CONSTANTS = 10  # of the target critics, 1 / tau updates each, in which they learn a task again (docs/results/met-again)


@dataclass(frozen=True)
class ClonedOutputs:
    """
    What is held of an algorithm's networks.

    :param optimizer: name of the optimizer whose step the term joins
    :param outputs: of a model and observations as its policy takes them, [batch, ...]: what is kept, [batch, P]
    :param divergence: of a model, observations and what was kept, [batch, P]: how far the outputs are from it now, [batch]
    :param n_outputs: P, of a model
    :param n_updates_behind: of a model: gradient steps for which a task that is met again is cloned, too. 0 where its values
        were held; critics that were not have forgotten it, and would lead the policy astray until they know it again.
    """

    optimizer: str
    outputs: Callable[[Any, Any], th.Tensor]
    divergence: Callable[[Any, Any, th.Tensor], th.Tensor]
    n_outputs: Callable[[Any], int]
    n_updates_behind: Callable[[Any], float] = lambda model: 0.0


class CloningTerm:
    """
    The term of one model.

    Of the model it takes ``rehearsal``, ``memory_size``, ``clone_coef`` and ``clone_batch_size``, so that a change of them is
    obeyed from the next ``train()`` on.

    :param model: an off-policy NBSP model, whose class says what is held (``cloned_outputs``); with
        ``clone_target="skill_neurons"`` activations of the same network are
    :raises ValueError: where there are no skill neurons whose activations could be held
    """

    def __init__(self, model: Any):
        self.model = model
        self.holds_neurons = model.clone_target == "skill_neurons"
        if self.holds_neurons and model.rehearsal != "replay" and model.skill_fraction == 0:
            raise ValueError('clone_target="skill_neurons" needs skill neurons: use a skill_fraction above 0.')
        self.memory: JoinedMemory[Clones] = JoinedMemory(Clones)
        self._is_on = False
        self._losses: list[th.Tensor] = []

    @property
    def cloned(self) -> ClonedOutputs:
        """What is held. Not an attribute: functions of a class cannot be pickled, models can."""
        held: ClonedOutputs = self.model.cloned_outputs
        return neurons_of(held) if self.holds_neurons else held

    @property
    def is_wanted(self) -> bool:
        """Whether the model's arguments ask for it."""
        return self.model.rehearsal in ("clone", "both") and self.model.memory_size > 0

    def check(self) -> None:
        """
        To be called once the model is set up.

        :raises ValueError: where it would hold neurons, and the network that acts has none
        """
        if self.is_wanted and self.holds_neurons:
            check_acting_neurons(self.model)

    def check_memory(self) -> None:
        """
        To be called before what is kept is cloned: ``load()`` and ``set_parameters()`` may bring other arguments.

        :raises ValueError: where what is kept is not what shall be held
        """
        kept = None if self.memory.joined is None else self.memory.joined.outputs
        if not self.is_wanted or kept is None:
            return
        is_of_neurons = bool(np.isnan(kept[0]).any())  # of those that are no skill neurons, see only_skill_neurons()
        if kept.shape[1] != self.n_outputs or (is_of_neurons and not self.holds_neurons):
            raise ValueError(
                f"Of old tasks {kept.shape[1]} numbers are kept for each observation, and clone_target="
                f"{self.model.clone_target!r} with mask_networks={self.model.mask_networks!r} clones {self.n_outputs} others. "
                "Use the arguments that the tasks were learned with, or forget what is kept: model.cloning.memory.reset()."
            )

    # At a task's end

    @th.no_grad()
    def remember(self, task: int, observations: Observations) -> None:
        """
        Keep observations of a task, and what the networks put out there now. Where they are fewer than ``memory_size``, the
        task's older observations fill them up, with what is put out there now, too.

        :param task: index of the task
        :param observations: [M, ...], not normalised
        """
        kept = each(lambda array: array.astype(np.float32) if array.dtype == np.float64 else array, observations)
        unknown = np.empty((len(next(iter(kept.values())) if isinstance(kept, dict) else kept), self.n_outputs), np.float32)
        self.memory.store(task, Clones(observations=kept, outputs=unknown), self.model.memory_size)
        samples = self.memory.tasks[task]
        self.model.policy.set_training_mode(False)
        for start in range(0, len(samples), BATCH_SIZE):
            part = samples.rows(slice(start, start + BATCH_SIZE))  # a view of the memory
            outputs = self.cloned.outputs(self.model, self._seen(part.observations))
            if self.holds_neurons:
                outputs = only_skill_neurons(self.model, self.model.learned_tasks[task], outputs)
            part.outputs[:] = outputs.cpu().numpy()

    @property
    def n_outputs(self) -> int:
        """P: how many numbers are kept beside an observation."""
        return self.cloned.n_outputs(self.model)

    # In a gradient step

    @property
    def coef(self) -> float:
        """The strength."""
        return float(self.model.clone_coef)

    def is_due(self) -> bool:
        """Whether the term joins the loss now: it is wanted, and there is something of other tasks to clone."""
        known = self.model.memory.current_task if self.model.memory is not None else None
        self.memory.current_task = None if self._values_are_behind() else known
        return self.is_wanted and len(self.memory) > 0

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside the block, which learns, the term joins the loss; nothing happens as long as there is nothing to clone."""
        if not self.is_due():
            yield
            return
        optimizer = recursive_getattr(self.model, self.cloned.optimizer)
        self._is_on, optimizer.further_gradients = True, self._gradients
        try:
            yield
        finally:
            self._is_on, optimizer.further_gradients = False, None
            self._log()

    def _values_are_behind(self) -> bool:
        if self.model.rehearsal == "both":  # the critics were rehearsed
            return False
        n_updates = self.model._n_updates - self.model.position.record.get("updates", 0)  # of this visit
        return bool(n_updates < self.cloned.n_updates_behind(self.model))

    def draw(self) -> tuple[Any, th.Tensor] | None:
        """
        A batch of the memory: observations as the policy takes them and the outputs that were kept, [clone_batch_size, ...].
        ``None`` where nothing is cloned.
        """
        return self.sample() if self._is_on else None

    def sample(self) -> tuple[Any, th.Tensor]:
        """The same where it is due."""
        samples = self.memory.sample(self.model.clone_batch_size)
        return self._seen(samples.observations), th.as_tensor(samples.outputs, device=self.model.device)

    def note(self, loss: th.Tensor) -> None:
        """
        :param loss: mean divergence of a batch, for the log
        """
        self._losses.append(loss)

    @th.enable_grad()
    def _gradients(self, parameters: list[th.Tensor]) -> tuple[th.Tensor | None, ...]:
        """Of clone_coef * the mean divergence, for networks that learn with autograd."""
        batch = self.draw()
        assert batch is not None
        loss = self.cloned.divergence(self.model, *batch).mean()
        self.note(loss.detach())
        return th.autograd.grad(self.coef * loss, parameters, allow_unused=True)

    def _seen(self, observations: Observations) -> Any:
        """Normalised where training normalises, on the model's device."""
        normalize = self.model.get_vec_normalize_env()
        return to_tensors(observations if normalize is None else normalize.normalize_obs(observations), self.model.device)

    def _log(self) -> None:
        losses, self._losses = self._losses, []
        if losses:
            self.model.logger.record("nbsp/cloning_loss", float(th.stack(losses).mean()))


def neurons_of(cloned: ClonedOutputs) -> ClonedOutputs:
    """
    :param cloned: what is held of an algorithm's networks
    :return: the same with skill neurons' activations in place of the outputs
    """
    return ClonedOutputs(
        optimizer=cloned.optimizer,
        outputs=activations,
        divergence=lambda model, observations, kept: mean_square(kept, activations(model, observations)),
        n_outputs=lambda model: sum(layer.n_neurons for layer in acting_layers(model)),
        n_updates_behind=cloned.n_updates_behind,
    )


def _distribution(model: Any, observations: Any) -> Distribution:
    mean, log_std, extra = model.actor.get_action_dist_params(observations)
    # Of a copy: the actor's own keeps what it was given last, and with its gradient the model could not be copied.
    return copy(model.actor.action_dist).proba_distribution(mean, log_std, **extra)


# mean KL(pi_old(.|s) || pi(.|s)) of the Gaussians before they are squashed (ClonEx-SAC: Wolczyk et al. 2022, arXiv 2209.13900)
SOFT_ACTOR = ClonedOutputs(
    optimizer="actor.optimizer",
    outputs=lambda model, observations: distribution_parameters(_distribution(model, observations)),
    divergence=lambda model, observations, kept: kl_to_stored(kept, _distribution(model, observations)),
    n_outputs=lambda model: 2 * int(np.prod(model.action_space.shape)),
    n_updates_behind=lambda model: TIME_CONSTANTS / model.tau if model.tau > 0 else math.inf,
)
