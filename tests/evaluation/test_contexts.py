"""What must act while a model plays a task: who registers it, where it is entered, and what is said where it is missing."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import HORIZON, NBSP_SETTINGS, SETTINGS, run_python, same, sequence_env
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import EWC, LowerLearningRate, PackNet, ReDo, TaskBoundaryCallback, subnetwork
from sb3_nbsp.evaluation import TaskEvaluator, contexts, playing, register_context
from sb3_nbsp.evaluation.contexts import play_by_task
from sb3_nbsp.probe import probe_model

STEPS = 40
LEARNING = 2 * STEPS + 20  # east, west, and some of east again


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "_REGISTERED", dict(contexts._REGISTERED))


def learned(*callbacks: Any, steps: int = LEARNING) -> SAC:
    return SAC("MlpPolicy", sequence_env(steps=STEPS), **copy.deepcopy(SETTINGS)).learn(steps, callback=list(callbacks))


def evaluator(model: Any) -> TaskEvaluator:
    return TaskEvaluator(model.env, model.env.get_attr("task_sequence")[0], n_eval_episodes=1)


def weights(model: Any) -> dict[str, th.Tensor]:
    return copy.deepcopy(dict(model.actor.state_dict()))


def weights_in_play(model: Any) -> dict[str, dict[str, th.Tensor]]:
    """The actor's weights while each task is evaluated."""
    found, judge = {}, evaluator(model)
    play = judge._play

    def note(env: Any) -> Any:
        (task,) = (name for name, its_env in judge.envs.items() if its_env is env)
        found[task] = weights(model)
        return play(env)

    judge._play = note  # type: ignore[method-assign]
    judge.evaluate(model)
    return found


def test_packnets_subnetworks_are_evaluated() -> None:
    model = learned(PackNet())
    whole, found = weights(model), weights_in_play(model)
    for task in ("east", "west"):
        with subnetwork(model, task):
            assert same(found[task], weights(model))
    assert same(whole, weights(model)) and not same(found["west"], whole)


# A process that has not imported the baselines

ELSEWHERE = """
import sys
from {module} import {algorithm}
from sb3_nbsp.evaluation import TaskEvaluator
from stable_baselines3.common.env_util import make_vec_env

env = make_vec_env("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0", 1, env_kwargs=dict(steps_per_task=40, horizon=10))
model = {algorithm}.load("model", env=env)
evaluator = TaskEvaluator(env, env.get_attr("task_sequence")[0], n_eval_episodes=1)
assert "sb3_nbsp.baselines" not in sys.modules
try:
    evaluator.evaluate(model)
    print("evaluated")
except ValueError as error:
    print("refused:", error)
import sb3_nbsp.baselines
print(evaluator.evaluate(model))
"""


@pytest.mark.parametrize(
    ("cls", "marked"),
    [(SAC, True), (NBSPSAC, False)],
    ids=["sac-now", "nbspsac-saved-before-states-said-so"],
)
def test_where_packnet_was_not_imported_the_error_names_the_import(cls: Any, marked: bool, tmp_path: Path) -> None:
    settings = SETTINGS if cls is SAC else {**NBSP_SETTINGS, "skill_fraction": 0, "memory_size": 0}
    model = cls("MlpPolicy", sequence_env(steps=STEPS), **copy.deepcopy(settings))
    model.learn(LEARNING, callback=PackNet())
    if not marked:
        del model.baseline_states["PackNet"]["acts_in_evaluation"]
    model.save(tmp_path / "model")
    module = "sb3_nbsp" if cls is NBSPSAC else "stable_baselines3"
    script = ELSEWHERE.format(module=module, algorithm=cls.__name__)
    refused, result = run_python("-W", "ignore", "-c", script, folder=tmp_path).strip().splitlines()
    assert refused.startswith("refused: This model was trained with PackNet, which must act while a task is played")
    assert refused.endswith("Import it first: import sb3_nbsp.baselines")
    assert result == str(evaluator(model).evaluate(model))


def test_states_that_need_no_context_need_no_import(tmp_path: Path) -> None:
    learned(EWC(n_samples=8), ReDo(), LowerLearningRate()).save(tmp_path / "model")
    script = ELSEWHERE.format(module="stable_baselines3", algorithm="SAC")
    assert run_python("-W", "ignore", "-c", script, folder=tmp_path).startswith("evaluated")


# Methods of a user's own


def test_the_example_in_the_modules_text() -> None:
    (example,) = re.findall(r"code-block:: python\n\n(.*?)\n\n``", contexts.__doc__ or "", flags=re.DOTALL)
    names = {"TaskBoundaryCallback": TaskBoundaryCallback, "copy": copy, "contextmanager": contextmanager}
    names["register_context"], names["__name__"] = register_context, "mine"  # type: ignore[assignment]
    exec(re.sub(r"^    ", "", example, flags=re.MULTILINE), names)
    model = learned(names["Snapshots"]())  # type: ignore[operator]
    state = model.baseline_states["Snapshots"]  # type: ignore[attr-defined]
    assert state["acts_in_evaluation"] == "mine"
    whole, found = weights(model), weights_in_play(model)
    assert same(found, {task: dict(state[task]) for task in ("east", "west")})
    assert same(whole, weights(model)) and not same(found["east"], whole)
    contexts._REGISTERED.clear()
    with pytest.raises(ValueError, match=r"trained with Snapshots.* Import it first: import mine"):
        evaluator(model).evaluate(model)


