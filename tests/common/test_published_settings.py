"""The paper's settings: one argument away, in Python and in the files of hyperparameters."""

from pathlib import Path

import pytest
import yaml
from helpers.cases import SAC_CASE, every_case

from sb3_nbsp import PUBLISHED
from sb3_nbsp.benchmark.suite import Suite, shipped_suites, train_arguments
from sb3_nbsp.benchmark.suite_file import merge

SETTINGS = Path(__file__).parents[2] / "hyperparams" / "nbspsac.yml"


@every_case
def test_every_class_takes_them(case):
    published = PUBLISHED | ({"rehearsal": "clip"} if case.on_policy else {})
    model = case.cls("MlpPolicy", case.task_env(), **case.small, **published)
    assert (model.mask_target, model.score, model.select_among) == ("gradient", "published", "all")


def test_the_anchor_in_the_settings_file_says_the_same():
    content = yaml.safe_load(SETTINGS.read_text())
    assert content["published"] == PUBLISHED
    mine = yaml.safe_load(SETTINGS.read_text() + "\nsb3_nbsp/Mine-v0:\n  <<: *published\n  gamma: 0.5\n")
    assert mine["sb3_nbsp/Mine-v0"] == {**PUBLISHED, "gamma": 0.5}


@pytest.mark.parametrize("name", shipped_suites())
def test_the_suites_row_says_the_same(name):
    suite = Suite.read(name)
    method = next(method for method in suite.methods if method.name == "NBSP as published")
    settings = merge(next(iter(suite.sequences.values())), method.settings)
    params, published = settings["params"], PUBLISHED | ({"rehearsal": "clip"} if settings["algo"] == "nbspppo" else {})
    assert {key: value for key, value in params.items() if key in published} == {
        key: value for key, value in published.items() if key in params
    }
    assert {"skill_fraction", "mask_coef", "mask_target", "score", "select_among", "task_gates", "rehearsal"} <= params.keys()
    assert any("mask_target" in argument for argument in train_arguments({"params": params}))


def test_on_a_sequence_they_mask_and_replay():
    model = SAC_CASE.made(**{**PUBLISHED, "goal_metric": "reward"}).learn(70)
    assert model.neuron_masks.n_held == 1 and len(model.memory) > 0 and len(model.cloning.memory) == 0
