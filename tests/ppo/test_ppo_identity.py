"""With everything off, and before the first consolidation, NBSPPPO does bit for bit what PPO does."""

from functools import partial

import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTORS, same, sequence_env
from helpers.outcomes import assert_identical, everything
from helpers.ppo_models import CNN, OFF, RUN, quiet, toys
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from sb3_nbsp import NBSPPPO

pytestmark = quiet


def outcome(cls, make_env, steps=2000, policy="MlpPolicy", **kwargs) -> dict:
    return everything(cls(policy, make_env(), **{**RUN, **kwargs}).learn(steps))


IMAGES = {"make_env": partial(toys, 1, observation_space=CHANNEL_FIRST_IMAGE), "policy": "CnnPolicy", "steps": 300}
ADAMW = {"net_arch": [8], "optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}
CASES = {
    "box": {"make_env": partial(toys, 1)},
    "discrete": {"make_env": partial(toys, action_space=spaces.Discrete(3))},
    "multi-discrete": {"make_env": partial(toys, action_space=spaces.MultiDiscrete([3, 2]))},
    "multi-binary": {"make_env": partial(toys, action_space=spaces.MultiBinary(3))},
    "shared-cnn": {**IMAGES, "policy_kwargs": CNN},
    "two-cnns": {**IMAGES, "policy_kwargs": {**CNN, "share_features_extractor": False}},
    "dict": {"make_env": partial(toys, observation_space=VECTORS), "policy": "MultiInputPolicy"},
    "gsde": {"make_env": toys, "use_sde": True, "sde_sample_freq": 4},
    "normalized": {"make_env": lambda: VecNormalize(toys())},
    "target-kl": {"make_env": toys, "target_kl": 0.001, "learning_rate": 3e-3},
    "other-losses": {"make_env": toys, "clip_range_vf": 0.1, "normalize_advantage": False},
    "schedules": {"make_env": toys, "learning_rate": lambda p: 1e-3 * p, "clip_range": lambda p: 0.1 + 0.2 * p},
    "adamw": {"make_env": toys, "policy_kwargs": ADAMW},
}


@pytest.mark.parametrize("case", CASES)
def test_identity(case):
    """Off, and with the default arguments before the first consolidation."""
    parent = outcome(PPO, **CASES[case])
    assert_identical(parent, outcome(NBSPPPO, **CASES[case], **(OFF if case in ("box", "dict") else {})))


SWITCHES = {
    "four-envs": {"make_env": partial(sequence_env, 4, steps=300, cycles=4)},
    "normalized": {"make_env": lambda: VecNormalize(sequence_env(2, steps=250, cycles=4)), "clip_range_vf": 0.2},
    "gsde": {"make_env": partial(sequence_env, 2, steps=300, cycles=4), "use_sde": True},
    "discrete": {"make_env": partial(sequence_env, 2, steps=300, cycles=4, discrete=True), "learning_rate": lambda p: p / 100},
}


@pytest.mark.parametrize("case", SWITCHES)
def test_identity_over_a_whole_sequence(case):
    parent, mine = outcome(PPO, **SWITCHES[case]), outcome(NBSPPPO, **SWITCHES[case], **OFF)
    parent.pop("returns"), mine.pop("returns")  # episode statistics begin anew with each task, by intention
    assert_identical(parent, mine)


def test_identity_can_fail():
    case = {**SWITCHES["four-envs"], "steps": 600, **OFF, "replay_interval": 1, "scoring_steps": 40}
    reference = outcome(NBSPPPO, **case)["policy"]
    for change in ({"vf_coef": 0.501}, {"memory_size": 50}, {"skill_fraction": 0.1}, {"reset_log_std": True}):
        assert not same(outcome(NBSPPPO, **{**case, **change})["policy"], reference)
