"""
Where the steps of a batch stand in what an activation puts out.

A ``forward`` may fold frames or objects into the batch, put the sequence first, or run a layer on parameters alone. So the
networks run once more on three samples instead of two: the dimension that grows holds the steps. Where it holds several rows
per step, passes in which one sample is exchanged tell whose each row is.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch as th

from sb3_nbsp.neurons.layers import NeuronLayer, Steps

Run = Callable[[Sequence[int]], Any]  # a forward pass on these rows of two samples
TWO, THREE, EXCHANGED = (0, 1), (0, 1, 0), ((1, 1), (0, 0))


def place_steps(layers: list[NeuronLayer], run: Run) -> list[NeuronLayer]:
    """
    Note in each layer where the steps stand.

    :param layers: as read from a pass
    :param run: see :data:`Run`; nothing may be left behind by a pass
    :return: those of which it cannot be told
    """
    two, three = (_outputs(layers, run, rows) for rows in (TWO, THREE))
    found = {layer: _by_size(layer, two[layer], three[layer]) for layer in layers}
    folded = [layer for layer, steps in found.items() if any(s is not None and s.inner > 1 for s in steps)]
    if folded:
        others = [_outputs(folded, run, rows) for rows in EXCHANGED]
        for layer in folded:
            calls = zip(found[layer], two[layer], *(other[layer] for other in others), strict=True)
            found[layer] = [_by_owner(*call) for call in calls]
    unclear = []
    for layer, steps in found.items():
        places = tuple(s for s in steps if s is not None)
        if len(places) < len(steps) or len({place.dim is None for place in places}) > 1:
            unclear.append(layer)
        elif places:  # what one pass does again and again is noted once
            lengths = range(1, len(places) + 1)
            layer.steps = places[: next(n for n in lengths if all(p == places[i % n] for i, p in enumerate(places)))]
    return unclear


def _outputs(layers: list[NeuronLayer], run: Run, rows: Sequence[int]) -> dict[NeuronLayer, list[th.Tensor]]:
    """What each activation puts out in one pass, call by call."""
    found: dict[NeuronLayer, list[th.Tensor]] = defaultdict(list)

    def note(layer: NeuronLayer, activation: Any, inputs: Any, output: th.Tensor) -> None:
        found[layer].append(output.detach().clone())

    hooks = [layer.activation.register_forward_hook(partial(note, layer)) for layer in layers]
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


def _by_owner(steps: Steps | None, two: th.Tensor, first: th.Tensor, second: th.Tensor) -> Steps | None:
    """:param first: what two samples give when the first of them is another; and so on"""
    if steps is None or steps.dim is None or steps.inner == 1:
        return steps
    same = [th.isclose(two, other, equal_nan=True).movedim(steps.dim, 0).flatten(1) for other in (first, second)]
    changed = [~rows.all(dim=1) for rows in same]
    fitting = []
    for inner in (n for n in range(1, steps.inner + 1) if steps.inner % n == 0):
        owner = th.arange(2, device=two.device).repeat_interleave(inner).repeat(steps.inner // inner)
        if all(bool(rows.any()) and bool((owner[rows] == i).all()) for i, rows in enumerate(changed)):
            fitting.append(Steps(steps.dim, steps.inner // inner, inner))
    return fitting[0] if len(fitting) == 1 else None
