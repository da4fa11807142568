"""The entropy coefficient of SAC and TQC from task to task."""

import copy
import io
import math

import pytest
from helpers.cases import SAC_CASE, TQC_CASE, on_cases

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")
max_entropy_cases = on_cases(SAC_CASE, TQC_CASE)
SETTINGS = {"ent_coef": "auto_0.5", "learning_rate": 0.01, "skill_fraction": 0.0}
STEPS = 60  # of each visit in the cases' sequence


def coefficient(model) -> float:
    return float(model.log_ent_coef.detach().exp())


def at_switches(case, n_visits: int, **kwargs) -> tuple[list[float], list[float]]:
    """What each visit begins and ends with, before its first update and after its last."""
    model = case.made(env=case.sequence_env(cycles=2), **{**SETTINGS, **kwargs})
    begins, ends = [], []
    begin, note = model.begin_task, model._remember_task
    model.begin_task = lambda task: (begin(task), begins.append(coefficient(model)))
    model._remember_task = lambda index: (ends.append(coefficient(model)), note(index))
    model.learn(n_visits * STEPS)
    return begins, ends


@max_entropy_cases
def test_a_task_that_is_met_again_goes_on_with_its_own(case):
    """east, west, east, west."""
    begins, ends = at_switches(case, 4)
    assert begins == pytest.approx([0.5, 0.5, ends[0], ends[1]])
    assert len({round(value, 4) for value in (0.5, *ends)}) == 5  # it was learned in every visit


@max_entropy_cases
@pytest.mark.parametrize("reset, kept", [(True, ()), (False, (1, 2, 3))])
def test_the_other_two_ways_know_no_task(case, reset, kept):
    begins, ends = at_switches(case, 4, reset_ent_coef=reset)
    assert begins == pytest.approx([ends[visit - 1] if visit in kept else 0.5 for visit in range(4)])


@max_entropy_cases
@pytest.mark.parametrize("n_steps", [STEPS // 2, STEPS, 2 * STEPS, 2 * STEPS + 45, 3 * STEPS])
def test_it_is_saved_with_the_model(case, n_steps):
    """A run that was stopped in a visit, or at its end, goes on with the coefficient that it had."""
    model = case.made(env=case.sequence_env(cycles=2), **SETTINGS).learn(n_steps)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = case.cls.load(file, env=case.sequence_env(cycles=2))
    assert coefficient(loaded) == coefficient(model) and loaded.log_ent_coefs == model.log_ent_coefs
    for one in (model, loaded):
        one.learn(1, reset_num_timesteps=False)
    if n_steps % STEPS == 0:  # the next visit has begun, without an update so far
        own = math.exp(loaded.log_ent_coefs[n_steps // STEPS % 2]) if n_steps >= 2 * STEPS else 0.5
        assert coefficient(loaded) == pytest.approx(own)


@max_entropy_cases
def test_by_hand_the_task_has_to_be_named(case):
    model = case.made(env=case.task_env("east"), **SETTINGS)
    model.begin_task("east")
    model.learn(STEPS)
    own = coefficient(model)
    for task in ("east", "west"):
        model.consolidate(case.task_env(task), task)
        assert coefficient(model) == pytest.approx(0.5)
    model.begin_task("east")
    assert coefficient(model) == pytest.approx(own)
    model.begin_task("west")  # once per visit
    assert coefficient(model) == pytest.approx(own)


@max_entropy_cases
def test_a_fixed_coefficient_stays(case):
    model = case.made(env=case.sequence_env(cycles=2), **{**SETTINGS, "ent_coef": 0.3}).learn(3 * STEPS)
    assert model.log_ent_coef is None and len(model.log_ent_coefs) == 0 and float(model.ent_coef_tensor) == pytest.approx(0.3)


@max_entropy_cases
@pytest.mark.parametrize("reset", ["new_tasks", True])
def test_a_task_that_is_consolidated_twice_in_a_row_keeps_what_it_ended_with(case, reset):
    model = case.made(env=case.task_env("east"), **SETTINGS, reset_ent_coef=reset).learn(STEPS)
    own = float(model.log_ent_coef.detach())
    for _ in range(2):
        model.consolidate(case.task_env("east"), "east")
        assert model.log_ent_coefs == [own]
    model.learn(STEPS, reset_num_timesteps=False)  # not said which: from the initial value
    other = float(model.log_ent_coef.detach())
    model.consolidate(case.task_env("east"), "east")
    assert model.log_ent_coefs == [other] and other != own


@max_entropy_cases
def test_tasks_of_which_nothing_was_noted_keep_their_places(case, tmp_path):
    """As with files of before it was noted, and with another model's parameters."""
    model = case.made(env=case.task_env("east"), **SETTINGS, learning_starts=10).learn(20)
    model.consolidate(case.task_env("east"), "east")
    other = case.made(env=case.task_env("west"), **SETTINGS, learning_starts=10)
    other.set_parameters(model.get_parameters())
    assert other.learned_tasks == ["task 1"] and len(other.log_ent_coefs) == 0
    other.learn(20)
    own = float(other.log_ent_coef.detach())
    other.consolidate(case.task_env("west"), "west")
    assert other.log_ent_coefs == [None, own]
    other.save(tmp_path / "model")
    for trust in (True, False):
        loaded = case.cls.load(tmp_path / "model", env=case.task_env("west"), trust=trust)
        assert list(loaded.log_ent_coefs) == [None, own]
        begins = {}
        for task in ("task 1", "west", "another"):
            loaded.begins_with_own_ent_coef = True
            loaded.log_ent_coef.data.fill_(0.5)
            loaded.begin_task(task)
            begins[task] = float(loaded.log_ent_coef.detach())
        assert begins == {"task 1": 0.5, "west": own, "another": 0.5}


@max_entropy_cases
def test_parameters_of_an_earlier_time_take_later_coefficients_away(case):
    model = case.made(env=case.task_env("east"), **SETTINGS, learning_starts=10).learn(20)
    fresh = copy.deepcopy(model.get_parameters())
    model.consolidate(case.task_env("east"), "east")
    first, snapshot = model.log_ent_coefs[0], copy.deepcopy(model.get_parameters())
    model.learn(20, reset_num_timesteps=False)
    model.consolidate(case.task_env("west"), "west")
    with pytest.warns(UserWarning, match="forgets that it learned it"):
        model.set_parameters(snapshot)
    assert model.log_ent_coefs == [first]
    with pytest.warns(UserWarning, match="forgets that it learned it"):
        model.set_parameters(fresh)
    assert model.log_ent_coefs == [] and model.learned_tasks == []
