"""Results in human-normalised returns: what is chosen, what it is called, where it is shown."""

import json
import math

import gymnasium as gym
import numpy as np
import pytest
from helpers import HORIZON, VECTOR, ToyEnv
from stable_baselines3 import SAC
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp.evaluation import Evaluation, SequenceEvalCallback, SequenceResults, plot_matrix, plot_sequence, results_table
from sb3_nbsp.evaluation.performance_kind import NORMALISED, RETURN, SUCCESS, normalised_return
from sb3_nbsp.evaluation.plots import colour_limits
from sb3_nbsp.evaluation.watch_table import TaskReport
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

REFERENCES = {"a": (-20.0, 20.0), "b": (100.0, 300.0)}
RETURNS = [[-30.0, 100.0], [20.0, 50.0], [0.0, 700.0]]  # at the start, after a, after b
NORMALISED_RETURNS = [[-0.25, 0.0], [1.0, -0.25], [0.5, 3.0]]


def made_results(references=REFERENCES, success=(None, None), shift: float = 0.0) -> SequenceResults:
    """Tasks a and b of 100 steps, evaluated at the start and at each switch."""
    evaluations = []
    for index, row in enumerate(RETURNS):
        returns = {name: value + shift for name, value in zip("ab", row, strict=True)}
        kind = "switch" if index else "start"
        told = dict(zip("ab", success, strict=True))
        evaluations.append(Evaluation(100 * index, max(index - 1, 0), kind, told, returns, 0.1))
    return SequenceResults(("a", "b"), ("a", "b"), (100, 100), evaluations, reference_scores=dict(references))


@pytest.mark.known_answer
def test_a_random_player_is_zero_and_a_human_one():
    assert [normalised_return(value, (-20.0, 20.0)) for value in (-20.0, 20.0, 0.0, -60.0, 60.0)] == [0.0, 1.0, 0.5, -1.0, 2.0]
    assert normalised_return(-1.0, (0.0, -2.0)) == 0.5  # a game where less is better


@pytest.mark.parametrize(
    "references, success, measure",
    [
        (REFERENCES, (None, None), NORMALISED),
        ({}, (None, None), RETURN),
        ({"a": REFERENCES["a"]}, (None, None), RETURN),  # not all tasks
        (REFERENCES, (0.5, 1.0), SUCCESS),
        (REFERENCES, (0.5, None), NORMALISED),
        ({}, (0.5, 1.0), SUCCESS),
    ],
)
def test_success_goes_before_normalised_returns_before_returns(references, success, measure):
    results = made_results(references, success)
    assert results.measure == measure
    expected = {SUCCESS: 3 * [[0.5, 1.0]], NORMALISED: NORMALISED_RETURNS, RETURN: RETURNS}[measure]
    np.testing.assert_allclose(results.values(), expected)
    np.testing.assert_allclose(results.matrix(), expected[1:])
    np.testing.assert_allclose(results.values("return"), RETURNS)  # whatever was chosen


def test_a_reading_that_is_not_known_is_nan():
    results = made_results({"a": REFERENCES["a"]}, (0.5, None))
    assert np.isnan(results.values("normalised return")[:, 1]).all()
    assert np.isnan(results.values("success")[:, 1]).all()
    np.testing.assert_allclose(results.values("normalised return")[:, 0], np.array(NORMALISED_RETURNS)[:, 0])


@pytest.mark.known_answer
def test_metrics_are_in_normalised_returns():
    metrics = made_results().metrics()
    assert (metrics.asr, metrics.fm, metrics.fwt) == pytest.approx((1.75, 0.5, 2.0))


@pytest.mark.known_answer
def test_files_hold_raw_and_normalised_returns(tmp_path):
    made_results().write(tmp_path)
    lines = (tmp_path / "evaluations.csv").read_text().splitlines()
    assert lines[0] == "step,segment,trained_task,kind,task,success,mean_return,normalised_return"
    assert lines[-1] == "200,1,b,switch,b,,700.0,3.0"
    assert (tmp_path / "matrix.csv").read_text() == "segment,trained_task,a,b\n0,a,1.0,-0.25\n1,b,0.5,3.0\n"
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["measure"] == "normalised return" and written["reference_scores"] == {"a": [-20, 20], "b": [100, 300]}
    assert written["evaluations"][-1]["mean_return"] == {"a": 0.0, "b": 700.0}
    again = SequenceResults.read(tmp_path)
    assert again.reference_scores == REFERENCES and again.to_json() == made_results().to_json()


