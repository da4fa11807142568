"""NPC: important neurons learn at lower rates."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch as th

from sb3_nbsp.baselines.base import Removable, TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import check_rows_are_neurons, neuron_layers, trained_layers
from sb3_nbsp.common.layer_watch import LayerWatch
from sb3_nbsp.neurons.layers import NeuronLayer


class NPC(TaskBoundaryCallback):
    """
    Neuron-level plasticity control. At every gradient step each hidden neuron n with activation h_n gets an importance, the
    Taylor criterion, scaled by its layer's root mean square and averaged over time,

        c_n = abs(mean over the batch of h_n dL/dh_n),    C_n <- decay C_n + (1 - decay) c_n / sqrt(mean over the layer of c^2)

    and the change that the optimizer makes to its incoming weights and bias is multiplied by

        f_n = min(1, sqrt(strength / C_n))

    so that a neuron of average importance learns at the rate of ``sqrt(strength)``, and twice the importance costs a factor of
    1.41. Output layers, which have no neurons of their own, learn at the full rate. No old data, and no task boundaries. The
    importances are saved with the model.

    Source: Paik et al. 2020 (arXiv 1907.13322): importance by the Taylor criterion, one learning rate for all that feeds a
    neuron, lower for what is important. Its text was not at hand: **the rate as a function of the importance, and all three
    numbers, are our reading of it**, not checked against the paper. As Adam cancels a constant factor on gradients, the factor
    is put on the change.

    :param strength: see above, more than 0. 1 slows down what is more important than its layer's average only.
    :param decay: of the average, in [0, 1)
    :param verbose: 1 prints each task end
    """

    before_consolidation = False

    def __init__(self, strength: float = 0.1, decay: float = 0.999, verbose: int = 0):
        super().__init__(verbose)
        if not strength > 0 or not 0 <= decay < 1:
            raise ValueError(f"Expected strength > 0 and decay in [0, 1); got {strength!r} and {decay!r}.")
        self.strength = strength
        self.decay = decay
        self._importances: dict[str, th.Tensor] = {}
        self._before: dict[th.Tensor, th.Tensor] = {}

    def _init_callback(self) -> None:
        check_rows_are_neurons(self.model, "NPC")
        super()._init_callback()

    def initial_state(self) -> dict[str, Any]:
        """``importances``: C by layer, [n_neurons], 0 at first, when all neurons learn at the full rate."""
        return {"importances": {layer.name: th.zeros(layer.n_neurons) for layer in neuron_layers(self.model)}}

    def on_task_end(self, task: str) -> None:
        """Nothing: see the class."""

    def hook(self) -> Iterator[Removable]:
        """Take the importances where gradients arise, and scale what the optimizers do."""
        layers = neuron_layers(self.model)
        for layer in layers:
            # The newest gradient counts: for a critic that of its own loss, which is the last one before its step.
            yield layer.activation.register_forward_hook(LayerWatch(partial(self._note, layer)))
        for optimizer, trained in trained_layers(self.model, layers):
            yield optimizer.register_step_pre_hook(partial(self._before_step, trained))
            yield optimizer.register_step_post_hook(partial(self._after_step, trained))

    def _note(self, layer: NeuronLayer, output: th.Tensor, gradient: th.Tensor) -> None:
        self._importances[layer.name] = importance(layer.per_neuron(output * gradient))

    def _before_step(self, layers: list[NeuronLayer], *_: Any) -> None:
        for layer in layers:
            new = self._importances.pop(layer.name, None)
            if new is not None:
                self.state["importances"][layer.name].lerp_(new.cpu(), 1 - self.decay)
        self._before = {p: p.detach().clone() for layer in layers for p in layer.own}

    @th.no_grad()
    def _after_step(self, layers: list[NeuronLayer], *_: Any) -> None:
        for layer in layers:
            factors = rates(self.state["importances"][layer.name], self.strength)
            for p in layer.own:
                free = factors.to(p).reshape(-1, *[1] * (p.dim() - 1))
                p.data.copy_(th.lerp(self._before[p], p.data, free.expand_as(p)))
        self._before = {}


def importance(changes: th.Tensor) -> th.Tensor:
    """
    abs(mean over the batch of h dL/dh), divided by its root mean square over the layer.

    :param changes: activations times the gradients of a loss that is a mean over the batch, [batch, n_neurons]
    :return: [n_neurons], 0 or more, with a mean square of 1; all 0 where no neuron has any importance
    """
    sizes = changes.mean(dim=0).abs()
    return sizes / sizes.square().mean().sqrt().clamp_min(th.finfo(sizes.dtype).tiny)


def rates(importances: th.Tensor, strength: float) -> th.Tensor:
    """
    min(1, sqrt(strength / C)).

    :param importances: C, [n_neurons], 0 or more
    :param strength: more than 0
    :return: [n_neurons], in (0, 1]
    """
    return (strength / importances.clamp_min(strength)).sqrt()
