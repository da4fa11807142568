"""ReDo: neurons that are dormant are recycled."""

from typing import Annotated, Any

import numpy as np
import torch as th
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_nbsp.base.arguments import AtLeast, Whole, check_values
from sb3_nbsp.base.arrays import to_tensors
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.network_outputs import action_distribution, critic_outputs, deterministic_actions, has_critic
from sb3_nbsp.baselines.parameters import check_rows_are_neurons, fresh_parameters, neuron_layers, reset_moments
from sb3_nbsp.baselines.task_samples import as_seen, newest
from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.networks import NeuronLayer

ARGUMENTS: dict[str, Any] = {
    "tau": Annotated[float, AtLeast(0)],
    "period": Annotated[int, Whole(1, "gradient steps")],
    "n_samples": Annotated[int, Whole(1, "samples")],
}


class ReDo(TaskBoundaryCallback):
    """
    Every ``period`` gradient steps, neurons whose score

        s_i = E|h_i| / (1/H sum_k E|h_k|)   (over the H neurons of their layer)

    is at most tau get new incoming weights (and bias) from their layer's initial distribution, outgoing weights of 0, and
    moments of 0 in the optimizer. The network's output hardly changes. Convolution channels count as neurons; target
    networks follow as they always do.

    Tasks make no difference to it.

    Source: Sokar et al. 2023 (arXiv 2302.12902, definition 3.1 and algorithm 1). Defaults as in its Atari runs: tau 0.025,
    1,000 gradient steps, 64 samples (as ``timoklein/redo`` gives them; with replay ratios above 0.25 tau is 0.1 there).

    :param tau: threshold of the score, 0 or more
    :param period: gradient steps between two recyclings (PPO counts epochs)
    :param n_samples: observations that scores are computed on, from the whole replay buffer or PPO's last rollout
    :param verbose: 1 prints each task end, and how many neurons are recycled
    """

    before_consolidation = False

    def __init__(self, tau: float = 0.025, period: int = 1000, n_samples: int = 64, verbose: int = 0):
        super().__init__(verbose)
        check_values(ARGUMENTS, locals())
        self.tau = tau
        self.period = period
        self.n_samples = n_samples

    def initial_state(self) -> dict[str, Any]:
        """``rollout``: some of an on-policy algorithm's last one: observations, as the policy saw them, and actions."""
        return {"rollout": None}

    def _init_callback(self) -> None:
        check_rows_are_neurons(self.model, "ReDo")
        super()._init_callback()

    def on_task_end(self, task: str) -> None:
        """Nothing: see the class."""

    def _on_rollout_end(self) -> None:
        if self._is_on_policy:  # its buffer, which holds what the policy saw, is emptied before the next rollout starts
            samples = newest(self.model.rollout_buffer, self.model.rollout_buffer.size(), self.n_samples)
            self.state["rollout"] = samples.observations, samples.actions

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        rollout: Any = self.state.get("rollout")
        if self._is_on_policy and rollout is None:  # it is yet to come: what is due until then is due after it
            self.state.setdefault("counted", self.model._n_updates)
            return
        if not self.period_is_over(self.model._n_updates, self.period):
            return
        if self._is_on_policy:
            observations, actions = rollout
            self._recycle_dormant(to_tensors(observations, self.model.device), actions)
        else:
            samples = newest(self.model.replay_buffer, self.model.replay_buffer.size(), self.n_samples)
            if len(samples) > 0:  # it was not emptied right now
                self._recycle_dormant(as_seen(self.model, samples.observations), samples.actions)

    @property
    def _is_on_policy(self) -> bool:
        return isinstance(self.model, OnPolicyAlgorithm)

    def _recycle_dormant(self, observations: Any, actions: np.ndarray) -> None:
        layers = neuron_layers(self.model)
        activations = self._activations(layers, observations, actions)
        chosen = {layer: dormant(activations[layer.name], self.tau) for layer in layers}
        n_chosen = sum(int(neurons.sum()) for neurons in chosen.values())
        share = n_chosen / max(sum(layer.n_neurons for layer in layers), 1)
        self.logger.record("baselines/dormant_share", share)
        if self.verbose:
            print(f"ReDo: {n_chosen} neurons ({share:.1%}) are recycled after {self.model._n_updates} gradient steps")
        if n_chosen > 0:
            fresh = fresh_parameters(self.model)
            values = {p: fresh[name] for name, p in self.model.policy.named_parameters()}
            for layer, neurons in chosen.items():
                recycle(self.model, layer, neurons.nonzero()[:, 0], values)

    @th.no_grad()
    def _activations(self, layers: list[NeuronLayer], observations: Any, actions: np.ndarray) -> dict[str, th.Tensor]:
        self.model.policy.set_training_mode(False)
        with ActivationRecorder(layers) as recorder:
            if action_distribution(self.model, observations) is None:
                deterministic_actions(self.model, observations)
            if has_critic(self.model):
                taken = th.as_tensor(actions, device=self.model.device, dtype=th.float32)
                critic_outputs(self.model, observations, taken)
        return recorder.activations()


def dormant(activations: th.Tensor, tau: float) -> th.Tensor:
    """
    :param activations: of one layer, [batch, n_neurons]
    :param tau: threshold
    :return: which neurons are tau-dormant, bool [n_neurons]
    """
    sizes = activations.abs().mean(dim=0)
    # Not sizes / mean: where all neurons are silent, all are dormant.
    return sizes <= tau * sizes.mean()


@th.no_grad()
def recycle(model: Any, layer: NeuronLayer, neurons: th.Tensor, fresh: dict[th.Tensor, th.Tensor]) -> None:
    """
    Draw what feeds some neurons anew and let nothing read them.

    :param model: whose optimizers forget the moments
    :param layer: the neurons' layer
    :param neurons: indices
    :param fresh: new values by parameter
    """
    for parameter in layer.own:
        parameter.data[neurons] = fresh[parameter][neurons]
        reset_moments(model, parameter, 0, neurons)
    for reader in layer.readers:
        columns = reader.indices(neurons)
        reader.parameter.data.index_fill_(reader.dim, columns, 0.0)
        reset_moments(model, reader.parameter, reader.dim, columns)
