"""Types that say what is allowed, the checker that reads them, docstrings made of them."""

import math
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from sb3_nbsp.base.arguments import Doc, Interval, OneOf, Share, Whole, check_arguments, described, documented

NAMES = {"published": 1}
Colour = Annotated[Literal["red", "green"], Doc("what it looks like")]
Count = Annotated[int, Whole(1, "steps"), Doc("how many")]


@documented
class Thing:
    """
    A thing, see
    :class:`Other`.

    :param first: not ours
    :raises ValueError: if something is wrong
    """

    def __init__(
        self,
        first: int,
        share: Annotated[Share, Doc("a share")] = 0.5,
        count: Count = 1,
        colour: Colour = "red",
        perhaps: Annotated[Annotated[int, Whole(0, "steps")] | None, Doc("may be left out")] = None,
        flag: Annotated[bool, Doc("yes or no")] = True,
        how: Annotated[Literal["auto", True, False], Doc("three ways")] = "auto",
        name: Annotated[str, OneOf(NAMES), Doc("a name")] = "published",
        plain: Any = 3,
    ):
        check_arguments(Thing.__init__, locals())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 0), ("share", 1.0), ("share", np.float32(0.25)), ("share", np.float64(1)), ("count", 1),
        ("count", np.int64(7)), ("colour", "green"), ("perhaps", None), ("perhaps", 0), ("flag", False),
        ("flag", np.bool_(True)), ("how", True), ("how", "auto"), ("name", "published"), ("plain", "anything"),
        ("first", "anything"),
    ],
)  # fmt: skip
def test_what_is_allowed(name, value):
    Thing(**{"first": 1, name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("share", -0.1, "a number in [0, 1]"),
        ("share", 1.1, "a number in [0, 1]"),
        ("share", math.nan, "a number in [0, 1]"),
        ("share", True, "a number in [0, 1]"),
        ("share", "0.5", "a number in [0, 1]"),
        ("share", None, "a number in [0, 1]"),
        ("count", 0, "a whole number of steps, 1 or more"),
        ("count", 1.0, "a whole number of steps, 1 or more"),
        ("count", True, "a whole number of steps, 1 or more"),
        ("colour", "blue", "one of red, green"),
        ("colour", None, "one of red, green"),
        ("perhaps", -1, "None or a whole number of steps, 0 or more"),
        ("perhaps", "1", "None or a whole number of steps, 0 or more"),
        ("flag", "False", "True or False"),
        ("flag", 1, "True or False"),
        ("how", 1, "one of auto, True, False"),
        ("how", "True", "one of auto, True, False"),
        ("name", "else", "one of published"),
        ("name", ["published"], "one of published"),
    ],
)
def test_what_is_not(name, value, wanted):
    with pytest.raises(ValueError) as error:
        Thing(**{"first": 1, name: value})
    assert str(error.value) == f"{name} must be {wanted}; got {value!r}."


@pytest.mark.parametrize(
    ("name", "value", "close"), [("colour", "redd", "red"), ("how", "autom", "auto"), ("name", "publishd", "published")]
)
def test_a_name_that_comes_close_is_told(name, value, close):
    with pytest.raises(ValueError, match=f"got '{value}'. Did you mean '{close}'\\?$"):
        Thing(1, **{name: value})


def test_a_collection_of_names_may_grow(monkeypatch):
    monkeypatch.setitem(NAMES, "own", 2)
    Thing(1, name="own")


def test_what_has_no_doc_is_not_checked():
    def plain(a: Share, b: Annotated[int, Interval(0, 1)]) -> None: ...

    assert described(plain) == {}
    check_arguments(plain, {"a": 7, "b": 7})


def test_the_docstring_has_a_line_for_each():
    lines = Thing.__doc__.splitlines()
    assert lines[:4] == ["A thing, see", ":class:`Other`.", "", ":param share: a share"]
    assert lines[-3:] == [":param name: a name", ":param first: not ours", ":raises ValueError: if something is wrong"]
    assert len([line for line in lines if line.startswith(":param")]) == 8
