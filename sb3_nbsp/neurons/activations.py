"""Record what the neurons of a policy do."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

import torch as th
from torch import nn

from sb3_nbsp.neurons.functional_activation import FunctionalActivation, uncompiled
from sb3_nbsp.neurons.layers import NeuronLayer


class ActivationRecorder:
    """
    Record the activations of hidden layers while the block runs.

    The hooks sit on the leaf activation modules, because SB3 bypasses the ``forward`` of its containers, and on functions
    where ``forward`` calls one without a module. Every firing is recorded: call the network yourself inside the block rather
    than counting on who calls it when.

    ::

        layers = [layer for network in find_networks(model.policy) for layer in network.layers]
        with ActivationRecorder(layers) as recorder:
            model.predict(observation)
        recorder.activations()["actor.latent_pi.0"]  # [1, n_neurons]

    :param layers: which layers to record
    :param keep_graph: keep the raw outputs with their autograd graph in ``outputs`` (for gradients with respect to
        activations) instead of detached copies
    """

    def __init__(self, layers: Iterable[NeuronLayer], keep_graph: bool = False):
        self.layers = list(layers)
        self.keep_graph = keep_graph
        self.outputs: dict[str, list[th.Tensor]] = defaultdict(list)
        self._handles: list[Any] = []
        self._uncompiled: AbstractContextManager[Any] = nullcontext()

    def __enter__(self) -> "ActivationRecorder":
        self._uncompiled = uncompiled()
        self._uncompiled.__enter__()
        for layer in self.layers:
            self._handles.append(layer.activation.register_forward_hook(partial(self._record, layer)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._uncompiled.__exit__(kind, error, trace)

    def _record(
        self, layer: NeuronLayer, module: nn.Module | FunctionalActivation, inputs: tuple[th.Tensor, ...], output: th.Tensor
    ) -> th.Tensor | None:
        # What comes next may change the output in place (x += ...): it gets a copy, or the record is one.
        if self.keep_graph:
            self.outputs[layer.name].append(output)
            return output.clone()
        outputs = self.outputs[layer.name]
        outputs.append(layer.per_neuron(output.detach().clone(), len(outputs)))
        return None

    def activations(self) -> dict[str, th.Tensor]:
        """
        :return: activations by layer name, [n_recorded, n_neurons]; a channel's activation is the mean over its pixels. A
            layer that is constant has one row for each call.
        """
        if not self.keep_graph:
            return {name: th.cat(outputs) for name, outputs in self.outputs.items()}
        by_name = {layer.name: layer for layer in self.layers}
        return {
            name: th.cat([by_name[name].per_neuron(output.detach(), call) for call, output in enumerate(outputs)])
            for name, outputs in self.outputs.items()
        }
