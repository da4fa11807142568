"""What is remembered is normalised by the env of today: where that changes, set_env() says so."""

import warnings

import pytest
from helpers import VECTORS
from helpers.cases import PPO_CASE, SAC_CASE, every_case, on_cases
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")
BY_HAND = {"memory_size": 20, "scoring_steps": 20}


def plain(case, space=None):
    return make_vec_env(case.task_env if space is None else lambda: case.toy_env(space), 1)


def learned(case, env, policy="MlpPolicy", **kwargs):
    model = case.made(env, policy, **{**BY_HAND, **kwargs}).learn(32)
    model.consolidate(task="A")
    return model


def told(model, env) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.set_env(env)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


@every_case
def test_an_env_with_statistics_of_its_own(case):
    model = learned(case, VecNormalize(plain(case)))
    (words,) = told(model, VecNormalize(plain(case)))
    assert "other statistics" in words and "new.obs_rms = old.obs_rms" in words


@on_cases(SAC_CASE, PPO_CASE)
def test_statistics_that_are_shared_or_saved(case, tmp_path):
    old = VecNormalize(plain(case))
    model = learned(case, old)
    old.save(str(tmp_path / "statistics"))
    new = VecNormalize(plain(case))
    new.obs_rms = old.obs_rms
    assert told(model, new) == []
    assert told(model, VecNormalize.load(str(tmp_path / "statistics"), plain(case))) == []


@on_cases(SAC_CASE, PPO_CASE)
def test_one_env_normalises_and_the_other_does_not(case):
    model = learned(case, VecNormalize(plain(case)))
    assert "The old env normalises" in told(model, VecNormalize(plain(case), norm_obs=False))[0]
    assert told(model, plain(case)) == []
    assert "The new env normalises" in told(model, VecNormalize(plain(case)))[0]


@on_cases(SAC_CASE)
def test_observations_in_a_dict(case):
    old = VecNormalize(plain(case, VECTORS), norm_obs_keys=["one"])
    model = learned(case, old, "MultiInputPolicy")
    both, one = VecNormalize(plain(case, VECTORS)), VecNormalize(plain(case, VECTORS), norm_obs_keys=["one"])
    one.obs_rms = old.obs_rms
    assert told(model, one) == []
    both.obs_rms["one"] = old.obs_rms["one"]
    assert "other statistics" in told(model, both)[0]


@on_cases(SAC_CASE)
def test_what_is_cloned_counts_and_nothing_remembered_is_no_matter(case):
    model = learned(case, VecNormalize(plain(case)), rehearsal="clone")
    assert "other statistics" in told(model, VecNormalize(plain(case)))[0]
    model = learned(case, VecNormalize(plain(case)), memory_size=0)
    assert told(model, VecNormalize(plain(case))) == []
