"""
Where the steps of a batch stand in what an activation puts out.

A ``forward`` may fold frames or objects into the batch, put the sequence first, or run a layer on parameters alone. So the
networks run once more on three samples instead of two: the dimension that grows holds the steps. Where it holds several rows
per step, passes in which one sample is another tell whose each row is.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch as th

from sb3_nbsp.neurons.functional_activation import FunctionalActivation
from sb3_nbsp.neurons.layers import NeuronLayer, Steps

Outputs = dict[NeuronLayer, list[th.Tensor]]
Run = Callable[[Sequence[int]], Any]  # the forward passes on these samples
TWO, THREE = (0, 1), (0, 1, 0)
# The first of two is another, or the second is. Several others: an object may look the same in two samples.
EXCHANGED = tuple(((other, 1), (0, other)) for other in range(2, 6))


def place_steps(layers: list[NeuronLayer], run: Run) -> list[NeuronLayer]:
    """
    Note in each layer where the steps stand.

    :param layers: as read from a pass
    :param run: see :data:`Run`; nothing may be left behind by a pass
    :return: those of which it cannot be told
    """
    activations = {layer: layer.activation for layer in layers}
    two, three = (_outputs(activations, run, rows) for rows in (TWO, THREE))
    found = {layer: _by_size(layer, two[layer], three[layer]) for layer in layers}
    found |= _unfolded({layer: steps for layer, steps in found.items() if any(s and s.inner > 1 for s in steps)}, two, run)
    unclear = []
    for layer, steps in found.items():
        places = tuple(s for s in steps if s is not None)
        if len(places) < len(steps) or len({place.dim is None for place in places}) > 1:
            unclear.append(layer)
        elif places:  # what one pass does again and again is noted once
            lengths = range(1, len(places) + 1)
            layer.steps = places[: next(n for n in lengths if all(p == places[i % n] for i, p in enumerate(places)))]
    return unclear


def _outputs(activations: Mapping[NeuronLayer, Any], run: Run, rows: Sequence[int]) -> Outputs:
    """What some activations put out in one pass, call by call."""
    found: Outputs = {layer: [] for layer in activations}

    def note(layer: NeuronLayer, activation: Any, inputs: Any, output: th.Tensor) -> None:
        found[layer].append(output.detach().clone())

    hooks = [activation.register_forward_hook(partial(note, layer)) for layer, activation in activations.items()]
    try:
        th.manual_seed(0)  # what is drawn is no difference
        run(rows)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _by_size(layer: NeuronLayer, two: list[th.Tensor], three: list[th.Tensor]) -> list[Steps | None]:
    """Call by call; ``None`` where it cannot be told. Of several rows per step it is not known yet whose they are."""
    if len(two) != len(three):
        return [None]
    return [_grown(layer, one.shape, other.shape) for one, other in zip(two, three, strict=True)]


def _grown(layer: NeuronLayer, two: th.Size, three: th.Size) -> Steps | None:
    if len(two) != len(three):
        return None
    dims = [dim for dim in range(len(two)) if two[dim] != three[dim]]
    if not dims:
        return Steps(None)
    rows, rest = divmod(two[dims[0]], 2)
    if len(dims) > 1 or dims[0] == layer.axis % len(two) or rest or three[dims[0]] != 3 * rows:
        return None
    return Steps(dims[0], 1, rows)


def _unfolded(folded: dict[NeuronLayer, list[Steps | None]], two: Outputs, run: Run) -> dict[NeuronLayer, list[Steps | None]]:
    """Tell of several rows per step whose they are."""
    if not folded:
        return {}
    # Before the activation function, if rows stand there as behind it: it may put out 0 whatever it sees.
    looked_at: dict[NeuronLayer, Any] = {layer: FunctionalActivation(layer.own[0], 0) for layer in folded}
    before = _outputs(looked_at, run, TWO)
    looked_at |= {layer: layer.activation for layer in folded if _shapes(before[layer]) != _shapes(two[layer])}
    before |= {layer: two[layer] for layer in folded if looked_at[layer] is layer.activation}
    passes = [_outputs(looked_at, run, rows) for pair in EXCHANGED for rows in pair]
    found: dict[NeuronLayer, list[Steps | None]] = {}
    for layer, steps in folded.items():
        is_same = all(_shapes(outputs[layer]) == _shapes(before[layer]) for outputs in passes)
        calls = zip(steps, before[layer], *(outputs[layer] for outputs in passes), strict=True)
        found[layer] = [_by_owner(*call) for call in calls] if is_same else [None]
    return found


def _shapes(outputs: Sequence[th.Tensor]) -> list[th.Size]:
    return [output.shape for output in outputs]


def _by_owner(steps: Steps | None, two: th.Tensor, *others: th.Tensor) -> Steps | None:
    """:param others: what two samples give where the first of them is another, or the second, in turn"""
    if steps is None or steps.dim is None or steps.inner == 1:
        return steps
    same = [th.isclose(two, other, equal_nan=True).movedim(steps.dim, 0).flatten(1).all(dim=1) for other in others]
    changed = [~th.stack(same[i::2]).all(dim=0) for i in range(2)]
    fitting = []
    for inner in (n for n in range(1, steps.inner + 1) if steps.inner % n == 0):
        owner = th.arange(2, device=two.device).repeat_interleave(inner).repeat(steps.inner // inner)
        if all(bool(rows.any()) and bool((owner[rows] == i).all()) for i, rows in enumerate(changed)):
            fitting.append(Steps(steps.dim, steps.inner // inner, inner))
    return fitting[0] if len(fitting) == 1 else None
