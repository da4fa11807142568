"""The whole outcome of a training run, to compare it with another one bit for bit."""

import random
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from helpers import copied, same

ROLLOUT = ("observations", "actions", "rewards", "returns", "episode_starts", "values", "log_probs", "advantages")


def random_states(model: BaseAlgorithm) -> list:
    """The states of all generators that training draws from."""
    streams = [random.getstate(), np.random.get_state()[1:3], th.get_rng_state()]
    return [*streams, str(model.action_space.np_random.bit_generator.state)]


def optimizers(model: BaseAlgorithm) -> dict[str, Any]:
    return {name: state for name, state in model.get_parameters().items() if "optimizer" in name}


def everything(model: Any) -> dict[str, Any]:
    """All that a run has changed, the random generators included."""
    log_ent_coef = getattr(model, "log_ent_coef", None)
    outcome = {
        "counters": (model.num_timesteps, model._n_updates, model._episode_num),
        "policy": copied(model.policy.state_dict()),
        "optimizers": copied(optimizers(model)),
        "log_ent_coef": None if log_ent_coef is None else log_ent_coef.detach().clone(),
        "last": (model._last_obs, model._last_episode_starts),
        "generators": random_states(model),
        "schedules": (model._current_progress_remaining, getattr(model, "exploration_rate", None)),
        "returns": [info["r"] for info in model.ep_info_buffer],
    }
    if isinstance(model, OnPolicyAlgorithm):
        return {**outcome, "rollout": {name: getattr(model.rollout_buffer, name) for name in ROLLOUT}}
    np.random.seed(0)
    samples = [model.replay_buffer.sample(32, env=model.get_vec_normalize_env()) for _ in range(12)]
    return {**outcome, "samples": [list(batch) for batch in samples]}


def assert_identical(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["counters"][1] > 10  # something was learned
    assert one.keys() == other.keys()
    for name in one:
        assert same(one[name], other[name]), name
