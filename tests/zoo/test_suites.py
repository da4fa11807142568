"""Every suite of ours, shipped and published, passes the checks that `sb3-nbsp benchmark` makes before it trains."""

import json
import sys
from pathlib import Path

import gymnasium as gym
import pytest

pytest.importorskip("rl_zoo3")
pytest.importorskip("metaworld")
pytest.importorskip("ale_py")

from sb3_nbsp.benchmark.suite import Suite, shipped_suites
from sb3_nbsp.neurons import SCORES
from sb3_nbsp.zoo.benchmark_cost import cost_of, cost_statement
from sb3_nbsp.zoo.suite_checks import check_cells

PUBLISHED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/*.yml"))
SUITES = [*shipped_suites(), *map(str, PUBLISHED)]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"algo": "nbspsac", "params": {"noise_type": "normal"}}, "noise_type needs noise_std"),
        ({"algo": "sac", "params": {"batch_size": 0}}, "batch_size must be"),
        ({"algo": "sac", "params": {"batchsize": 8}}, "Did you mean 'batch_size'"),
        ({"algo": "td3", "params": {"n_envs": 0}}, "n_envs must be"),
    ],
)
def test_settings_are_checked_as_train_checks_them(method: dict, words: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yml"
    path.write_text(json.dumps({"seeds": [0], "sequences": {"s": {"env": "sb3_nbsp/PointGoal-v0"}}, "methods": {"m": method}}))
    with pytest.raises(ValueError, match=words):
        check_cells(Suite.read(path).cells(tmp_path))


OWN = """
import gymnasium as gym
import torch as th

from sb3_nbsp.neurons import SCORES
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv
from sb3_nbsp.tasks.point_goal import PointGoalEnv


class Sine(th.nn.Module):
    def forward(self, x):
        return th.sin(x)


def made(steps_per_task):
    tasks = (Task("left", lambda render_mode: PointGoalEnv("west")), Task("right", lambda render_mode: PointGoalEnv("east")))
    return TaskSequenceEnv(TaskSequence(tasks, steps_per_task))


gym.register("own_of_suites/Reach-v0", entry_point=made)
SCORES["own"] = lambda data: th.full((data.activations.shape[1],), 0.5)
"""


@pytest.fixture
def own_suite(tmp_path, monkeypatch):
    """Cells of a suite with what a module of the user's registers."""
    (tmp_path / "own_of_suites.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))

    def cells(env="own_of_suites/Reach-v0", arguments=(), **method):
        content = {"seeds": [0], "sequences": {"s": {"env": env}}}
        arguments = ["--gym-packages", "own_of_suites", *arguments]
        env_kwargs = {"env_kwargs": {"steps_per_task": 50}}
        if not any("env_kwargs" in str(part) or part == "-conf" for part in (method, *arguments)):
            method |= env_kwargs
        content["methods"] = {"m": {"algo": "nbspsac", "arguments": arguments, **method}}
        (tmp_path / "s.yml").write_text(json.dumps(content))
        return Suite.read(tmp_path / "s.yml").cells(tmp_path)

    yield cells
    gym.registry.pop("own_of_suites/Reach-v0", None)
    SCORES.pop("own", None)
    sys.modules.pop("own_of_suites", None)


def test_what_a_module_registers_is_known(own_suite) -> None:
    activation = "dict(net_arch=[8], activation_fn=own_of_suites.Sine)"
    cells = own_suite(params={"score": "own", "policy_kwargs": activation}, env_kwargs={"steps_per_task": 70})
    check_cells(cells)
    assert cost_of(cells[0]).steps == 140
    assert "A step of own_of_suites/Reach-v0 counts as" in cost_statement(cells, 1)


def test_env_arguments_stand_where_rl_zoo3_takes_them_from(own_suite, tmp_path) -> None:
    (tmp_path / "conf.yml").write_text("own_of_suites/Reach-v0: {env_kwargs: {steps_per_task: 60}}")
    (tmp_path / "conf.py").write_text("hyperparams = {}")
    for method, steps in (
        ({"params": {"env_kwargs": {"steps_per_task": 70}}}, 140),
        ({"arguments": ["-conf", str(tmp_path / "conf.yml")]}, 120),
    ):
        cells = own_suite(**method)
        check_cells(cells)
        assert cost_of(cells[0]).steps == steps
    check_cells(own_suite(arguments=["-conf", str(tmp_path / "conf.py")]))  # which may say what the env is made with


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"env": "own_of_suites/Rech-v0"}, "Did you mean 'own_of_suites/Reach-v0'"),
        ({"env_kwargs": {"steps_per_tsk": 70}}, "cannot be made with {'steps_per_tsk': 70}: .*unexpected keyword"),
        ({"env_kwargs": {"steps_per_task": 0}}, "cannot be made with {'steps_per_task': 0}"),
        ({"arguments": ["own_of_nobody"]}, "--gym-packages own_of_nobody cannot be imported"),
        ({"arguments": ["--devise", "cpu"]}, "unknown argument: --devise cpu. Did you mean '--device'"),
        ({"arguments": ["--device", "cpo"]}, "device must be"),
        ({"params": {"score": "owm"}}, "Did you mean 'own'"),
        ({"params": {"policy_kwargs": "dict(net_ach=[8])"}}, "Did you mean 'net_arch'"),
        ({"params": {"policy_kwargs": {"net_ach": [8]}}}, "Did you mean 'net_arch'"),
        ({"params": {"policy_kwargs": "dict(activation_fn=nobody.Sine)"}}, "NameError: name 'nobody' is not defined"),
    ],
)
def test_a_mistake_is_told_before_the_first_training(method, words, own_suite) -> None:
    with pytest.raises(ValueError, match=f"method 'm', sequence 's': .*{words}"):
        check_cells(own_suite(**method))


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path[-30:])
def test_every_cell_can_be_trained(suite: str, tmp_path: Path) -> None:
    cells = Suite.read(suite).cells(tmp_path)
    assert cells
    check_cells(cells)
