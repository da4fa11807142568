"""
Which weight feeds which, read from one forward pass.

While it runs, each torch call is seen (a ``TorchFunctionMode``, which also sees functions that ``forward`` calls without a
module, and what runs without gradients). The outputs of each ``linear``, ``conv1d`` and ``conv2d`` are labelled as neurons;
labels are carried through what comes after, until another weight reads them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch as th
from torch import nn
from torch.overrides import TorchFunctionMode

from sb3_nbsp.neurons import writes
from sb3_nbsp.neurons.flows import (
    ALIGNED,
    MOVES,
    OWN,
    SAME,
    Flow,
    Operations,
    is_elementwise,
    of_parameter,
    parameters_in,
    results_of,
)
from sb3_nbsp.neurons.functional_activation import (
    WEIGHTED,
    Followed,
    FunctionalActivation,
    argument,
    name_of,
    tensors_in,
    written_by,
)
from sb3_nbsp.neurons.layers import NeuronLayer, along
from sb3_nbsp.neurons.readings import Readings
from sb3_nbsp.neurons.sites import after_function
from sb3_nbsp.neurons.units import Unit

MULTIPLIES = {"mm", "matmul", "rmatmul"}
PRODUCTS = {*MULTIPLIES, *WEIGHTED, "addmm", "bmm", "baddbmm", "einsum", "bilinear"}  # of what may be computed from parameters


class ForwardGraph(TorchFunctionMode):
    """
    See the module. Used as a context, in which the forward passes run.

    :param module: whose passes
    :param names: of its parameters, by parameter
    """

    def __init__(self, module: nn.Module, names: Mapping[th.Tensor, str]):
        super().__init__()
        self.names = names
        self.units: list[Unit] = []
        self.readings = Readings(self.units)
        self._of_weight: dict[th.Tensor, Unit] = {}
        self._flows: dict[int, tuple[th.Tensor, Flow]] = {}  # tensors are kept, so that ids stay theirs
        self._kept: list[th.Tensor] = []
        self._n_labels = 0
        self._running: list[nn.Module] = []
        self._calls: Counter[nn.Module] = Counter()
        self._modules = [part for part in module.modules() if not isinstance(part, th.jit.ScriptModule)]  # these take no hooks
        self._hooks: list[Any] = []

    def __enter__(self) -> "ForwardGraph":
        for module in self._modules:
            self._hooks.append(module.register_forward_pre_hook(lambda module, inputs: self._running.append(module)))
            self._hooks.append(module.register_forward_hook(self._ran))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _ran(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running.pop()
        if isinstance(output, th.Tensor):
            self._calls[module] += 1

    def layers_before(self, tensors: Iterable[th.Tensor]) -> set[int]:
        """Indices of the units that some tensors come from."""
        return {index for tensor in tensors for index in self._flow(tensor).layers}

    def hidden(self) -> list[Unit]:
        """The units that something reads, with their activations."""
        found = [unit for unit in self.units if unit.is_read]
        for unit in found:
            self._settle(unit)
        return found

    @property
    def recorded_before(self) -> list[str]:
        """Hidden layers whose activation is taken before the functions that make it one."""
        return [unit.layer.name for unit in self.units if unit.is_recorded_before]

    def _settle(self, unit: Unit) -> None:
        """Where all that reads a layer hears it at one place, it is recorded there, else at its own call."""
        sites = unit.heard or {unit.latest}
        site = next(iter(sites))
        if len(sites) > 1 and not (len({(s.module, s.place) for s in sites}) == 1 and self._is_only_of(unit, site.module)):
            site = OWN
        module = unit.module if site.step == 0 else site.module
        found = module if self._is_only_of(unit, module) else None
        unit.layer.activation = found or FunctionalActivation(unit.weight, site.step)
        unit.is_recorded_before = site.step == 0 and sites != {OWN}
        unit.layer.is_plain &= not unit.is_recorded_before
        if site.place is not None:
            unit.layer.axis, unit.layer.entries, unit.layer.neurons = site.place

    def _is_only_of(self, unit: Unit, module: nn.Module | None) -> bool:
        """A module that also runs elsewhere does not tell whose activation it puts out."""
        return module is not None and self._calls[module] == unit.n_calls

    # One torch call

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        flows = [self._flow(tensor) for tensor in tensors_in((args, kwargs))]
        if not any(flow.layers or flow.parameter is not None for flow in flows):
            return func(*args, **kwargs)
        with Operations() as operations:
            result = func(*args, **kwargs)
        written = written_by(func, args)
        for unit in self.units:
            unit.step = unit.followed.step if unit.followed.counts(func, args, kwargs, result) else None
        if any(True for _ in tensors_in(result)):
            self._note(func, name, args, kwargs, result, is_elementwise(name, operations))
        elif written is not None and name == "setitem":
            value = self._flow(args[2]) if isinstance(args[2], th.Tensor) else Flow()
            self._flows[id(written)] = written, writes.after_setitem(self._flow(written), written, args[1], value)
        if written is not None:
            self._wrote(written)
        return result

    def _wrote(self, tensor: th.Tensor) -> None:
        """What a tensor is a part of holds what was written into it, and so do the other parts: they are looked up anew."""
        base, flow = tensor._base, self._flow(tensor)
        if base is not None:
            self._flows[id(base)] = base, writes.after_part(self._flow(base), base, flow, tensor)
        whole = tensor if base is None else base
        for key, (other, _) in list(self._flows.items()):
            if other._base is whole and other is not tensor:
                del self._flows[key]
                self._kept.append(other)

    def _note(self, func: Any, name: str, args: Any, kwargs: Any, result: Any, elementwise: bool) -> None:
        weight = argument(args, kwargs, 1, "weight")
        if name in WEIGHTED and isinstance(weight, th.Tensor) and weight in self.names:
            self._weighted(name, args, kwargs, weight, result)
            return
        if name in MULTIPLIES and self._multiplied(args, kwargs, result):
            return
        parameters = parameters_in(args, kwargs)
        inputs = [self._flow(tensor) for tensor in tensors_in((args, kwargs))]
        learned = parameters or (name in PRODUCTS and any(not f.layers and (f.raw or f.parameter is not None) for f in inputs))
        if parameters and (name in ALIGNED or (elementwise and name != "prelu")):
            for flow in inputs:
                if flow.labels:
                    self.readings.scaled(parameters, flow, name)
        elif learned and not elementwise and name not in MOVES and any(flow.layers for flow in inputs):
            layers = self.readings.opaque(inputs)
            self._flows.update((id(out), (out, Flow(layers=layers))) for out in tensors_in(result))
            return
        running = self._running[-1] if self._running else None
        is_noted = name not in SAME and (elementwise or name == "glu" or name in MOVES)
        for out, flow in results_of(func, name, args, kwargs, result, self._flow, elementwise):
            flow = after_function(name, args, kwargs, flow, self.units, running) if is_noted else flow
            self._flows[id(out)] = out, flow

    def _flow(self, tensor: th.Tensor) -> Flow:
        known = self._flows.get(id(tensor))
        if known is not None:
            return known[1]
        whole = None if tensor._base is None else self._flows.get(id(tensor._base))
        if whole is not None and whole[1].layers:
            return writes.of_view(whole[1], whole[0], tensor)
        if not isinstance(tensor, nn.Parameter):
            return Flow()
        self._flows[id(tensor)] = tensor, of_parameter(tensor)
        return self._flows[id(tensor)][1]

    def _weighted(self, name: str, args: Any, kwargs: Any, weight: th.Tensor, output: th.Tensor) -> None:
        flow = self._flow(argument(args, kwargs, 0, "input"))
        axis = -1 if name == "linear" else 1 - weight.dim()
        groups = 1 if name == "linear" else argument(args, kwargs, 6, "groups") or 1
        # Grouped, a channel is read by the rows of its group; told apart only where each has a group of its own.
        self.readings.read(weight, flow, axis, 1 if groups == 1 else 0, n_inputs=None if groups == 1 else groups)
        unit = self._of_weight.get(weight) or self._new_unit(weight, argument(args, kwargs, 2, "bias"), output, axis)
        unit.n_calls += 1
        unit.applied = {}
        for other in self.units:
            other.comes_from -= {unit.index}
        unit.comes_from = frozenset(other.index for other in self.units if other.step is not None) - {unit.index}
        labels = th.arange(unit.first, unit.first + unit.layer.n_neurons, device=output.device)
        unit.labels = along(labels, output, axis).broadcast_to(output.shape)
        sites = {unit.index: frozenset([OWN])}
        self._flows[id(output)] = output, Flow((unit.labels,), flow.layers | {unit.index}, sites=sites)

    def _new_unit(self, weight: th.Tensor, bias: th.Tensor | None, output: th.Tensor, axis: int) -> Unit:
        module = self._running[-1] if self._running and any(p is weight for p in self._running[-1].parameters(False)) else None
        own = [weight, *([bias] if isinstance(bias, nn.Parameter) else [])]
        name = self.names[weight]
        unplaced = FunctionalActivation(weight, 0)
        layer = NeuronLayer(name.removesuffix(".weight"), unplaced, weight.shape[0], own, axis=axis)
        unit = Unit(layer, len(self.units), self._n_labels, Followed(weight), module)
        unit.followed.begin(output)
        self._n_labels += layer.n_neurons
        self.units.append(unit)
        self._of_weight[weight] = unit
        return unit

    def _multiplied(self, args: Any, kwargs: Any, result: th.Tensor) -> bool:
        """Whether a parameter that is no layer's reads neurons: gSDE's log_std has one row per latent feature."""
        tensors = list(tensors_in((args, kwargs)))
        flow, other = self._flow(tensors[0]), self._flow(tensors[-1])
        parameter, index = other.parameter, other.index
        if not flow.layers or parameter is None or index is None or parameter.dim() != 2 or index.dim() != 2:
            return False
        row = index // parameter.shape[1]
        if not bool((row == th.arange(len(parameter), device=row.device)[:, None]).all()):
            return False
        self.readings.read(parameter, flow, -1, 0)
        self._flows[id(result)] = result, Flow(layers=flow.layers, raw=frozenset([parameter]))
        return True
