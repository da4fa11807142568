"""
Python values as JSON text and back, without running code: numbers, arrays, tensors (which come back on the CPU), spaces, and
objects of classes that are listed.

What JSON has stands for itself. All else is an object with the one key ``":kind:"`` beside what that kind needs::

    {":kind:": "tuple", "items": [1, 2]}
    {":kind:": "array", "dtype": "float32", "shape": [3], "base64": "..."}
    {":kind:": "class", "name": "torch.nn.modules.activation.ReLU"}
    {":kind:": "object", "name": "stable_baselines3.common.utils.ConstantSchedule", "state": {"val": 0.0003}}

A class is looked up by its name among those that the reader lists, never imported by what a file says.
"""

import base64
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from sb3_nbsp.base.arrays import to_array

KIND = ":kind:"
PLAIN_TYPES = frozenset({type(None), bool, int, float, str})
SPACES: dict[str, tuple[type[spaces.Space], tuple[str, ...]]] = {
    "box": (spaces.Box, ("low", "high", "shape", "dtype")),
    "discrete": (spaces.Discrete, ("n", "start")),
    "multi-discrete": (spaces.MultiDiscrete, ("nvec", "dtype", "start")),
    "multi-binary": (spaces.MultiBinary, ("n",)),
}
MAPPINGS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "ordered-dict": OrderedDict}
BIT_GENERATORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}


class NotPlainError(ValueError):
    """A value has no plain form, or what should be one is something else."""


def class_name(cls: type) -> str:
    """What a class is called in a file."""
    return f"{cls.__module__}.{cls.__qualname__}"


def to_plain(value: Any, known: Mapping[str, type]) -> Any:
    """
    :param value: anything
    :param known: classes that may stand for themselves, and whose objects may be taken apart, by :func:`class_name`
    :return: what :func:`from_plain` makes the same of, in JSON's types
    :raises NotPlainError: names what has no plain form
    """
    if type(value) in PLAIN_TYPES:
        return value
    if type(value) is list:
        is_flat = PLAIN_TYPES.issuperset(map(type, value))  # many times as fast for a long list
        return value.copy() if is_flat else [to_plain(item, known) for item in value]
    if type(value) is dict and all(type(key) is str for key in value) and KIND not in value:
        return {key: to_plain(item, known) for key, item in value.items()}
    for kind, (cls, encode, _) in _forms(known).items():
        if type(value) is cls:
            return {KIND: kind, **encode(value)}
    if isinstance(value, np.generic):
        return {KIND: "scalar", **_array(np.asarray(value))}
    if isinstance(value, np.dtype):
        return {KIND: "dtype", "name": value.str}
    if isinstance(value, type):
        return {KIND: "class", "name": _listed(value, known)}
    if isinstance(value, Enum):
        return {KIND: "enum", "name": _listed(type(value), known), "value": to_plain(value.value, known)}
    if isinstance(value, tuple):  # a named one
        return {KIND: "named-tuple", "name": _listed(type(value), known), "items": [to_plain(item, known) for item in value]}
    return {KIND: "object", "name": _listed(type(value), known), "state": to_plain(_state(value), known)}


