"""Evaluations of a few tasks in turn: who is played when, what it costs, and metrics with holes."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers.counting_env import fake_task
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp.evaluation import (
    Evaluation,
    SequenceEvalCallback,
    SequenceResults,
    area_under_curve,
    average_success,
    cw_performance,
    forgetting_measure,
    forward_transfer,
    plot_matrix,
    plot_sequence,
    results_table,
)
from sb3_nbsp.evaluation.common_curves import common_curves
from sb3_nbsp.evaluation.eval_tasks import ALL, checked_eval_tasks, tasks_to_play
from sb3_nbsp.evaluation.evaluator import TaskEvaluator
from sb3_nbsp.evaluation.last_evaluations import average_last
from sb3_nbsp.evaluation.small_multiples import plot_curves, plot_matrices
from sb3_nbsp.tasks import TaskSequence, TaskSequenceEnv

NAN = math.nan
WHOLE = [[0.8, 0.0, 0.1], [0.5, 0.6, 0.2], [0.6, 0.2, 1.0]]
HOLES = np.array([[0.8, NAN, 0.1], [NAN, 0.6, 0.2], [0.6, 0.2, 1.0]])
SEGMENT = 4  # env steps


def learned(n_tasks: int, eval_tasks: object, eval_freq: int = 0, **kwargs) -> SequenceEvalCallback:
    """Go through a sequence of counting tasks without learning anything."""
    names = [f"task-{index}" for index in range(n_tasks)]
    sequence = TaskSequence(tuple(fake_task(name, success_at=2) for name in names), SEGMENT)
    callback = SequenceEvalCallback(eval_freq, 1, eval_tasks=eval_tasks, **kwargs)
    env = DummyVecEnv([partial(TaskSequenceEnv, sequence)])
    model = SAC("MlpPolicy", env, buffer_size=10, learning_starts=10**9, seed=0, policy_kwargs={"net_arch": [4]})
    model.learn(n_tasks * SEGMENT, callback=callback)
    return callback


def played(callback: SequenceEvalCallback) -> list[list[int]]:
    names = callback.results.task_names
    return [[names.index(name) for name in evaluation.mean_return] for evaluation in callback.results.evaluations]


def n_played(callback: SequenceEvalCallback) -> int:
    return sum(map(len, played(callback)))


# Who is played


@pytest.mark.known_answer
def test_the_trained_task_and_the_longest_waiting_others():
    callback = learned(5, 2)
    # Start and five switches. Beside the trained task (0, 0, 1, 2, 3, all) comes who waits longest.
    assert played(callback) == [[0, 1], [0, 2], [1, 3], [2, 4], [0, 3], [0, 1, 2, 3, 4]]
    assert callback.results.finished


def test_one_task_is_the_trained_one_alone_until_the_end():
    assert played(learned(4, 1, eval_freq=2)) == [[0], [0], [0], [1], [1], [2], [2], [3], [0, 1, 2, 3]]


@pytest.mark.parametrize("eval_tasks", [ALL, 3, 7, "3"])
def test_all_tasks_are_played_always_where_the_number_is_theirs(eval_tasks):
    assert played(learned(3, eval_tasks)) == 4 * [[0, 1, 2]]


def test_everyone_gets_a_turn():
    rows = played(learned(12, 3))[:-1]
    assert {task for row in rows for task in row} == set(range(12)) and {len(row) for row in rows} == {3}


def test_turns_follow_from_the_evaluations_alone():
    """So a run that is resumed with its results goes on with the same tasks, without a state of its own."""
    evaluations = learned(6, 3, eval_freq=2).results.evaluations
    names = [f"task-{index}" for index in range(6)]
    for index, evaluation in enumerate(evaluations[:-1]):
        trained = names[evaluation.segment]
        again = [replace(earlier) for earlier in evaluations[:index]]
        assert tasks_to_play(3, names, trained, again) == tuple(evaluation.mean_return)


def test_a_tasks_episodes_do_not_depend_on_which_others_are_played():
    whole, part = learned(4, ALL).results, learned(4, 2).results
    for one, other in zip(whole.evaluations, part.evaluations, strict=True):
        assert other.mean_return.items() <= one.mean_return.items() and other.success.items() <= one.success.items()


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "some", "-3", "²", [1]])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="Expected eval_tasks='all' or a number of tasks, 1 or more"):
        checked_eval_tasks(value)


# What it costs


def test_the_cost_grows_with_the_number_of_tasks_and_not_with_its_square(monkeypatch):
    n_steps: dict[int, int] = {}
    play = TaskEvaluator._play

    def counted(self, env):
        n_steps[len(self.envs)] = n_steps.get(len(self.envs), 0) + 3 * self.n_eval_episodes  # an episode has 3 steps
        return play(self, env)

    monkeypatch.setattr(TaskEvaluator, "_play", counted)
    few, many = learned(10, 3), learned(100, 3)
    assert n_played(few) == 3 + 9 * 3 + 10 and n_played(many) == 3 + 99 * 3 + 100
    assert n_steps[100] <= 10 * n_steps[10]
    assert n_played(learned(10, ALL)) == 11 * 10


# What is written


def test_files_have_no_rows_and_empty_cells_for_holes(tmp_path):
    results = learned(3, 1, log_path=tmp_path).results
    rows = (tmp_path / "evaluations.csv").read_text().splitlines()[1:]
    assert len(rows) == 1 + 1 + 1 + 3
    matrix = (tmp_path / "matrix.csv").read_text().splitlines()
    assert matrix == ["segment,trained_task,task-0,task-1,task-2", "0,task-0,1.0,,", "1,task-1,,1.0,", "2,task-2,1.0,1.0,1.0"]
    assert SequenceResults.read(tmp_path).evaluations == results.evaluations
    assert json.loads((tmp_path / "results.json").read_text())["settings"]["eval_tasks"] == 1
    assert "eval_tasks" not in learned(2, ALL).results.settings  # files of before are the same


# Metrics with holes


@pytest.mark.known_answer
def test_metrics_of_a_matrix_with_holes():
    # The last row is whole. Bests: a 0.8 (0.5 is not known), b 0.6.
    assert average_success(HOLES) == pytest.approx(0.6)
    assert forgetting_measure(HOLES, [0, 1, 2]) == pytest.approx((0.8 - 0.6 + 0.6 - 0.2) / 2)
    assert forward_transfer(HOLES, [0, 1, 2]) == forward_transfer(WHOLE, [0, 1, 2])


@pytest.mark.known_answer
def test_no_mean_over_fewer_tasks():
    half = HOLES.copy()
    half[2] = NAN
    # Row 2 is not measured; in row 1, the last, task a was not played.
    assert math.isnan(average_success(half)) and math.isnan(forgetting_measure(half, [0, 1, 2]))
    assert forward_transfer(half, [0, 1, 2]) == pytest.approx((0.8 + 0.6) / 2)


@pytest.mark.known_answer
def test_a_best_that_was_not_seen_can_only_be_lower():
    matrix = np.array([[0.5, 0.0, 0.0], [0.9, 0.5, 0.0], [0.4, 0.5, 0.5]])
    holes = matrix.copy()
    holes[1, 0] = NAN
    assert forgetting_measure(matrix, [0, 1, 2]) == pytest.approx(0.25)
    assert forgetting_measure(holes, [0, 1, 2]) == pytest.approx(0.05)


@pytest.mark.known_answer
def test_continual_worlds_means_are_taken_where_a_task_was_played():
    assert cw_performance([[0.4, NAN], [0.6, 0.8]]) == pytest.approx((0.5 + 0.8) / 2)
    assert math.isnan(cw_performance([[0.4, NAN], [0.6, NAN]]))
    assert area_under_curve([0, 10, 20, 30], [NAN, 0.0, NAN, 1.0], 0, 30) == pytest.approx(0.5)


def with_holes() -> SequenceResults:
    """Two tasks of 100 steps, evaluated every 50, b not before its own segment: a falls from 1.0 to 0.5."""
    rows = [(0, 0, "start", [0.0]), (50, 0, "interval", [0.5]), (100, 0, "switch", [1.0])]
    rows += [(150, 1, "interval", [None, 0.4]), (200, 1, "switch", [0.5, 0.8])]
    evaluations = []
    for step, segment, kind, values in rows:
        known = {name: value for name, value in zip("ab", values, strict=False) if value is not None}
        evaluations.append(Evaluation(step, segment, kind, dict(known), {name: 10 * v for name, v in known.items()}, 0.1))
    return SequenceResults(("a", "b"), ("a", "b"), (100, 100), evaluations, {"method": "made"}, seed=0)


@pytest.mark.known_answer
def test_a_finished_run_with_holes_has_all_metrics():
    results = with_holes()
    np.testing.assert_array_equal(results.matrix(), [[1.0, NAN], [0.5, 0.8]])
    assert results.auc() == pytest.approx({"a": 0.5, "b": 0.6})  # a: trapezoids 0.25 and 0.75; b: from 150 on
    metrics = results.metrics(baseline_auc={"a": 0.5, "b": 0.5})
    assert (metrics.asr, metrics.fm, metrics.fwt) == pytest.approx((0.65, 0.5, 0.9))
    # The last evaluations: a 0.75 after its training and 0.5 at the end, b 0.6.
    assert metrics.cw_performance == pytest.approx((0.5 + 0.6) / 2)
    assert metrics.cw_forgetting == pytest.approx((0.75 - 0.5) / 2)
    assert metrics.cw_forward_transfer == pytest.approx((0.0 + 0.2) / 2)
    results.evaluations.pop()
    assert math.isnan(results.metrics().cw_performance)


@pytest.mark.known_answer
def test_last_evaluations_are_averaged_where_a_task_was_played():
    judged = average_last(with_holes(), 2)
    np.testing.assert_allclose(judged.matrix(), [[0.75, NAN], [0.5, 0.6]])


def test_tables_and_figures_take_holes(tmp_path):
    runs = [with_holes(), replace(with_holes(), seed=1)]
    table = [[cell.strip() for cell in line.strip("| ").split("|")] for line in results_table([("x", runs)]).splitlines()]
    assert ["x", "1. a", "1.00 [1.00, 1.00]", "-"] in table
    curves = common_curves(runs, 1)
    assert curves.steps.tolist() == [150, 200] and curves.values.tolist() == 2 * [[0.4, 0.8]] and curves.n_left_out == 0
    for name, draw in (("s", plot_sequence), ("c", plot_curves), ("m", plot_matrices)):
        draw([("x", runs)], tmp_path / f"{name}.png")
    plot_matrix(runs, tmp_path / "p.png")
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_the_best_model_is_judged_by_what_was_last_seen(tmp_path):
    from sb3_nbsp.evaluation.best_model import ranks

    found = ranks(with_holes())
    assert [rank.n_tasks for rank in found] == [1, 1, 1, 2, 2]
    assert found[3].success == pytest.approx((1.0 + 0.4) / 2) and found[3].mean_return == pytest.approx(7.0)
    assert max(found) == found[3]
