"""The masks: how much each neuron, and through it each parameter, may still change."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import torch as th
from torch import nn

from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.neurons.networks import Network, NeuronLayer

MaskSides = Literal["incoming", "outgoing", "both"]


class NeuronMasks(nn.Module):
    """
    Factors in [0, 1] per neuron and old task: 0 holds a neuron, 1 leaves it free.

    Masks of several tasks accumulate: the element-wise minimum counts. A task that is held again gets its new
    factors *in place of* its old ones, so that a cycle of tasks does not eat the network up.

    Parameters are known by identity, never by name: a features extractor registered under three names is masked once.
    Kept in the state dict: one float buffer [n_tasks, n_neurons] per layer.

    :param networks: see :func:`~sb3_nbsp.neurons.networks.find_networks`
    :param sides: ``incoming``: what feeds a neuron (weight row, bias; published); ``outgoing``: what reads it
        (weight columns, also those of the output layers); ``both``
    :param output_biases: hold the output layers' biases too, as strongly as the network's most held neuron
    :raises ValueError: for an unknown side
    """

    def __init__(self, networks: Iterable[Network], sides: MaskSides = "incoming", output_biases: bool = False):
        super().__init__()
        if sides not in get_args(MaskSides):
            raise ValueError(f"mask_sides must be one of {', '.join(get_args(MaskSides))}; got {sides!r}.")
        self.networks = list(networks)
        self.sides = sides
        self.output_biases = output_biases
        for layer in self._layers():
            self.register_buffer(layer.key, th.ones(0, layer.n_neurons))

    @property
    def n_tasks(self) -> int:
        """Number of tasks with a mask."""
        return max((len(self._of(layer)) for layer in self._layers()), default=0)

    @property
    def has_neurons(self) -> bool:
        """Whether there is any hidden layer."""
        return bool(self._layers())

    @property
    def n_held(self) -> int:
        """Number of tasks that hold at least one neuron."""
        rows = [(self._of(layer) < 1).any(dim=1) for layer in self._layers()]
        return int(th.stack(rows).any(dim=0).sum()) if rows else 0

    def hold(self, task: int, factors: Mapping[str, th.Tensor]) -> None:
        """
        Set the factors of a task.

        :param task: index of the task: one that is held already (its factors are replaced) or the next new one
        :param factors: by layer name, [n_neurons], in [0, 1]; layers that are left out stay free
        :raises ValueError: for a task index that leaves a gap, a name that no layer has, or factors of another size or range
        :raises TypeError: for factors that are no tensors, or not by name
        """
        _check_factors(factors, {layer.name: layer.n_neurons for layer in self._layers()})
        if not self.has_neurons:  # a linear policy
            return
        if not 0 <= task <= self.n_tasks:
            raise ValueError(f"task must lie in [0, {self.n_tasks}]: {self.n_tasks} tasks are held so far; got {task}.")
        for layer in self._layers():
            rows = self._of(layer)
            row = factors.get(layer.name, th.ones(layer.n_neurons)).to(rows)
            self._set(layer, th.cat([rows[:task], row[None], rows[task + 1 :]]))

    def fill_up(self, older: Mapping[str, th.Tensor]) -> None:
        """
        Take over the factors of the tasks behind those that are held.

        :param older: a state dict of these masks, of more tasks
        """
        for layer in self._layers():
            rows = self._of(layer)
            self._set(layer, th.cat([rows, older[layer.key][len(rows) :].to(rows)]))

    def reset(self) -> None:
        """Free every neuron and forget every task."""
        for layer in self._layers():
            self._set(layer, self._of(layer)[:0])

    def factors(self, layer: NeuronLayer) -> th.Tensor:
        """
        :return: the element-wise minimum over the tasks, [n_neurons]
        """
        rows = self._of(layer)
        return rows.min(dim=0).values if len(rows) else th.ones(layer.n_neurons, device=rows.device)

    def free_share(self, network: str | None = None) -> float:
        """
        :param network: name of a network; ``None`` for all
        :return: share of the neurons that no task holds, in [0, 1]; 1 where there are no neurons
        :raises ValueError: for a name that no network has
        """
        if network is not None and network not in (names := [n.name for n in self.networks]):
            raise ValueError(unknown_name_message("network", network, names))
        chosen = [self.factors(layer) for n in self.networks if network in (None, n.name) for layer in n.layers]
        return float((th.cat(chosen) == 1).float().mean()) if chosen else 1.0

    @th.no_grad()
    def parameter_factors(self) -> dict[th.Tensor, th.Tensor]:
        """
        Spread the neurons' factors over the parameters; where several neurons meet in one weight, the smallest counts.

        :return: factors in the parameter's own shape, for the parameters that are held at least in part
        """
        result: dict[th.Tensor, th.Tensor] = {}
        for network in self.networks:
            for layer in network.layers:
                factors = self.factors(layer)
                if self.sides in ("incoming", "both"):
                    for parameter in layer.own:
                        _lower(result, parameter, _along(factors, 0, parameter))
                if self.sides in ("outgoing", "both"):
                    for reader in layer.readers:
                        columns = reader.spread(factors, rest=1.0)
                        _lower(result, reader.parameter, _along(columns, reader.dim, reader.parameter))
            if self.output_biases:
                # Without layers of its own (the default CnnPolicy of PPO) a network reads the shared features extractor.
                feeding = network.layers or [layer for n in self.networks if n.part == "shared" for layer in n.layers]
                strongest = min((float(self.factors(layer).min()) for layer in feeding), default=1.0)
                for bias in network.output_biases:
                    _lower(result, bias, th.full_like(bias, strongest))
        return {parameter: values for parameter, values in result.items() if bool((values != 1).any())}

    def _layers(self) -> list[NeuronLayer]:
        return [layer for network in self.networks for layer in network.layers]

    def _of(self, layer: NeuronLayer) -> th.Tensor:
        return self._buffers[layer.key]  # type: ignore[return-value]

    def _set(self, layer: NeuronLayer, rows: th.Tensor) -> None:
        self._buffers[layer.key] = rows

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The number of tasks differs between a new model and a saved one: take the saved shape.
        for layer in self._layers():
            saved = state_dict.get(prefix + layer.key)
            if saved is not None and saved.dim() == 2 and saved.shape[1] == layer.n_neurons:
                self._set(layer, self._of(layer).new_ones(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_factors(factors: Mapping[str, th.Tensor], sizes: Mapping[str, int]) -> None:
    """
    :param factors: what shall be held, by layer name
    :param sizes: number of neurons of each layer there is, by name
    :raises ValueError: for a name that no layer has, or factors of another size or range
    :raises TypeError: for factors that are no tensors, or not by name
    """
    if not isinstance(factors, Mapping):
        raise TypeError(f"factors must be a dict of tensors by layer name; got {type(factors).__name__}.")
    for name, values in factors.items():
        if not isinstance(name, str):
            raise TypeError(f"factors must be given by layer name (layer.name); got {type(name).__name__} as a key.")
        if name not in sizes:
            raise ValueError(f"{unknown_name_message('layer', name, sizes)} Nothing would be held by it.")
        if not isinstance(values, th.Tensor):
            raise TypeError(f"Mask factors of {name} must be a tensor; got {type(values).__name__}.")
        if values.shape != (sizes[name],):
            raise ValueError(
                f"Mask factors of {name} must be one per neuron, of shape ({sizes[name]},); got {tuple(values.shape)}."
            )
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError(f"Mask factors must lie in [0, 1]; those of {name} go from {values.min()} to {values.max()}.")


def _along(values: th.Tensor, dim: int, parameter: th.Tensor) -> th.Tensor:
    """Broadcast ``values`` along one dimension of ``parameter``."""
    shape = [1] * parameter.dim()
    shape[dim] = -1
    return values.reshape(shape).expand_as(parameter).to(parameter)


def _lower(factors: dict[th.Tensor, th.Tensor], parameter: th.Tensor, values: th.Tensor) -> None:
    present = factors.get(parameter)
    factors[parameter] = values.clone() if present is None else th.minimum(present, values)