def from_plain(plain: Any, known: Mapping[str, type]) -> Any:
    """
    :param plain: what :func:`to_plain` made
    :param known: the classes it may name
    :raises NotPlainError: for a class that is not listed, or for something else than plain values
    """
    if isinstance(plain, list):
        return [from_plain(item, known) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if KIND not in plain:
        return {key: from_plain(item, known) for key, item in plain.items()}
    kind = plain[KIND]
    try:
        if kind in (forms := _forms(known)):
            return forms[kind][2](plain)
        if kind == "scalar":
            return _array_of(plain)[()]
        if kind == "dtype":
            return _dtype(plain["name"])
        cls: Any = known[plain["name"]]
        if kind == "class":
            return cls
        if kind == "enum" and issubclass(cls, Enum):
            return cls(from_plain(plain["value"], known))
        if kind == "named-tuple" and issubclass(cls, tuple):
            return cls(*(from_plain(item, known) for item in plain["items"]))
        if kind == "object" and not issubclass(cls, Enum | tuple):
            made = cls.__new__(cls)
            made.__dict__.update(from_plain(plain["state"], known))
            return made
    except NotPlainError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotPlainError(f"{kind!r} {plain.get('name', '')}: {error!r}") from error
    raise NotPlainError(f"{kind!r}, which is no kind of value known here")


Form = tuple[type, Callable[[Any], dict[str, Any]], Callable[[dict[str, Any]], Any]]


def _forms(known: Mapping[str, type]) -> dict[str, Form]:
    """By kind: the class, how it is written and how it is read."""

    def plain(value: Any) -> Any:
        return to_plain(value, known)

    def read(value: Any) -> Any:
        return from_plain(value, known)

    def pairs(mapping: Mapping[Any, Any]) -> dict[str, Any]:
        return {"items": [[plain(key), plain(value)] for key, value in mapping.items()]}

    def space(cls: Any, arguments: tuple[str, ...]) -> Form:
        return (
            cls,
            lambda value: {**{name: plain(getattr(value, name)) for name in arguments}, **_random_state(value)},
            lambda content: _with_random_state(cls(**{name: read(content[name]) for name in arguments}), content),
        )

    def mapping(cls: Any) -> Form:
        return cls, pairs, lambda content: cls((read(key), read(value)) for key, value in content["items"])

    return {
        "tuple": (tuple, lambda v: {"items": list(map(plain, v))}, lambda c: tuple(map(read, c["items"]))),
        "array": (np.ndarray, _array, _array_of),
        "tensor": (th.Tensor, lambda v: _array(_on_cpu(v)), lambda c: th.from_numpy(_array_of(c))),
        "deque": (
            deque,
            lambda v: {"items": plain(list(v)), "maxlen": v.maxlen},
            lambda c: deque(map(read, c["items"]), c["maxlen"]),
        ),
        **{name: mapping(cls) for name, cls in MAPPINGS.items()},
        **{name: space(*told) for name, told in SPACES.items()},
        "dict-space": (
            spaces.Dict,
            lambda v: {**pairs(v.spaces), **_random_state(v)},
            lambda c: _with_random_state(spaces.Dict([(read(key), read(value)) for key, value in c["items"]]), c),
        ),
        "tuple-space": (
            spaces.Tuple,
            lambda v: {"items": list(map(plain, v.spaces)), **_random_state(v)},
            lambda c: _with_random_state(spaces.Tuple(list(map(read, c["items"]))), c),
        ),
    }


def _on_cpu(tensor: th.Tensor) -> np.ndarray:
    try:
        return to_array(tensor)
    except (TypeError, RuntimeError) as error:  # NumPy lacks its type, or it has a gradient
        raise NotPlainError(f"a tensor: {error}") from error


def _array(value: np.ndarray) -> dict[str, Any]:
    if value.dtype.hasobject or value.dtype.names is not None:
        raise NotPlainError(f"an array of {value.dtype}")
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": value.dtype.str, "shape": list(value.shape), "base64": data}


def _array_of(content: Mapping[str, Any]) -> np.ndarray:
    shape = tuple(content["shape"])
    if not all(type(length) is int and length >= 0 for length in shape):
        raise NotPlainError(f"an array of shape {shape}")
    data = base64.b64decode(content["base64"], validate=True)
    dtype = _dtype(content["dtype"])
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise NotPlainError(f"an array of shape {shape} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _dtype(name: str) -> np.dtype:
    dtype = np.dtype(str(name))
    if dtype.hasobject or dtype.names is not None:
        raise NotPlainError(f"an array of {dtype}")
    return dtype


def _random_state(space: spaces.Space) -> dict[str, Any]:
    generator = space._np_random
    if generator is None:
        return {}
    return {"random_state": to_plain(generator.bit_generator.state, {})}


def _with_random_state(space: spaces.Space, content: Mapping[str, Any]) -> spaces.Space:
    if "random_state" in content:
        state = from_plain(content["random_state"], {})
        bits = BIT_GENERATORS[state["bit_generator"]]()
        bits.state = state
        space._np_random = np.random.Generator(bits)
    return space


def _state(value: Any) -> dict[str, Any]:
    state = getattr(value, "__dict__", None)
    if state is None:
        raise NotPlainError(class_name(type(value)))
    return state


def _listed(cls: type, known: Mapping[str, type]) -> str:
    if known.get(class_name(cls)) is not cls:
        raise NotPlainError(class_name(cls))
    return class_name(cls)