class OtherPackNet(PackNet):
    """Another name, another state."""


def test_a_method_without_its_context_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match=r"register_context\('OtherPackNet', context"):
        learned(OtherPackNet())
    register_context("OtherPackNet", partial(subnetwork, method="OtherPackNet"), module=__name__)
    model = learned(OtherPackNet())
    found = weights_in_play(model)["west"]
    with subnetwork(model, "west", "OtherPackNet"):
        assert same(found, weights(model))
    assert not same(found, weights(model))


def test_a_run_of_before_states_said_so_goes_on_and_says_so() -> None:
    model = learned(PackNet(), steps=STEPS + 10)
    states = model.baseline_states  # type: ignore[attr-defined]
    del states["PackNet"]["acts_in_evaluation"]
    model.learn(STEPS, callback=PackNet(), reset_num_timesteps=False)
    assert states["PackNet"]["acts_in_evaluation"] == "sb3_nbsp.baselines"
    assert states["PackNet"]["ended"] == ["east", "west"]


# Where else a model plays


@contextmanager
def noted(seen: list[str], model: Any, task: str) -> Iterator[None]:
    seen.append(task)
    yield


def test_the_probe_plays_in_contexts() -> None:
    """Evaluations, scorings with other seeds, and the steps on which plasticity is measured."""
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS).learn(130)
    model.baseline_states = {"Mine": {}}  # type: ignore[attr-defined]
    seen: list[str] = []
    register_context("Mine", partial(noted, seen), module=__name__)
    found = probe_model(model, sequence_env(), n_eval_episodes=1, rescore=False)
    evaluations = 1 + len(found.lesions) * (1 + 3 + 3 + 1)
    assert seen == ["east", "west"] * evaluations + ["west"]
    seen.clear()
    probe_model(model, sequence_env(), n_eval_episodes=1)
    assert seen == ["east", "west"] * evaluations + ["east"] * 3 + ["west"] * 3 + ["west"]


def test_sub_envs_at_different_tasks_are_played_by_their_own_weights() -> None:
    model = learned(PackNet())
    kwargs = {"steps_per_task": STEPS, "horizon": HORIZON, "switch_on": "episode", "n_envs": 2}
    env = make_vec_env("sb3_nbsp/PointGoal-v0", 2, env_kwargs=kwargs)
    observations = env.reset()
    env.reset_infos = [{"task_name": "west"}, {"task_name": "east"}]
    expected = []
    for task, row in (("west", 0), ("east", 1)):
        with playing(model, task):
            expected.append(model.predict(observations, deterministic=True)[0][row])
    whole = model.predict(observations, deterministic=True)[0]
    play_by_task(model, env)
    actions = model.predict(observations, deterministic=True)[0]
    assert np.array_equal(actions, np.stack(expected)) and not np.array_equal(actions, whole)


def test_a_trial_of_a_search_is_judged_task_by_task() -> None:
    pytest.importorskip("rl_zoo3")
    from optuna.trial import FixedTrial

    from sb3_nbsp.zoo.samplers import TrialEvaluation

    seen: list[str] = []
    register_context("PackNet", partial(noted, seen), module=__name__)
    judge = TrialEvaluation(sequence_env(switch_on="episode"), FixedTrial({}), n_eval_episodes=2, eval_freq=90)
    model = learned(PackNet(), judge)
    assert list(dict.fromkeys(seen)) == ["east", "west"] and len(seen) == 2 * HORIZON
    assert "predict" not in vars(model)  # it is judged so, not changed


WATCHED = """
from sb3_nbsp.zoo import commands
from sb3_nbsp.evaluation import contexts
registered, seen = contexts._REGISTERED["PackNet"].context, []

def noted(model, task):
    seen.append(task)
    return registered(model, task)

contexts.register_context("PackNet", noted, module="noted")
arguments = ["--algo", "nbspsac", "--env", "sb3_nbsp/PointGoal-v0", "-f", "logs", "--no-render"]
commands.enjoy([*arguments, "-n", "50"])
print("seen", [seen[i] for i in (0, 24, 25, 49)], len(seen))
"""


def test_enjoy_and_continued_training_play_in_contexts(tmp_path: Path) -> None:
    pytest.importorskip("rl_zoo3")
    common = ("-m", "sb3_nbsp.cli", "train", "--algo", "nbspsac", "--env", "sb3_nbsp/PointGoal-v0", "--seed", "1")
    small = ("--env-kwargs", "steps_per_task:100", "cycles:1", "--eval-episodes", "1", "--verbose", "0")
    params = ("-params", "learning_starts:50", "skill_fraction:0", "memory_size:0", "policy_kwargs:dict(net_arch=[8])")
    run_python(*common, *small, *params, "callback:'sb3_nbsp.baselines.PackNet'", "-n", "150", folder=tmp_path)
    output = run_python("-c", WATCHED, folder=tmp_path)
    assert "seen ['east', 'east', 'west', 'west'] 50" in output
    last = "logs/nbspsac/sb3_nbsp-PointGoal-v0_1/sb3_nbsp-PointGoal-v0.zip"
    # Without the callback, so that nothing but the command itself imports the baselines.
    assert "for 50 steps" in run_python(*common, *small, *params, "-i", last, folder=tmp_path)
