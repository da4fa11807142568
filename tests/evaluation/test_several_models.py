"""One SequenceEvalCallback for several agents, and SB3's own evaluation on the env of a sequence."""

import json
import warnings

import numpy as np
import pytest
from helpers import sequence_env
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, on_cases
from stable_baselines3.common.callbacks import CallbackList, EvalCallback, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import SubprocVecEnv, VecMonitor

from sb3_nbsp.evaluation import SequenceEvalCallback, SequenceResults

cases = on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
NOTICE = r"see the task where the env of a sequence stands, here 'east'.*60 steps.*SequenceEvalCallback.*switch_on=\"episode\""
saying_nothing = pytest.mark.filterwarnings("error:evaluate_policy:UserWarning")


def callback_and_its_results(case, seed, folder=None):
    callback = SequenceEvalCallback(eval_freq=40, n_eval_episodes=2, log_path=folder)
    case.made(seed=seed).learn(128, callback=callback)
    return callback, callback.results


def comparable(results):
    rows = [(e.step, e.segment, e.kind, e.success, e.mean_return) for e in results.evaluations]
    return rows, results.seed, results.settings


@cases
def test_another_model_starts_anew(case):
    callback, first = callback_and_its_results(case, seed=1)
    kept = comparable(first)
    case.made(seed=2).learn(128, callback=callback)
    assert comparable(callback.results) == comparable(callback_and_its_results(case, seed=2)[1])
    assert callback.results.seed == 2 and comparable(first) == kept and kept[1] == 1
    assert callback.results.evaluations[0].kind == "start"


def test_the_parents_too_and_on_another_sequence(tmp_path):
    callback = SequenceEvalCallback(eval_freq=0, n_eval_episodes=1, log_path=tmp_path, best_model_save_path=tmp_path)
    SAC_CASE.made_parent(seed=1).learn(120, callback=callback)
    other = make_vec_env("sb3_nbsp/PointGoal-v0", env_kwargs={"tasks": ("north", "south"), "steps_per_task": 40, "cycles": 1})
    with pytest.warns(UserWarning, match="used by another agent before, whose results in .* will be replaced"):
        SAC_CASE.made_parent(other, seed=2).learn(80, callback=callback)
    written = SequenceResults.read(tmp_path)
    assert written.task_names == ("north", "south") and written.seed == 2
    assert [e.step for e in written.evaluations] == [0, 40, 80] and (tmp_path / "best_model.zip").is_file()


def test_skill_neurons_of_another_model_are_written(tmp_path):
    callback, _ = callback_and_its_results(SAC_CASE, 1, tmp_path / "a")
    callback.log_path = tmp_path / "b"
    model = SAC_CASE.made(seed=2)
    with pytest.warns(UserWarning, match="used by another agent before"):
        model.learn(64, callback=callback)
    assert len(json.loads((tmp_path / "b" / "skill_neurons.json").read_text())["tasks"]) == len(model.learned_tasks) == 1


@cases
def test_one_model_goes_on_also_from_its_file(case, tmp_path):
    parts = SequenceEvalCallback(eval_freq=0, n_eval_episodes=2)
    model = case.made(memory_size=0, skill_fraction=0.0).learn(64, callback=parts)
    model.save(tmp_path / "model")
    results = parts.results
    case.cls.load(tmp_path / "model", env=case.sequence_env()).learn(32, callback=parts, reset_num_timesteps=False)
    assert parts.results is results and [e.step for e in results.evaluations][:3] == [0, 60, 64]


def test_the_same_model_from_the_beginning_starts_anew():
    callback = SequenceEvalCallback(eval_freq=0, n_eval_episodes=2)
    model = SAC_CASE.made_parent().learn(120, callback=callback)
    first = callback.results
    model.set_env(SAC_CASE.sequence_env())
    model.learn(60, callback=callback)
    assert callback.results is not first and [e.step for e in callback.results.evaluations] == [0, 60]


@pytest.mark.parametrize("trained_on_sequence", [True, False])
@cases
def test_eval_callback_on_a_sequence_is_told_before_training(case, trained_on_sequence):
    env = case.sequence_env() if trained_on_sequence else case.task_env()
    evaluation = EvalCallback(case.sequence_env(), n_eval_episodes=1, eval_freq=16, verbose=0)
    with pytest.warns(UserWarning, match=NOTICE) as caught:
        case.made(env).learn(32, callback=evaluation)
    assert sum("evaluate_policy" in str(warning.message) for warning in caught) == 1


@pytest.mark.parametrize("wrap", [lambda c: [c], lambda c: CallbackList([c]), lambda c: EveryNTimesteps(16, c)])
def test_wherever_it_stands_in_the_list(wrap):
    evaluation = EvalCallback(sequence_env(), n_eval_episodes=1, eval_freq=1000)
    with pytest.warns(UserWarning, match=NOTICE):
        SAC_CASE.made().learn(16, callback=wrap(evaluation))


def test_also_in_other_processes():
    kwargs = {"steps_per_task": 60, "horizon": 10}
    env = make_vec_env("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0", 1, env_kwargs=kwargs, vec_env_cls=SubprocVecEnv)
    try:
        with pytest.warns(UserWarning, match=NOTICE):
            SAC_CASE.made().learn(16, callback=EvalCallback(VecMonitor(env), eval_freq=1000))
    finally:
        env.close()


@pytest.mark.parametrize("parent", [False, True])
def test_evaluate_policy_is_told_once(parent):
    env = sequence_env()
    model = SAC_CASE.made_parent() if parent else SAC_CASE.made()
    with pytest.warns(UserWarning, match=NOTICE) as caught:
        evaluate_policy(model, env, n_eval_episodes=2)
        evaluate_policy(model, env, n_eval_episodes=2)
    assert sum("evaluate_policy" in str(warning.message) for warning in caught) == 1


def test_evaluate_policy_is_told_of_other_processes_too():
    kwargs = {"steps_per_task": 60, "horizon": 10}
    env = make_vec_env("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0", 1, env_kwargs=kwargs, vec_env_cls=SubprocVecEnv)
    try:
        with pytest.warns(UserWarning, match=NOTICE) as caught:
            for _ in range(2):
                evaluate_policy(SAC_CASE.made(), env, n_eval_episodes=1)
        assert sum("evaluate_policy" in str(warning.message) for warning in caught) == 1
    finally:
        env.close()


def test_where_every_task_is_seen_nothing_is_said():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*see the task where the env of a sequence stands")
        model = SAC_CASE.made()
        evaluate_policy(model, sequence_env(switch_on="episode"), n_eval_episodes=4)
        model.learn(16, callback=EvalCallback(sequence_env(switch_on="episode"), n_eval_episodes=2, eval_freq=8, verbose=0))
        SAC_CASE.made().learn(80, callback=SequenceEvalCallback(eval_freq=40, n_eval_episodes=1))
        evaluate_policy(model, SAC_CASE.task_env(), n_eval_episodes=1, warn=False)
        env = sequence_env()
        for _ in range(30):  # by hand: nobody evaluates
            env.reset()
            env.step(np.zeros((1, 2)))
