"""Record what the neurons of a policy do."""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from types import TracebackType

import torch as th
from torch import nn
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.neurons.networks import NeuronLayer


class ActivationRecorder:
    """
    Record the activations of hidden layers while the block runs.

    The hooks sit on the leaf activation modules, because SB3 bypasses the ``forward`` of its containers. Every
    firing is recorded: call the network yourself inside the block rather than counting on who calls it when.

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
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "ActivationRecorder":
        for layer in self.layers:
            self._handles.append(layer.activation.register_forward_hook(partial(self._record, layer.name)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _record(self, name: str, module: nn.Module, inputs: tuple[th.Tensor, ...], output: th.Tensor) -> None:
        self.outputs[name].append(output if self.keep_graph else per_neuron(output.detach()))

    def activations(self) -> dict[str, th.Tensor]:
        """
        :return: activations by layer name, [n_recorded, n_neurons]; a channel's activation is the mean over its pixels
        """
        return {name: th.cat([per_neuron(output.detach()) for output in outputs]) for name, outputs in self.outputs.items()}

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self.outputs.clear()


def per_neuron(output: th.Tensor) -> th.Tensor:
    """
    :param output: output of an activation module, [batch, neurons] or [batch, channels, height, width]
    :return: [batch, neurons], images averaged over their pixels
    """
    return output.mean(dim=(2, 3)) if output.dim() == 4 else output
