"""Parameters of an earlier time in the model that they came from: names, masks and notes of tasks stay in step."""

import copy
import warnings

import pytest
import torch as th
from helpers import same
from helpers.cases import SAC_CASE, every_case, on_cases

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:The current task", "ignore:A task has")
BY_HAND = {"skill_fraction": 0.3, "memory_size": 20, "scoring_steps": 20, "learning_starts": 10}


def learned(case, *tasks, **kwargs):
    """A model that has learned tasks by hand, and its parameters after each."""
    settings = {name: value for name, value in BY_HAND.items() if not (case.on_policy and name == "learning_starts")}
    model = case.made(case.task_env(), **{**settings, **kwargs})
    snapshots = []
    for task in tasks:
        model.learn(16, reset_num_timesteps=False)
        model.consolidate(task=task)
        snapshots.append(copy.deepcopy(model.get_parameters()))
    return model, snapshots


def tell_of(model) -> list[int]:
    """How many tasks names, records and masks tell of."""
    return [len(model.learned_tasks), len(model.skill_neurons), model.neuron_masks.n_tasks]


@every_case
def test_tasks_that_the_parameters_do_not_know_are_forgotten(case):
    model, snapshots = learned(case, "A", "B", "C")
    with pytest.warns(UserWarning, match="before B, C: the model forgets that it learned them"):
        model.set_parameters(snapshots[0])
    assert model.learned_tasks == ["A"] and tell_of(model) == [1, 1, 1]
    model.learn(16, reset_num_timesteps=False)
    model.consolidate(task="D")
    assert model.learned_tasks == ["A", "D"] and tell_of(model) == [2, 2, 2]
    assert set(model.memory.tasks) == {0, 1}


@on_cases(SAC_CASE)
def test_parameters_of_now_change_nothing(case):
    model, snapshots = learned(case, "A", "B")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_parameters(snapshots[-1])
    assert model.learned_tasks == ["A", "B"] and tell_of(model) == [2, 2, 2]
    assert same(model.neuron_masks.state_dict(), snapshots[-1]["neuron_masks"])


@on_cases(SAC_CASE)
def test_without_exact_match_later_tasks_keep_their_masks(case):
    model, snapshots = learned(case, "A", "B")
    before = model.neuron_masks.state_dict()
    model.set_parameters({"neuron_masks": snapshots[0]["neuron_masks"]}, exact_match=False)
    assert model.learned_tasks == ["A", "B"] and tell_of(model) == [2, 2, 2]
    assert same(model.neuron_masks.state_dict(), before)
    model.learn(16, reset_num_timesteps=False)
    model.consolidate(task="C")
    assert model.learned_tasks == ["A", "B", "C"] and tell_of(model) == [3, 3, 3]


@on_cases(SAC_CASE)
def test_a_consolidation_that_failed_can_be_repeated(case):
    model, _ = learned(case, "A")
    model.learn(16, reset_num_timesteps=False)
    hold = model.neuron_masks.hold

    def fails(*args):
        raise RuntimeError("out of memory")

    model.neuron_masks.hold = fails
    with pytest.raises(RuntimeError, match="out of memory"):
        model.consolidate(task="B")
    assert tell_of(model) == [1, 1, 1]
    model.neuron_masks.hold = hold
    model.consolidate(task="B")
    assert model.learned_tasks == ["A", "B"] and tell_of(model) == [2, 2, 2]


@on_cases(SAC_CASE)
def test_a_linear_policy_has_no_masks_to_fit_to(case):
    model, snapshots = learned(case, "A", "B", net_arch=[])
    model.set_parameters(snapshots[0])
    assert model.learned_tasks == ["A", "B"] and model.neuron_masks.parameter_factors() == {}
    assert all(isinstance(p, th.nn.Parameter) for p in model.policy.parameters())


@every_case
def test_a_task_that_was_not_learned_is_told_by_hand(case):
    model = case.made(case.task_env(), memory_size=0, scoring_steps=20)
    with pytest.warns(UserWarning, match="A was consolidated without a single update of the networks before"):
        model.consolidate(task="A")
    model.learn(48)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "A was consolidated|B was consolidated")
        model.consolidate(task="B")
        model.consolidate(task="A")  # again, as it is now


@every_case
def test_what_others_learned_and_tasks_learned_at_once_are_not_told(case):
    learned_once = case.made(case.task_env(), memory_size=0, scoring_steps=20).learn(48)
    parameters = copy.deepcopy(learned_once.get_parameters())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* was consolidated without")
        for task in ("A", "B", "C"):
            learned_once.consolidate(task=task)
        model = case.made(case.task_env(), memory_size=0, scoring_steps=20)
        model.set_parameters(parameters)
        model.consolidate(task="A")
        model.consolidate(task="B")


@every_case
def test_steps_without_an_update_and_a_file_that_learned_nothing_are_told(case, tmp_path):
    model = case.made(case.task_env(), memory_size=0, scoring_steps=20)
    model.save(tmp_path / "model")
    loaded = case.cls.load(tmp_path / "model", env=case.task_env())
    with pytest.warns(UserWarning, match="A was consolidated without a single update"):
        loaded.consolidate(task="A")
    if case.on_policy:
        return
    model.learn(48)
    model.consolidate(task="A")
    model.learn(3, reset_num_timesteps=False)  # its warm-up
    with pytest.warns(UserWarning, match="B was consolidated without a single update"):
        model.consolidate(task="B")
