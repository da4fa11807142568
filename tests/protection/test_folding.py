"""What folding computes: what a removed neuron did goes over to those that are kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch as th

from sb3_nbsp.neurons.skill_neurons import LayerSkill, SkillNeurons
from sb3_nbsp.protection.folding import RIDGE, fold


def folded(targets, kept, weights):
    return fold(*(th.tensor(array, dtype=th.float64) for array in (targets, kept, weights)))


def test_nothing_is_folded_where_nothing_is_missing():
    rng = np.random.default_rng(0)
    kept, weights = th.tensor(rng.random((50, 4))), th.tensor(rng.normal(size=(3, 4)))
    correction, constant = fold(kept @ weights.T, kept, weights)
    assert not correction.any() and not constant.any()


@pytest.mark.parametrize("n_steps", [3, 200])
def test_folding_is_ridge_regression(n_steps):
    rng = np.random.default_rng(1)
    kept, weights, targets = rng.random((n_steps, 5)), rng.normal(size=(3, 5)), rng.normal(size=(n_steps, 3))
    correction, constant = folded(targets, kept, weights)
    # Least squares with the ridge's rows below the data's; the constant has none.
    ridge = np.sqrt(n_steps * RIDGE * kept.var(axis=0).mean())
    design = np.block([[kept, np.ones((n_steps, 1))], [ridge * np.eye(5), np.zeros((5, 1))]])
    wanted = np.linalg.lstsq(design, np.vstack([targets - kept @ weights.T, np.zeros((5, 3))]), rcond=None)[0]
    np.testing.assert_allclose(correction, wanted[:5].T, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(constant, wanted[5], rtol=1e-6, atol=1e-9)


@pytest.mark.known_answer
def test_folding_one_step_gives_the_mean():
    correction, constant = folded([[1.0, 2.0]], [[3.0, 4.0, 5.0]], np.ones((2, 3)))
    assert not correction.any() and constant.tolist() == [-11, -10]


@pytest.mark.known_answer
def test_folding_without_kept_neurons_gives_the_mean():
    targets = th.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=th.float64)
    correction, constant = fold(targets, th.zeros(2, 0, dtype=th.float64), th.zeros(2, 0, dtype=th.float64))
    assert correction.shape == (2, 0) and constant.tolist() == [2, 4]


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.1])
def test_folding_into_constant_neurons_gives_the_mean(value):
    targets = np.random.default_rng(2).normal(size=(30, 2))
    correction, constant = folded(targets, np.full((30, 3), value), np.zeros((2, 3)))
    assert correction.abs().max() < 1e-3  # rounding must not pass for a neuron that varies
    np.testing.assert_allclose(np.full((30, 3), value) @ correction.numpy().T + constant.numpy(), [targets.mean(axis=0)] * 30)


@pytest.mark.known_answer
def test_other_chosen_neurons():
    layer = LayerSkill("net", [0.5, 0.6, 0.7], [1.0, 0.0, 1.0], [2])
    skill = SkillNeurons("A", "published", "return", 0.5, 9, {"one": layer, "two": layer})
    other = skill.with_chosen({"one": th.tensor([True, True, False])})
    assert other.layers == {"one": replace(layer, chosen=[0, 1]), "two": replace(layer, chosen=[])}
    assert replace(other, layers=skill.layers) == skill and skill.layers["one"].chosen == [2]
    assert SkillNeurons.from_dict(json.loads(json.dumps(other.to_dict()))) == other


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"ones": th.tensor([True, True, False])}, "Unknown layer 'ones'. Did you mean 'one'"),
        ({"one": th.tensor([True])}, r"chosen neurons of one .* shape \(3,\); got \(1,\)"),
    ],
)
def test_neurons_that_were_not_scored_are_not_chosen(chosen, words):
    layer = LayerSkill("net", [0.5, 0.6, 0.7], [1.0, 0.0, 1.0], [2])
    with pytest.raises(ValueError, match=words):
        SkillNeurons("A", "published", "return", 0.5, 9, {"one": layer}).with_chosen(chosen)
