"""What a tensor holds after something was written into it, or into a part of it (``x[:, :4] += y``)."""

from dataclasses import replace
from typing import Any

import torch as th

from sb3_nbsp.neurons.flows import Flow, joined
from sb3_nbsp.neurons.labels import NOTHING, Labels, together


def after_setitem(target: Flow, tensor: th.Tensor, index: Any, value: Flow) -> Flow:
    """
    :param target: of the tensor before
    :param tensor: which was written into
    :param index: where
    :param value: of what was written
    :return: of the tensor after ``tensor[index] = value``
    """

    def written(before: th.Tensor, new: th.Tensor | int) -> th.Tensor:
        after = before.clone()
        after[index] = new
        return after

    return replace(joined([target, value]), labels=_each(target.labels, value.labels, tensor.shape, written, tensor.device))


def after_part(whole: Flow, base: th.Tensor, flow: Flow, part: th.Tensor) -> Flow:
    """
    :param whole: of a tensor before
    :param base: the tensor
    :param flow: of a view of it, which was written into
    :param part: the view
    :return: of the tensor after
    """

    def written(before: th.Tensor, new: th.Tensor | int) -> th.Tensor:
        memory = _memory(before, base)
        _seen_as(memory, part).copy_(th.as_tensor(new, device=memory.device).broadcast_to(part.shape))
        return _seen_as(memory, base).clone()

    before = [] if part.numel() == base.numel() else [whole]  # what is written over is gone
    return replace(joined([*before, flow]), labels=_each(whole.labels, flow.labels, base.shape, written, base.device))


def of_view(whole: Flow, base: th.Tensor, part: th.Tensor) -> Flow:
    """What a view of a tensor holds, read from what the tensor holds."""
    return replace(whole, labels=together([_seen_as(_memory(one, base), part).clone() for one in whole.labels], part.shape))


def _each(before: Labels, new: Labels, shape: th.Size, written: Any, device: th.device) -> Labels:
    """One summand after the other: what is written over is gone."""
    nothing = th.full(shape, NOTHING, device=device)
    summands = range(max(len(before), len(new)))
    return together(
        [written(before[i] if i < len(before) else nothing, new[i] if i < len(new) else NOTHING) for i in summands], shape
    )


def _memory(labels: th.Tensor, base: th.Tensor) -> th.Tensor:
    """Labels as the tensor's entries lie in memory."""
    size = base.untyped_storage().nbytes() // base.element_size()
    memory = th.full((size,), NOTHING, device=labels.device)
    _seen_as(memory, base).copy_(labels)
    return memory


def _seen_as(memory: th.Tensor, tensor: th.Tensor) -> th.Tensor:
    return memory.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