def test_files_of_earlier_versions_are_read(tmp_path):
    content = json.loads(made_results(success=(0.5, 1.0), references={}).to_json())
    del content["measure"], content["reference_scores"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    results = SequenceResults.read(tmp_path)
    assert results.reference_scores == {} and results.measure == SUCCESS and results.metrics().asr == 0.75


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]


@pytest.mark.known_answer
def test_tables_say_what_they_show():
    rows = cells(results_table([("one", [made_results()])]))
    assert rows[0] == ["method", "seeds", "AR", "FM", "FWT"] and rows[2] == ["one", "1", "1.75", "0.50", "2.00"]
    assert rows[4] == ["method", "after training", "normalised return on a", "normalised return on b"]
    assert "0 is a random player, 1 a human" in rows[-1][0]
    rows = cells(results_table([("one", [made_results({})])]))
    assert rows[0][2] == "AR" and rows[4][2] == "return on a" and "whatever their scales" in rows[-1][0]
    rows = cells(results_table([("one", [made_results({}, (0.5, 1.0))])]))
    assert rows[0][2] == "ASR" and rows[4][2] == "success on a"
    assert rows[-1][0] == "One run each."
    rows = cells(results_table([("one", [made_results({}, (0.5, 1.0)), made_results({}, (0.5, 1.0))])]))
    assert rows[-1][0] == "Mean over seeds [95% percentile bootstrap interval]."


@pytest.mark.parametrize("show", [plot_sequence, lambda results, _path: results_table(results)])
def test_runs_that_are_normalised_differently_are_not_compared(show, tmp_path):
    other = made_results({**REFERENCES, "b": (0.0, 1.0)})
    with pytest.raises(ValueError, match="same reference scores"):
        show([("one", [made_results()]), ("other", [other])], tmp_path / "x.png")


@pytest.mark.parametrize("references", [REFERENCES, {}])
def test_figures_cope_with_what_lies_beyond_zero_and_one(tmp_path, references):
    runs = [made_results(references, shift=shift) for shift in (0.0, 30.0)]
    plot_sequence([("one", runs), ("two", runs[:1])], tmp_path / "sequence.png")
    plot_matrix(runs, tmp_path / "matrix.png")
    for name in ("sequence.png", "matrix.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.known_answer
def test_colours_reach_from_random_to_human_and_beyond():
    results = made_results()
    assert colour_limits(results, results.matrix()) == (-0.25, 3.0)
    assert colour_limits(results, np.array([[0.2, 0.4]])) == (0.0, 1.0)
    assert colour_limits(results, np.full((1, 2), math.nan)) == (0.0, 1.0)
    assert colour_limits(made_results(success=(0.5, 1.0)), results.matrix()) == (0.0, 1.0)


class Payday(gym.Wrapper):
    """Pays the same at every step."""

    def __init__(self, pay: float):
        super().__init__(ToyEnv(VECTOR, tells_success=False, constant=True))
        self.pay = pay

    def step(self, action):
        obs, _, terminated, truncated, info = self.env.step(action)
        return obs, self.pay, terminated, truncated, info


def pay_sequence(**kwargs) -> TaskSequence:
    """Training pays 1 a step; a judge pays 2 on a, 30 on b."""

    def task(name: str, pay: float) -> Task:
        return Task(name, lambda render_mode: Payday(1.0), lambda render_mode: Payday(pay), REFERENCES[name])

    return TaskSequence((task("a", 2.0), task("b", 30.0)), 40, **kwargs)


def pay_env(**kwargs) -> DummyVecEnv:
    return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(pay_sequence(), **kwargs))])


class Recorded(KVWriter):
    def __init__(self) -> None:
        self.dumps: list[dict] = []

    def write(self, key_values, key_excluded, step=0):
        self.dumps.append(dict(key_values))

    def close(self):
        pass


