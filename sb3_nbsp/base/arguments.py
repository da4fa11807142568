"""
Arguments that describe themselves: a type says which values are allowed, a checker reads it, a docstring is made of it.

::

    Share = Annotated[float, Interval(0, 1)]
    SkillFraction = Annotated[Share, Doc("m, share of the neurons")]

    def __init__(self, skill_fraction: SkillFraction = 0.2): ...

    check_arguments(__init__, {"skill_fraction": 1.2})  # ValueError: skill_fraction must be a number in [0, 1]; got 1.2.
"""

import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin

import numpy as np

from sb3_nbsp.base.names import did_you_mean

Class = TypeVar("Class", bound=type)


class Constraint(Protocol):
    """What a value must be."""

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""

    def __str__(self) -> str:
        """In words, to stand after "must be"."""


@dataclass(frozen=True)
class Interval:
    """
    A number from ``low`` to ``high``, both included. NaN is none.

    :param low: smallest allowed value
    :param high: largest allowed value
    """

    low: float
    high: float

    def allows(self, value: Any) -> bool:
        """See :class:`Constraint`."""
        return isinstance(value, Real) and not isinstance(value, bool) and self.low <= float(value) <= self.high

    def __str__(self) -> str:
        return f"a number in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class AtLeast:
    """
    A finite number from ``low`` on.

    :param low: the lowest number; minus infinity: any finite number will do
    :param excluded: whether ``low`` itself is not allowed
    """

    low: float
    excluded: bool = False

    def allows(self, value: Any) -> bool:
        """See :class:`Constraint`. NaN and infinity are none; YAML reads 1e4 as text."""
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return float(value) > self.low or (float(value) == self.low and not self.excluded)

    def __str__(self) -> str:
        if self.low == -math.inf:
            return "a finite number"
        return f"a number above {self.low:g}" if self.excluded else f"a number, {self.low:g} or more"


@dataclass(frozen=True)
class Whole:
    """
    A whole number, from ``low`` on.

    :param low: smallest allowed value
    :param unit: what is counted
    :param high: largest allowed value
    """

    low: int
    unit: str
    high: float = math.inf

    def allows(self, value: Any) -> bool:
        """See :class:`Constraint`. YAML reads 1.0e+4 as a float, which is none."""
        return isinstance(value, Integral) and not isinstance(value, bool) and self.low <= int(value) <= self.high

    def __str__(self) -> str:
        up_to = "or more" if self.high == math.inf else f"to {self.high}"
        return f"a whole number of {self.unit}, {self.low} {up_to}"


@dataclass(frozen=True)
class Is:
    """
    Anything that passes a test.

    :param words: what it is, to stand after "must be"
    :param test: whether a value is one
    """

    words: str
    test: Callable[[Any], bool]

    def allows(self, value: Any) -> bool:
        """See :class:`Constraint`."""
        return bool(self.test(value))

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class OneOf:
    """
    One of several names. The collection may grow.

    :param names: what is allowed
    :param more: how to add one, where users may
    """

    names: Collection[str]
    more: str = ""

    def allows(self, value: Any) -> bool:
        """See :class:`Constraint`."""
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}{self.more and f' ({self.more})'}"


@dataclass(frozen=True)
class Doc:
    """
    What an argument means, as its paragraph in a docstring and its line in a command's help; reStructuredText.

    :param line: in a line
    :param more: what else is to say
    """

    line: str
    more: str = ""


Share = Annotated[float, Interval(0, 1)]


def check_arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """
    Hold values against the types of a function's parameters. Only what can be decided is: types of this module, ``Literal``,
    ``bool``, unions of these and ``None``, of parameters that have a :class:`Doc`.

    :param function: whose type hints say what is allowed
    :param values: by the parameters' names; names that are not there are not checked
    :raises ValueError: names the first value that is not allowed, and what is
    """
    check_values(described(function), values)


def check_values(hints: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """
    :param hints: what is allowed, by name: types of this module, ``Literal``, ``bool``, unions of these and ``None``
    :param values: by name; names that have no type are not checked
    :raises ValueError: names the first value that is not allowed, and what is
    """
    for name, hint in hints.items():
        if name in values and not _allows(hint, values[name]):
            hint_of_names = did_you_mean(values[name], _names(hint)) if isinstance(values[name], str) else ""
            raise ValueError(f"{name} must be {_words(hint)}; got {values[name]!r}. {hint_of_names}".rstrip())


@contextmanager
def naming(where: str) -> Iterator[None]:
    """
    Inside the block an error about a value says where the value stands.

    :param where: e.g. the file's name
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def described(function: Callable[..., Any]) -> dict[str, Any]:
    """
    :param function: any function
    :return: type hints of its parameters that have a :class:`Doc`, by name, in their order
    """
    # Not get_type_hints(): SB3's own types name classes that only its modules know.
    hints = inspect.get_annotations(function)
    return {name: hint for name, hint in hints.items() if doc_of(hint) is not None}


def documented(cls: Class) -> Class:
    """Class decorator: the docstring gets a ``:param`` line for each argument of ``__init__`` that has a :class:`Doc`."""
    text = inspect.cleandoc(cls.__doc__ or "")
    fields = re.search(r"^:(param|raises|return)", text, flags=re.MULTILINE)
    end = fields.start() if fields else len(text)
    docs = {name: doc_of(hint) for name, hint in described(cls.__init__).items()}  # type: ignore[misc]
    lines = [f":param {name}: {doc.line}{f'. {doc.more}' if doc.more else ''}" for name, doc in docs.items() if doc]
    cls.__doc__ = "\n".join([text[:end].rstrip(), "", *lines, text[end:]]).rstrip()
    return cls


def doc_of(hint: Any) -> Doc | None:
    """
    :param hint: a type
    :return: what an argument of this type means, where it says so
    """
    return next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Doc)), None)


def _allows(hint: Any, value: Any) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        constraints = [part for part in hint.__metadata__ if not isinstance(part, Doc)]
        return all(part.allows(value) for part in constraints) and (bool(constraints) or _allows(hint.__origin__, value))
    if origin in (Union, UnionType):
        return any(_allows(part, value) for part in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in get_args(hint))
    if hint is NoneType:
        return value is None
    return isinstance(value, bool | np.bool_) if hint is bool else True


def _names(hint: Any) -> list[str]:
    """The names that a type allows."""
    if get_origin(hint) is Literal:
        return [part for part in get_args(hint) if isinstance(part, str)]
    listed = [part.names for part in getattr(hint, "__metadata__", ()) if isinstance(part, OneOf)]
    inner = getattr(hint, "__origin__", None) if get_origin(hint) is Annotated else None
    return [*(name for names in listed for name in names), *([] if inner is None else _names(inner))]


def _words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        constraints = [str(part) for part in hint.__metadata__ if not isinstance(part, Doc)]
        return " and ".join(constraints) or _words(hint.__origin__)
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in sorted(get_args(hint), key=lambda part: part is not NoneType))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return {NoneType: "None", bool: "True or False"}.get(hint, str(hint))
