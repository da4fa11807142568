"""What becomes of neurons in one torch call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch as th
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sb3_nbsp.neurons.functional_activation import argument, tensors_in
from sb3_nbsp.neurons.labels import Labels, moved, padded, reduced, rows, together

MOVES = set(
    "view reshape flatten unflatten ravel permute transpose t swapaxes swapdims movedim moveaxis squeeze unsqueeze expand "
    "expand_as view_as reshape_as broadcast_to getitem get cat concat concatenate stack hstack vstack chunk split "
    "split_with_sizes tensor_split unbind select narrow index_select repeat tile flip roll "
    "pixel_shuffle pixel_unshuffle".split()
)
SAME = set(
    "clone detach contiguous to float double half cpu cuda dropout alpha_dropout feature_dropout dropout1d dropout2d".split()
)
ALIGNED = set("layer_norm batch_norm group_norm instance_norm rms_norm normalize softmax log_softmax".split())
REDUCES = set("mean sum amax amin max min std var logsumexp".split())
POOLS = set("interpolate max_pool avg_pool adaptive_max_pool adaptive_avg_pool lp_pool".split())
# Activation functions, by name too: which of them torch tags as elementwise differs between its versions.
ELEMENTWISE = set(
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish tanh sigmoid softplus softsign tanhshrink softshrink "
    "hardshrink hardtanh hardsigmoid hardswish log_sigmoid logsigmoid threshold".split()
)


# The neurons' dimension, counted from the end, which entries along it are the layer's, and of which neuron each is; no entries
# where there is one for each neuron, in their order.
Place = tuple[int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Site:
    """
    Where a layer's activation is put out.

    :param step: by which torch call since the layer's own, see :class:`~sb3_nbsp.neurons.functional_activation.Followed`
    :param module: the module that ran it
    :param function: its name
    :param place: where the neurons stand in what it put out; ``None``: where the layer itself put them
    :param labels: of what it put out
    """

    step: int = 0
    module: nn.Module | None = None
    function: str = ""
    place: Place | None = None
    labels: Labels = field(default=(), compare=False)


OWN = Site()  # the layer's own call
UNSEEN = Site(function="one that cannot be recorded")  # the layer's own call, though a function came behind it


@dataclass(frozen=True)
class Flow:
    """
    What a tensor is made of.

    :param labels: see :mod:`sb3_nbsp.neurons.labels`
    :param layers: the weighted layers before it, by index
    :param as_put_out: whether it holds the outputs of layers, or their activations, and nothing was done to them since
    :param sites: by layer, where its activation was put out: several where functions of its outputs came together
    :param mixed: the layers whose neurons came in and cannot be told apart any more
    :param raw: parameters that came in, but not as those of a layer
    :param parameter: the parameter of which it is a function, element by element
    :param index: for each entry, which of the parameter's entries it is
    """

    labels: Labels = ()
    layers: frozenset[int] = frozenset()
    as_put_out: bool = True
    sites: Mapping[int, frozenset[Site]] = field(default_factory=dict)
    mixed: frozenset[int] = frozenset()
    raw: frozenset[th.Tensor] = frozenset()
    parameter: th.Tensor | None = None
    index: th.Tensor | None = None


def of_parameter(parameter: th.Tensor) -> Flow:
    """The flow of a parameter itself."""
    index = th.arange(parameter.numel(), device=parameter.device).reshape(parameter.shape)
    return Flow(parameter=parameter, index=index)


class Operations(TorchDispatchMode):
    """Notes the elementary operations that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))

    @property
    def are_elementwise(self) -> bool:
        """Whether all of them are."""
        seen = [op for op in self.seen if op.overloadpacket is not th.ops.aten.detach]  # autograd keeps results so
        return bool(seen) and all(th.Tag.pointwise in op.tags for op in seen)


def is_elementwise(name: str, operations: Operations) -> bool:
    """Whether each entry of a call's result comes from the entries of its arguments at the same place."""
    return operations.are_elementwise or name in ELEMENTWISE


def joined(flows: list[Flow]) -> Flow:
    """What came together, without labels."""
    sites: dict[int, frozenset[Site]] = {}
    for flow in (flow for flow in flows if flow.labels):
        sites |= {i: found | sites.get(i, frozenset()) for i, found in flow.sites.items()}
    return Flow(
        sites=sites,
        layers=frozenset().union(*(flow.layers for flow in flows)),
        as_put_out=all(flow.as_put_out for flow in flows),
        mixed=frozenset().union(*(flow.mixed for flow in flows)),
        raw=frozenset().union(*(flow.raw for flow in flows)),
    )