def test_agents_are_judged_on_the_envs_for_evaluation():
    model = SAC("MlpPolicy", pay_env(), learning_starts=100, buffer_size=100, policy_kwargs={"net_arch": [8]})
    recorded, callback = Recorded(), SequenceEvalCallback(0, 2)
    model.set_logger(Logger(None, [recorded]))
    model.learn(80, callback=callback)
    assert callback.results.evaluations[-1].mean_return == {"a": 2.0 * HORIZON, "b": 30.0 * HORIZON}
    np.testing.assert_allclose(callback.results.matrix(), [[1.0, 1.0], [1.0, 1.0]])
    assert (model.replay_buffer.rewards[:80] == 1.0).all()
    logged = next(values for values in reversed(recorded.dumps) if "continual/fm" in values)
    of_tasks = {f"continual/{name}_{what}" for name in "ab" for what in ("return", "hns")}
    assert {key for key in logged if key.startswith("continual/")} == of_tasks | {
        f"continual/{name}" for name in ("task", "ar", "fm", "fwt")
    }
    assert (logged["continual/a_hns"], logged["continual/a_return"], logged["continual/ar"]) == (1.0, 20.0, 1.0)


def test_the_best_model_is_chosen_by_normalised_returns(tmp_path, monkeypatch):
    model = SAC("MlpPolicy", pay_env(), learning_starts=100, buffer_size=100, policy_kwargs={"net_arch": [8]})
    saved = []
    monkeypatch.setattr(model, "save", lambda path: saved.append(model.num_timesteps))
    scripted = iter([(0.0, 0.0), (0.0, 0.0), (0.0, 100.0), (20.0, 60.0), (0.0, 120.0)])

    def scripted_evaluation(self, model, tasks):
        return dict.fromkeys("ab"), dict(zip("ab", next(scripted), strict=True))

    monkeypatch.setattr("sb3_nbsp.evaluation.callback.TaskEvaluator.evaluate", scripted_evaluation)
    model.learn(80, callback=SequenceEvalCallback(20, 1, best_model_save_path=tmp_path))
    # From step 60 on both tasks count: 100 at step 40 stands for b too early; 20 on a weighs more than 60 more on b.
    assert saved == [0, 60]


def test_a_resumed_run_is_normalised_like_its_sequence(tmp_path):
    results = SequenceResults(("a", "b"), ("a", "b"), (40, 40))
    results.write(tmp_path)
    callback = SequenceEvalCallback(0, 1, resume_from=tmp_path)
    model = SAC("MlpPolicy", pay_env(), learning_starts=100, buffer_size=100, policy_kwargs={"net_arch": [8]})
    model.learn(10, callback=callback)
    assert callback.results.reference_scores == REFERENCES and callback.results.measure == NORMALISED


@pytest.mark.parametrize("switch_on, pays", [("steps", 1.0), ("episode", 2.0)])
def test_watching_uses_the_envs_for_evaluation(switch_on, pays):
    env = TaskSequenceEnv(pay_sequence(), switch_on=switch_on)
    env.reset()
    assert env.step(env.action_space.sample())[1] == pays


def test_a_single_tasks_env():
    sequence = pay_sequence()
    assert sequence.reference_scores == REFERENCES
    for evaluation, pays in ((False, 1.0), (True, 30.0)):
        env = sequence.make_task_env("b", evaluation=evaluation)
        env.reset()
        assert env.step(env.action_space.sample())[1] == pays
    plain = Task("c", lambda render_mode: Payday(5.0))  # nothing of its own for evaluation
    env = TaskSequence((plain,), 10).make_task_env("c", evaluation=True)
    env.reset()
    assert env.step(env.action_space.sample())[1] == 5.0


def test_the_report_of_enjoy(capsys):
    env = TaskReport(pay_env(switch_on="episode"))
    env.reset()
    for _ in range(2 * HORIZON):
        env.step(np.zeros((1, 2)))
    env.close()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["task", "episodes", "success", "return", "normalised"],
        ["a", "1", "-", "20.00", "1.00"],
        ["b", "1", "-", "300.00", "1.00"],
    ]


@pytest.mark.parametrize("scores", [(1.0, 1.0), (math.nan, 1.0), (0.0, math.inf), (0.0,), (0.0, 1.0, 2.0)])
def test_senseless_reference_scores_are_refused(scores):
    with pytest.raises(ValueError, match="reference_scores of task 'x' must be two different finite numbers"):
        Task("x", lambda render_mode: Payday(1.0), reference_scores=scores)


def test_reference_scores_may_be_a_list():
    assert Task("x", lambda render_mode: Payday(1.0), reference_scores=[0.0, 2.0]).reference_scores == (0.0, 2.0)
