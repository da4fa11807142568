"""Activation functions that a ``forward`` calls without a module: they take forward hooks like modules."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch as th
from torch.overrides import TorchFunctionMode

WEIGHTED = ("linear", "conv1d", "conv2d")


def name_of(function: Any) -> str:
    """A torch function's name, the same for its in-place form."""
    return getattr(function, "__name__", "").strip("_")


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Any:
    """An argument that may be given by its place or by its name."""
    return args[place] if len(args) > place else kwargs.get(name)


def tensors_in(value: Any) -> Iterator[th.Tensor]:
    """Tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, th.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


class FunctionalActivation:
    """
    The ``step``-th torch call, counted from a layer's own call, that takes in what came from the layer: the one that puts out
    a(N, t). The forward pass that the policy was read from has the same calls in the same order.

    :param weight: the layer's weight, by which its own call is known
    :param step: which call, 0 for the layer's own
    """

    def __init__(self, weight: th.Tensor, step: int):
        self.weight = weight
        self.step = step

    def register_forward_hook(self, hook: Callable[..., Any]) -> "_Watch":
        """As a module's: ``hook(activation, inputs, output)`` gets each output, and may return another in its place."""
        watch = _Watch(self, hook)
        _WATCHES.append(watch)
        if len(_WATCHES) == 1:
            _MODE.__enter__()
        return watch


class _Watch:
    """One hook; ``remove()`` ends it."""

    def __init__(self, activation: FunctionalActivation, hook: Callable[..., Any]):
        self.activation = activation
        self.hook = hook
        self._count = 0
        self._seen: dict[int, th.Tensor] = {}  # what came from the layer; kept, so that ids stay theirs

    def remove(self) -> None:
        """See torch's ``RemovableHandle``."""
        if self in _WATCHES:
            _WATCHES.remove(self)
            if not _WATCHES:
                _MODE.__exit__(None, None, None)

    def see(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        """
        :return: the result of the call, or what the hook puts in its place
        """
        if name in WEIGHTED and argument(args, kwargs, 1, "weight") is self.activation.weight:
            self._count, self._seen = 0, {}
        elif self._seen and any(id(tensor) in self._seen for tensor in tensors_in((args, kwargs))):
            self._count += 1
        else:
            return result
        if self._count == self.activation.step:
            self._seen = {}
            replaced = self.hook(self.activation, args, result)
            return result if replaced is None else replaced
        self._seen.update((id(tensor), tensor) for tensor in tensors_in(result))
        return result


class _WatchMode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(True for _ in tensors_in(result)):
            for watch in list(_WATCHES):
                result = watch.see(name_of(func), args, kwargs, result)
        return result


_MODE = _WatchMode()
_WATCHES: list[_Watch] = []


def uncompiled() -> AbstractContextManager[Any]:
    """Inside the block what ``torch.compile`` made runs as it was written: else neither calls nor new hooks are seen."""
    is_possible = hasattr(th.compiler, "set_stance") and "torch._dynamo" in sys.modules  # to import it takes seconds
    return th.compiler.set_stance("force_eager") if is_possible else nullcontext()


@contextmanager
def unwatched() -> Iterator[None]:
    """Inside the block no hook sees anything."""
    watches, _WATCHES[:] = list(_WATCHES), []
    try:
        yield
    finally:
        _WATCHES[:] = watches
