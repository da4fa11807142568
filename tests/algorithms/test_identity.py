"""With protection and mixing off, our classes do bit for bit what their SB3 parents do."""

import inspect
import random
from functools import partial

import numpy as np
import pytest
import torch as th
from helpers import IMAGE, NBSP_SETTINGS, VECTORS, copied, same, sequence_env, task_env
from helpers.cases import TABLE, Case, every_case
from helpers.outcomes import assert_identical, everything, random_states
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp import NBSPSAC, plain_settings
from sb3_nbsp.neurons.scores import SCORES
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv

pytestmark = pytest.mark.filterwarnings(
    r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size", "ignore:A task has"
)
ADAMW = {"optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}


def outcome(case: Case, cls, make_env, steps=400, policy="MlpPolicy", **kwargs) -> dict:
    env = make_env(case)
    run = {}
    if not case.on_policy:  # the buffer is overwritten
        run = {"learning_starts": 50, "buffer_size": 200, "train_freq": case.small.get("train_freq", 8 // env.num_envs)}
    return everything(cls(policy, env, **case.settings(**{**run, **kwargs})).learn(steps))


def toys(space):
    return lambda case: make_vec_env(lambda: case.toy_env(space), 1)


ENVS = {
    "plain": {"make_env": Case.point_goal},
    "four-envs": {"make_env": partial(Case.point_goal, n_envs=4)},
    "normalized": {"make_env": lambda case: VecNormalize(case.point_goal())},
    "dict": {"make_env": toys(VECTORS), "policy": "MultiInputPolicy"},
    "images": {
        "make_env": toys(IMAGE),
        "policy": "CnnPolicy",
        "steps": 200,
        "net_arch": (8,),
        "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 8}},
    },
    "adamw": {"make_env": Case.point_goal, "policy_kwargs": ADAMW},
    "n-steps": {"make_env": Case.point_goal, "n_steps": 3},
    "gsde": {"make_env": Case.point_goal, "use_sde": True, "sde_sample_freq": 4},
    "fixed-ent-coef": {"make_env": Case.point_goal, "ent_coef": 0.1},
}
# What a class has not, or, of PPO, in test_ppo_identity.py
MISSING = {
    "dqn": {"gsde", "fixed-ent-coef"},
    "qrdqn": {"gsde", "fixed-ent-coef"},
    "ppo": {"gsde", "fixed-ent-coef", "n-steps"},
}


def rows(names):
    """Each class with each of the names that it has."""
    table = [(case, name) for case in TABLE for name in names if name not in MISSING.get(case.id, ())]
    return pytest.mark.parametrize(("case", "name"), table, ids=[f"{case.id}-{name}" for case, name in table])


@rows(ENVS)
def test_off_it_is_the_parent(case, name):
    """And, before the first consolidation, with the default arguments."""
    parent = outcome(case, case.parent, **ENVS[name])
    assert_identical(parent, outcome(case, case.cls, **ENVS[name], **case.off))
    as_sb3 = {"fast_update": False} if case.cls is NBSPSAC else {}
    assert_identical(parent, outcome(case, case.cls, **ENVS[name], **as_sb3))


@every_case
def test_the_settings_for_it_are_arguments_of_the_class(case):
    settings = plain_settings(case.cls)
    assert settings.items() <= case.off.items() and set(settings) <= set(inspect.signature(case.cls).parameters)
    assert ("reset_ent_coef" in settings) == (case.id in ("sac", "tqc"))
    assert ("reset_log_std" in settings) == case.on_policy
    own = type("Own", (case.cls,), {"__init__": lambda self, *args, **kwargs: None})
    assert plain_settings(own) == settings
    with pytest.raises(TypeError, match="must be an NBSP algorithm"):
        plain_settings(case.parent)


@every_case
def test_identity_can_fail(case):
    one, other = (
        outcome(case, cls, Case.point_goal, 300, **kwargs)
        for cls, kwargs in ((case.parent, {}), (case.cls, {**case.off, "gamma": 0.98}))
    )
    assert not same(one["policy"], other["policy"])


SWITCHES = {
    "plain": {"make_env": partial(Case.sequence_env, steps=125)},
    "two-envs": {"make_env": partial(Case.sequence_env, n_envs=2, steps=125)},
    "n-steps": {"make_env": partial(Case.sequence_env, steps=125), "n_steps": 3},
    "normalized": {"make_env": lambda case: VecNormalize(case.sequence_env(steps=125))},
}


@rows(SWITCHES)
def test_off_it_is_the_parent_across_task_switches(case, name):
    parent, mine = (
        outcome(case, cls, **SWITCHES[name], **kwargs) for cls, kwargs in ((case.parent, {}), (case.cls, case.off))
    )
    parent.pop("returns"), mine.pop("returns")  # episode statistics begin anew with each task, by intention
    assert_identical(parent, mine)


@every_case
def test_making_the_scored_tasks_env_draws_nothing_from_training(case):
    """Meta-World's constructors, for one, draw from NumPy's global generator."""

    def make(goal, render_mode):
        np.random.random(), random.random(), th.rand(1)
        return PointGoalEnv(goal, render_mode, horizon=10, discrete=case.discrete)

    tasks = tuple(Task(goal, partial(make, goal)) for goal in ("east", "west"))

    def make_env(case):
        np.random.seed(0), random.seed(0), th.manual_seed(0)
        return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(TaskSequence(tasks, 200, cycles=2, task_id=True)))])

    parent, mine = (outcome(case, cls, make_env, 500, **kwargs) for cls, kwargs in ((case.parent, {}), (case.cls, case.off)))
    parent.pop("returns"), mine.pop("returns")
    assert_identical(parent, mine)


# Scoring


@every_case
@pytest.mark.parametrize("score", SCORES)
def test_consolidation_draws_nothing_from_training(case, score):
    model = case.made(score=score).learn(48)
    before, parameters = random_states(model), copied(model.policy.state_dict())
    gradients = [copied(p.grad) for p in model.policy.parameters()]
    model.consolidate(case.task_env(), "east")
    assert same(random_states(model), before) and same(dict(model.policy.state_dict()), dict(parameters))
    assert same([p.grad for p in model.policy.parameters()], gradients)


def test_consolidation_leaves_the_training_env_alone():
    model = NBSPSAC("MlpPolicy", VecNormalize(sequence_env()), **NBSP_SETTINGS).learn(40)
    env, last = model.env, model._last_obs.copy()
    statistics = env.obs_rms.mean.copy(), env.obs_rms.count, env.ret_rms.count
    state = str(env.venv.envs[0].unwrapped._current.env.np_random.bit_generator.state)
    model.consolidate(task_env(), "east")
    assert np.array_equal(env.obs_rms.mean, statistics[0]) and (env.obs_rms.count, env.ret_rms.count) == statistics[1:]
    assert str(env.venv.envs[0].unwrapped._current.env.np_random.bit_generator.state) == state
    assert np.array_equal(model._last_obs, last) and env.get_attr("sequence_steps") == [40]


def test_consolidation_with_gsde_keeps_the_exploration_matrix():
    model = NBSPSAC("MlpPolicy", sequence_env(), use_sde=True, **NBSP_SETTINGS).learn(40)
    before = model.actor.action_dist.exploration_mat.clone()
    model.consolidate(task_env(), "east")
    assert th.equal(model.actor.action_dist.exploration_mat, before)


def test_scoring_repeats_and_sees_the_task():
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS).learn(40)
    first, second = model.consolidate(task_env(), "east"), model.consolidate(task_env(), "east")
    other = model.consolidate(task_env("west"), "west")
    assert first == second and other.layers != first.layers
