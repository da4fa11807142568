"""Continual backprop: at every gradient step, a few neurons of low utility are drawn anew."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch as th

from sb3_nbsp.baselines.base import Removable, TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import check_count, check_rows_are_neurons, fresh_parameters, neuron_layers, trained_layers
from sb3_nbsp.baselines.redo import recycle
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.neurons.layers import NeuronLayer, Reader


class ContinualBackprop(TaskBoundaryCallback):
    """
    After every gradient step of a network, for each of its hidden layers: with h the activations in the batch and w_ik the
    weight by which neuron i is read,

        u_i <- decay u_i + (1 - decay) mean(abs(h_i)) sum_k abs(w_ik),    a_i <- a_i + 1

    and replacement_rate times the number of neurons that are older than maturity are due. As soon as one neuron is due, of
    those the one with the smallest u_i / (1 - decay^a_i) is drawn anew: incoming weights and bias from their initial
    distribution, outgoing weights 0, utility and age 0, and moments of 0 in the optimizer. Target networks follow as they
    always do. What is due, utilities and ages are saved with the model; tasks make no difference. A layer that gets no
    gradient in a step stays as it is; of one that runs several times in a pass the first time counts.

    Source: Dohare et al. 2024 (Nature 632, algorithm 1; its text was not at hand, what is here follows the authors' code,
    ``lop/algos/gnt.py`` of ``shibhansh/loss-of-plasticity``, with utility ``contribution`` and ``accumulate=True``). There the
    mean activation of what is removed is also added to the readers' biases, new biases are 0, and so are Adam's step
    counts of what is replaced, which here go on: torch has one per parameter. Defaults: their PPO runs
    (``lop/rl/cfg/ant/cbp.yml``); their Adam's betas of 0.99 and weight decay of 1e-4 are the optimizer's to set.

    :param replacement_rate: share of a layer's mature neurons that is replaced per gradient step, in [0, 1]
    :param maturity: gradient steps for which a new neuron is left alone. No neuron is replaced before: with tasks that are
        shorter than theirs, take fewer (the authors take 100 in supervised learning).
    :param decay: of the utility, in [0, 1)
    :param verbose: 1 prints each task end
    """

    before_consolidation = False

    def __init__(self, replacement_rate: float = 1e-4, maturity: int = 10_000, decay: float = 0.99, verbose: int = 0):
        super().__init__(verbose)
        if not 0 <= replacement_rate <= 1 or not 0 <= decay < 1:
            raise ValueError(
                f"Expected replacement_rate in [0, 1] and decay in [0, 1); got {replacement_rate!r} and {decay!r}."
            )
        self.replacement_rate = replacement_rate
        self.maturity = check_count("maturity", maturity)
        self.decay = decay
        self._activations: dict[str, th.Tensor] = {}

    def _init_callback(self) -> None:
        check_rows_are_neurons(self.model, "ContinualBackprop")
        super()._init_callback()

    def initial_state(self) -> dict[str, Any]:
        """By layer: ``utilities`` and ``ages``, [n_neurons], and ``due``, a number; ``replaced``, how many were."""
        layers = {layer.name: layer.n_neurons for layer in neuron_layers(self.model)}
        zeros = {name: th.zeros(n) for name, n in layers.items()}
        return {
            "utilities": zeros,
            "ages": {n: z.clone() for n, z in zeros.items()},
            "due": dict.fromkeys(zeros, 0.0),
            "replaced": 0,
        }

    def on_task_end(self, task: str) -> None:
        """Nothing: see the class."""

    def hook(self) -> Iterator[Removable]:
        """Look at the activations, and replace neurons after the optimizers' steps."""
        layers = neuron_layers(self.model)
        for layer in layers:
            yield layer.activation.register_forward_hook(LayerWatch(partial(self._note, layer)))
        for optimizer, trained in trained_layers(self.model, layers):
            yield optimizer.register_step_post_hook(partial(self._after_step, trained))

    def _note(self, layer: NeuronLayer, output: th.Tensor, gradient: th.Tensor) -> None:
        self._activations[layer.name] = layer.per_neuron(output.abs()).mean(dim=0)

    def _after_step(self, layers: list[NeuronLayer], *_: Any) -> None:
        chosen = {layer: self._due(layer) for layer in layers if layer.name in self._activations}
        chosen = {layer: neurons for layer, neurons in chosen.items() if len(neurons)}
        if not chosen:
            return
        self.state["replaced"] += sum(map(len, chosen.values()))
        fresh = fresh_parameters(self.model)
        values = {p: fresh[name] for name, p in self.model.policy.named_parameters()}
        for layer, neurons in chosen.items():
            recycle(self.model, layer, neurons.to(layer.own[0].device), values)

    def _due(self, layer: NeuronLayer) -> th.Tensor:
        """Move a layer's utilities and ages on; which of its neurons are replaced now."""
        size = self._activations.pop(layer.name).cpu()
        utilities, ages = self.state["utilities"][layer.name], self.state["ages"][layer.name]
        utilities.lerp_(size * outgoing(layer).cpu(), 1 - self.decay)
        ages += 1
        mature = (ages > self.maturity).nonzero()[:, 0]
        due = self.state["due"][layer.name] + self.replacement_rate * len(mature)
        n = min(int(due), len(mature))
        self.state["due"][layer.name] = due - n
        corrected = utilities[mature] / (1 - self.decay ** ages[mature])
        chosen = mature[corrected.argsort(stable=True)[:n]]
        utilities[chosen] = ages[chosen] = 0.0
        return chosen

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        self.logger.record("baselines/replaced_neurons", self.state["replaced"])


def outgoing(layer: NeuronLayer) -> th.Tensor:
    """
    :param layer: a hidden layer
    :return: sum_k abs(w_ik) over what reads each neuron, [n_neurons]
    """
    return th.stack([_read_by(reader, layer.n_neurons) for reader in layer.readers]).sum(dim=0)


@th.no_grad()
def _read_by(reader: Reader, n_neurons: int) -> th.Tensor:
    sizes = reader.parameter.abs().transpose(0, reader.dim).flatten(1).sum(dim=1)  # by index of the dimension
    total = sizes.new_zeros(n_neurons)
    if reader.neurons:
        places = th.tensor(reader.neurons, device=sizes.device)
        here = sizes[reader.start : reader.start + len(places)]
        return total.index_add_(0, places[places >= 0], here[places >= 0])
    return sizes[reader.start : reader.start + n_neurons * reader.span].reshape(n_neurons, reader.span).sum(dim=1)
