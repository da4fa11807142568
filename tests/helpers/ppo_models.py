"""NBSPPPO models and envs that several test files share."""

import io

import pytest
from stable_baselines3.common.env_util import make_vec_env

from helpers import AnyActionEnv, copied, sequence_env
from helpers.cases import PPO_CASE
from sb3_nbsp import NBSPPPO

OFF = PPO_CASE.off
RUN = PPO_CASE.settings(n_steps=50, batch_size=50)
SMALL = PPO_CASE.settings(scoring_steps=40, memory_size=50)
FROZEN = {"skill_fraction": 1.0, "select_among": "all", "mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True}
CNN = {"net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}}

quiet = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size")


def toys(n_envs=4, **kwargs):
    return make_vec_env(lambda: AnyActionEnv(**kwargs), n_envs)


def made(env=None, policy="MlpPolicy", **kwargs):
    return NBSPPPO(policy, sequence_env() if env is None else env, **{**SMALL, **kwargs})


def saved_and_loaded(model, env=None, cls=None, **kwargs):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return (cls or type(model)).load(file, env=env, **kwargs)


def weights(model) -> dict:
    return copied(model.policy.state_dict())
