"""Models with task gates, and what they answer."""

import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from helpers.cases import TABLE, TQC_CASE, case_of
from sb3_nbsp import NBSPSAC

STEPS, HORIZON = 40, 10
THREE = ("east", "west", "north")
PARENTS = {case.cls: case.parent for case in TABLE}
CLASSES = [pytest.param(cls, id=cls.__name__) for cls in PARENTS]
LEARNING_RATE = 1e-2  # large: within a few steps everything that can change does

quiet = pytest.mark.filterwarnings(
    r"ignore:The goal metric q\(t\)",
    "ignore:A task has",
    "ignore:.*of its neurons free",
    "ignore:.*gets no neurons",
    "ignore:The current task's transitions so far",
)


def gated_env(cls=NBSPSAC, tasks=THREE, steps=STEPS, cycles=1, n_envs=1, **kwargs):
    arguments = {"tasks": tasks, "steps_per_task": steps, "cycles": cycles, "horizon": HORIZON, "n_envs": n_envs}
    return make_vec_env("sb3_nbsp/PointGoal-v0", n_envs, env_kwargs={"discrete": case_of(cls).discrete, **arguments, **kwargs})


def settings(cls, net_arch=(16, 16), policy_kwargs=None, **kwargs):
    case = case_of(cls)
    if case.on_policy:
        own = {"n_steps": 20, "batch_size": 10}
    else:
        own = {"learning_starts": 10, "train_freq": 2 if case is TQC_CASE else 1}  # TQC is slow
    policy_kwargs = {"activation_fn": nn.ReLU, **(policy_kwargs or {})}
    return case.settings(net_arch, policy_kwargs, **{"learning_rate": LEARNING_RATE, **own, **kwargs})


def made(cls=NBSPSAC, env=None, **kwargs):
    nbsp = {"task_gates": True, "scoring_steps": 60, "memory_size": 0}
    policy = kwargs.pop("policy", "MlpPolicy")
    return cls(policy, gated_env(cls) if env is None else env, **settings(cls, **{**nbsp, **kwargs}))


def on(model, steps):
    """Learn on from where the model stands."""
    return model.learn(steps, reset_num_timesteps=model.num_timesteps == 0)


def observations(task, n=64, tasks=THREE, scale=1.0):
    """Any observation of a task, also such as it never had."""
    seen = np.random.default_rng(5).uniform(-1.5, 1.5, (n, 4)) * scale
    one_hot = np.eye(len(tasks))[[tasks.index(task)] * n]
    return th.tensor(np.concatenate([seen, one_hot], axis=1), dtype=th.float32)


@th.no_grad()
def outputs(model, seen, actions=None):
    """All that a model's networks say of some observations, by network."""
    policy = model.policy
    if isinstance(model, SAC | TQC):
        if actions is None:
            actions = th.tensor(np.random.default_rng(6).uniform(-1, 1, (len(seen), 2)), dtype=th.float32)
        mean, log_std, _ = model.actor.get_action_dist_params(seen)
        values = model.critic(seen, actions)
        return {"mean": mean, "log_std": log_std, "critic": th.cat(values, 1) if isinstance(values, tuple) else values}
    if isinstance(model, PPO):
        inner = policy.get_distribution(seen).distribution  # a standard deviation that is no network's output is not held
        return {"policy": inner.mean if hasattr(inner, "loc") else inner.logits, "value": policy.predict_values(seen)}
    return {"values": (model.q_net if isinstance(model, DQN) else model.quantile_net)(seen)}


def difference(one, other):
    """The largest one."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def activations(model, seen):
    with model.policy.record_activations() as recorder:
        outputs(model, seen)
    return recorder.activations()


def owners(model):
    return {layer.name: model.gates.owner(layer).clone() for layer in model.gates.layers}


def assert_held(model, task, before, others):
    """A task's outputs are what they were, and those of other tasks, which were learned since, are not."""
    assert difference(before[task], outputs(model, observations(task))) == 0.0
    for other in others:
        assert difference(before[other], outputs(model, observations(other))) > 1e-3
