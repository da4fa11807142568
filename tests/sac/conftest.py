"""For the tests that compare in float64."""

import pytest
import stable_baselines3.common.policies as sb3_policies
import torch as th


@pytest.fixture
def double_observations(monkeypatch):
    """SB3 turns every observation into float32; here, float64 ones stay."""
    preprocess = sb3_policies.preprocess_obs

    def preprocess_obs(obs, *args, **kwargs):
        if isinstance(obs, th.Tensor) and obs.dtype == th.float64:
            return obs
        return preprocess(obs, *args, **kwargs)

    monkeypatch.setattr(sb3_policies, "preprocess_obs", preprocess_obs)
