"""Activation functions that a ``forward`` calls without a module: they take forward hooks like modules."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch as th
from torch.overrides import TorchFunctionMode

WEIGHTED = ("linear", "conv1d", "conv2d")
IN_PLACE = {f"__i{name}__" for name in "add sub mul div truediv floordiv mod pow and or xor lshift rshift".split()}


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


def written_by(function: Any, args: tuple[Any, ...]) -> th.Tensor | None:
    """The tensor that a call writes into: ``x[...] = y``, ``x += y``, ``x.copy_(y)``."""
    name = getattr(function, "__name__", "")
    in_place = (name.endswith("_") and not name.endswith("__")) or name == "__setitem__" or name in IN_PLACE
    return args[0] if in_place and args and isinstance(args[0], th.Tensor) else None


class Followed:
    """
    Counts the torch calls that take in what came from a layer's latest call. The map of a policy is read, and its activations
    are recorded, with the same count.

    :param weight: the layer's weight, by which its own call is known
    """

    def __init__(self, weight: th.Tensor):
        self.weight = weight
        self.step = 0  # of the last call that counts, 0 for the layer's own
        self._seen: dict[int, th.Tensor] = {}  # what came from the layer; kept, so that ids stay theirs

    def counts(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> bool:
        """
        :return: whether a call is one of them, or the layer's own
        """
        if name_of(function) in WEIGHTED and argument(args, kwargs, 1, "weight") is self.weight:
            self.begin()
        elif self._seen and any(map(self._comes_from_it, tensors_in((args, kwargs)))):
            written = written_by(function, args)
            if written is not None:
                self._keep(written, written._base)
            if not any(True for _ in tensors_in(result)):
                return False
            self.step += 1
        else:
            return False
        self._keep(*tensors_in(result))
        return True

    def begin(self, *outputs: th.Tensor) -> None:
        """
        :param outputs: what the layer put out
        """
        self.step, self._seen = 0, {}
        self._keep(*outputs)

    def forget(self) -> None:
        """Count no more until the layer's next call."""
        self._seen = {}

    def _comes_from_it(self, tensor: th.Tensor) -> bool:
        return id(tensor) in self._seen or (tensor._base is not None and id(tensor._base) in self._seen)

    def _keep(self, *tensors: th.Tensor | None) -> None:
        self._seen.update((id(tensor), tensor) for tensor in tensors if tensor is not None)


class FunctionalActivation:
    """
    The ``step``-th torch call, as :class:`Followed` counts, after a layer's own: the one that puts out a(N, t). The forward
    passes that the policy was read from have the same calls in the same order.

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
        if len(_WATCHES) + len(_UNWATCHED) == 1:
            _MODE.__enter__()
        return watch


class _Watch:
    """One hook; ``remove()`` ends it."""

    def __init__(self, activation: FunctionalActivation, hook: Callable[..., Any]):
        self.activation = activation
        self.hook = hook
        self._followed = Followed(activation.weight)

    def remove(self) -> None:
        """See torch's ``RemovableHandle``."""
        if self in _WATCHES:
            _WATCHES.remove(self)
            if not _WATCHES and not _UNWATCHED:
                _MODE.__exit__(None, None, None)

    def see(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        """
        :return: the result of the call, or what the hook puts in its place
        """
        if not self._followed.counts(function, args, kwargs, result) or self._followed.step != self.activation.step:
            return result
        self._followed.forget()
        replaced = self.hook(self.activation, args, result)
        return result if replaced is None else replaced


class _WatchMode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for watch in list(_WATCHES):
            result = watch.see(func, args, kwargs, result)
        return result


_MODE = _WatchMode()
_WATCHES: list[_Watch] = []
_UNWATCHED: list[_Watch] = []  # those that see nothing for a while


def uncompiled() -> AbstractContextManager[Any]:
    """Inside the block what ``torch.compile`` made runs as it was written: else neither calls nor new hooks are seen."""
    is_possible = hasattr(th.compiler, "set_stance") and "torch._dynamo" in sys.modules  # to import it takes seconds
    return th.compiler.set_stance("force_eager") if is_possible else nullcontext()


@contextmanager
def unwatched() -> Iterator[None]:
    """Inside the block no hook sees anything."""
    watches, before = list(_WATCHES), list(_UNWATCHED)
    _WATCHES[:], _UNWATCHED[:] = [], [*before, *watches]
    try:
        yield
    finally:
        _WATCHES[:], _UNWATCHED[:] = watches, before
