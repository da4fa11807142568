"""One name and one colour for each method, in all figures."""

from pathlib import Path

import pytest

from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.evaluation.method_styles import COLOURS, STYLES, TASK_COLOURS, styles_of
from sb3_nbsp.zoo import demo_command as demo

SUITES = [*shipped_suites(), *map(str, sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/*.yml")))]


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path[-30:])
def test_every_method_of_a_suite_has_its_style(suite: str) -> None:
    read = Suite.read(suite)
    assert {method.name for method in read.methods} | {method.family for method in read.methods} <= STYLES.keys()
    assert not read.aliases.keys() & STYLES.keys()  # nothing has two names


@pytest.mark.parametrize("algo", demo.ENVS)
def test_so_has_every_method_of_the_demonstration(algo: str) -> None:
    assert demo.methods(algo).keys() <= STYLES.keys()
    assert len({style.colour for style in styles_of(demo.methods(algo)).values()}) == 3


def test_no_two_methods_have_one_colour() -> None:
    suites = [Suite.read(name) for name in shipped_suites()]
    names = {method.name for suite in suites for method in suite.methods}
    assert len({STYLES[name].colour for name in names}) == len(names)
    assert not set(TASK_COLOURS) & {style.colour for style in STYLES.values()}


def test_a_colour_does_not_depend_on_what_else_is_drawn() -> None:
    assert styles_of(["a", "NBSP", "b"])["NBSP"] == styles_of(["NBSP"])["NBSP"] == STYLES["NBSP"]


def test_unknown_methods_get_colours_that_are_left() -> None:
    found = styles_of(["a", "NBSP", "b"])
    assert [found[name].colour for name in "ab"] == [COLOURS[0], COLOURS[2]]  # NBSP has the second one
    many = styles_of(str(number) for number in range(20))
    assert len({(style.colour, style.line) for style in many.values()}) == 20
