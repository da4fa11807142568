"""NBSP's arguments, the same in all five classes: types, defaults, words, checks."""

import inspect
import typing

import pytest
import torch as th
import yaml
from helpers.cases import TABLE, every_case

from sb3_nbsp import NBSPPPO, NBSPSAC
from sb3_nbsp.base.arguments import described
from sb3_nbsp.common import arguments
from sb3_nbsp.common.from_sb3 import own_arguments
from sb3_nbsp.neurons.scores import SCORES

# Where a class says something else than NBSPSAC, and why.
OTHER_DEFAULTS = {
    "fast_update": {"nbsptqc", "nbspdqn", "nbspqrdqn", "nbspppo"},  # opt-in: not bit for bit the parent
    "rehearsal": {"nbspdqn", "nbspqrdqn"},  # too few seeds of cloned Q-values
    "clone_coef": {"nbspdqn", "nbspqrdqn"},  # Q-values are cloned, not actions
    "clone_batch_size": {"nbspdqn", "nbspqrdqn"},  # their batches are smaller
}
OTHER_TYPES = {
    "fast_update": OTHER_DEFAULTS["fast_update"],
    **{name: {"nbspppo"} for name in ("memory_size", "rehearsal", "replay_mode")},  # it has no replay
}
WRONG = {
    "skill_fraction": 1.5, "mask_coef": "0.2", "mask_target": "weights", "mask_networks": None, "mask_sides": "left",
    "mask_output_biases": "no", "task_gates": 1, "score": "best", "select_among": "some", "goal_metric": "reward ",
    "scoring_steps": 0, "memory_size": -1, "memory_retention": "old", "rehearsal": "none", "replay_mode": "always",
    "replay_interval": 0, "old_task_fraction": 2, "clone_coef": -1, "clone_batch_size": 0, "clone_temperature": 0.0,
    "clone_target": "neurons",
    "reset_replay_buffer": "True", "reset_optimizer": 0, "reset_ent_coef": None, "reset_log_std": 1,
    "task_warmup": 1.5, "schedules_per_task": "yes", "fast_update": "fast",
}  # fmt: skip


def name_of(cls: type) -> str:
    return cls.__name__.lower()


@every_case
def test_every_argument_is_described_and_stands_after_the_parents(case):
    signature = inspect.signature(case.cls).parameters
    own = own_arguments(case.cls)
    assert list(described(case.cls.__init__)) == own
    order = list(signature)
    assert order.index(own[0]) + len(own) == order.index("stats_window_size")
    assert order[: order.index(own[0])] + order[order.index("stats_window_size") :] == list(
        inspect.signature(case.parent).parameters
    )


@every_case
def test_defaults_and_types_agree(case):
    reference, signature = inspect.signature(NBSPSAC).parameters, inspect.signature(case.cls).parameters
    for name in own_arguments(case.cls):
        if name in reference:
            other_default = name_of(case.cls) in OTHER_DEFAULTS.get(name, ())
            other_type = name_of(case.cls) in OTHER_TYPES.get(name, ())
            assert (signature[name].default != reference[name].default) == other_default, name
            assert (signature[name].annotation != reference[name].annotation) == other_type, name


@every_case
def test_defaults_of_the_parent_are_kept(case):
    ours, theirs = inspect.signature(case.cls).parameters, inspect.signature(case.parent).parameters
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name


@every_case
def test_the_docstring_tells_of_each(case):
    lines = [line for line in case.cls.__doc__.splitlines() if line.startswith(":param ")]
    assert [line.split()[1].rstrip(":") for line in lines] == own_arguments(case.cls)


def test_no_description_is_left_over():
    used = {id(hint) for case in TABLE for hint in described(case.cls.__init__).values()}
    assert {name for name in arguments.__all__ if id(getattr(arguments, name)) not in used} == set()


@pytest.mark.parametrize(("case", "name"), [(case, name) for case in TABLE for name in own_arguments(case.cls)])
def test_each_is_checked_before_anything_is_made(case, name):
    with pytest.raises(ValueError, match=f"^{name} must be .*; got "):
        case.made(**{name: WRONG[name]})


@every_case
def test_a_class_of_ones_own_may_list_less(case):
    class Mine(case.cls):
        def __init__(self, env):
            super().__init__("MlpPolicy", env, **case.settings(skill_fraction=7))

    with pytest.raises(ValueError, match="skill_fraction must be"):
        Mine(case.sequence_env())


def test_the_types_are_plain_for_other_tools():
    """inspect, typing and YAML see names and numbers, no objects of ours."""
    hint = inspect.signature(NBSPPPO).parameters["rehearsal"].annotation
    assert typing.get_args(hint.__origin__) == ("clone", "clip")
    defaults = {name: inspect.signature(NBSPSAC).parameters[name].default for name in own_arguments(NBSPSAC)}
    assert yaml.safe_load(yaml.safe_dump(defaults)) == defaults


@every_case
def test_a_mistake_of_an_own_score_comes_before_training(case, monkeypatch):
    monkeypatch.setitem(SCORES, "mine", lambda data: th.zeros(data.activations.shape[1]))
    with pytest.raises(ValueError, match=r"score 'mine' must give a tensor of 8 numbers in \[0\.5, 1\].*got 0 to 0"):
        case.made(score="mine")
    with pytest.raises(ValueError, match="score 'mine' must give"):
        case.cls.from_sb3(case.made_parent(), score="mine")
    case.made(score="mine", skill_fraction=0)  # which scores nothing


def test_a_function_in_the_place_of_a_score_is_told_how_to_get_a_name():
    with pytest.raises(ValueError, match=r'score must be one of published.*SCORES\["my_score"\] = function.*got <function'):
        TABLE[0].made(score=lambda data: data.goal)