def results_of(
    function: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
    flow_of: Callable[[th.Tensor], Flow],
    elementwise: bool,
) -> list[tuple[th.Tensor, Flow]]:
    """
    :param function: a torch function that was called, which is no weighted layer
    :param result: what it returned
    :param flow_of: the flow of a tensor
    :param elementwise: whether it works element by element
    :return: the tensors that it returned, with their flows
    """
    inputs = [flow_of(tensor) for tensor in tensors_in((args, kwargs))]
    inputs = inputs[1:] if name == "copy" else inputs  # copy_ writes over what was there
    outputs = list(tensors_in(result))
    base = joined(inputs)
    parameters = {id(flow.parameter): flow for flow in inputs if flow.parameter is not None}
    if not base.layers and len(parameters) == 1:
        (flow,) = parameters.values()
        return [(out, _of_parameter(function, name, args, kwargs, out, flow, elementwise)) for out in outputs]
    if not base.layers and parameters:
        raw = base.raw.union(flow.parameter for flow in parameters.values() if flow.parameter is not None)
        return [(out, Flow(raw=raw)) for out in outputs]
    if elementwise or name in SAME or name == "copy":
        labels = [label for flow in inputs for label in flow.labels]
        return [(out, replace(base, labels=together(labels, out.shape))) for out in outputs]
    if name in MOVES:
        every = [list(tensors_in(found)) for found in moved(function, args, kwargs, lambda x: flow_of(x).labels)]
        each = [together([labels[i] for labels in every], out.shape) for i, out in enumerate(outputs)]
        return [(out, replace(base, labels=labels)) for out, labels in zip(outputs, each, strict=True)]
    unclear = replace(base, mixed=base.mixed.union(base.sites), as_put_out=False)
    found = _changed(name, args, kwargs, outputs[0], inputs[0].labels)
    if found is not None:
        return [(outputs[0], replace(base, labels=found, as_put_out=False)), *((out, unclear) for out in outputs[1:])]
    return [(out, unclear) for out in outputs]


def _of_parameter(function: Any, name: str, args: Any, kwargs: Any, out: th.Tensor, flow: Flow, elementwise: bool) -> Flow:
    """What is computed from a parameter alone; nothing is known of it but where each entry comes from."""
    assert flow.index is not None
    if elementwise or name in SAME:
        return replace(flow, index=flow.index.broadcast_to(out.shape))
    if name in MOVES and not isinstance(args[0], list | tuple):
        index = function(flow.index, *args[1:], **kwargs)
        if isinstance(index, th.Tensor):
            return replace(flow, index=index)
    assert flow.parameter is not None
    return Flow(raw=frozenset([flow.parameter]))


def _changed(name: str, args: Any, kwargs: Any, out: th.Tensor, labels: Labels) -> Labels | None:
    """Labels where each entry may depend on others too; ``None`` if its neurons cannot be told apart."""
    if name in ALIGNED:
        return labels
    if name in REDUCES:
        dim = kwargs.get("axis", argument(args, kwargs, 1, "dim"))
        if not isinstance(dim, int | tuple | list):
            return None
        found = [reduced(label, dim, keepdim=out.dim() == label.dim()) for label in labels]
        summands = [one for several in found if several is not None for one in several]
        return together(summands, out.shape) if all(several is not None for several in found) else None
    if name == "glu":
        dim = argument(args, kwargs, 1, "dim")
        halves = [half for label in labels for half in label.chunk(2, -1 if dim is None else dim)]
        return together(halves, out.shape)
    if name == "pad":
        return together([padded(label, args, kwargs) for label in labels], out.shape)
    if name.removesuffix("_with_indices").rstrip("123d") in POOLS:
        channels = [rows(label, 1, at_most=1) if label.dim() > 2 else None for label in labels]
        if any(one is None or len(one) != 1 for one in channels):
            return None
        shape = (1, -1) + (1,) * (out.dim() - 2)
        return together([one[0].reshape(shape) for one in channels if one is not None], out.shape)
    return None


def parameters_in(args: Any, kwargs: Any) -> list[nn.Parameter]:
    """Parameters among the arguments of a call."""
    return [tensor for tensor in tensors_in((args, kwargs)) if isinstance(tensor, nn.Parameter)]
