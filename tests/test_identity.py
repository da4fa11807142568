"""With protection and mixing off, our classes do bit for bit what their SB3 parents do."""

import random
from functools import partial

import numpy as np
import pytest
import torch as th
from helpers import IMAGE, NBSP_SETTINGS, SETTINGS, VECTORS, ToyEnv, copied, same, sequence_env, task_env
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp import NBSPSAC
from sb3_nbsp.neurons.scores import SCORES
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv

PAIRS = [pytest.param(SAC, NBSPSAC, id="sac")]  # (SB3's class, ours)
OFF = {"skill_fraction": 0.0, "memory_size": 0, "fast_update": False}
NO_RESETS = {"reset_replay_buffer": False, "reset_ent_coef": False, "reset_optimizer": False}
RUN = {**SETTINGS, "learning_starts": 100, "train_freq": 8, "buffer_size": 800}


def optimizers(model: BaseAlgorithm) -> dict:
    return {name: state for name, state in model.get_parameters().items() if "optimizer" in name}


def everything(model: BaseAlgorithm) -> dict:
    """The whole outcome of a training run, the random generators included."""
    buffer = model.replay_buffer
    generators = {"numpy": np.random.get_state()[1:3], "torch": th.get_rng_state(), "python": random.getstate()}
    np.random.seed(0)
    samples = [buffer.sample(32, env=model.get_vec_normalize_env()) for _ in range(12)]
    return {
        "policy": copied(model.policy.state_dict()),
        "optimizers": copied(optimizers(model)),
        "log_ent_coef": None if model.log_ent_coef is None else model.log_ent_coef.detach().clone(),
        "samples": [list(batch) for batch in samples],
        "last_obs": model._last_obs,
        "counters": (model.num_timesteps, model._n_updates, model._episode_num),
        "generators": generators,
        "returns": [info["r"] for info in model.ep_info_buffer],
    }


def outcome(cls, make_env, steps=2000, policy="MlpPolicy", **kwargs) -> dict:
    model = cls(policy, make_env(), **{**RUN, **kwargs})
    model.learn(steps)
    return everything(model)


def assert_identical(one: dict, other: dict) -> None:
    assert one["counters"][1] > 10  # something was learned
    for name in one:
        assert same(one[name], other[name]), name


def point_goal(n_envs: int = 1):
    return make_vec_env(lambda: PointGoalEnv("east", horizon=10), n_envs)


def toy(space):
    return make_vec_env(lambda: ToyEnv(space), 1)


CASES = {
    "plain": {"make_env": point_goal},
    "four-envs": {"make_env": partial(point_goal, 4), "train_freq": 2},
    "normalized": {"make_env": lambda: VecNormalize(point_goal())},
    "gsde": {"make_env": point_goal, "use_sde": True, "sde_sample_freq": 4},
    "dict": {"make_env": partial(toy, VECTORS), "policy": "MultiInputPolicy"},
    "n-steps": {"make_env": point_goal, "n_steps": 3},
    "fixed-ent-coef": {"make_env": point_goal, "ent_coef": 0.1},
    "images": {
        "make_env": partial(toy, IMAGE),
        "policy": "CnnPolicy",
        "steps": 200,
        "policy_kwargs": {"net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}},
    },
    "adamw": {
        "make_env": point_goal,
        "policy_kwargs": {"net_arch": [8], "optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}},
    },
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("theirs, ours", PAIRS)
def test_off_is_the_parent(theirs, ours, case):
    parent = outcome(theirs, **CASES[case])
    assert_identical(parent, outcome(ours, **CASES[case], **OFF))


@pytest.mark.parametrize("case", ["four-envs", "n-steps"])
@pytest.mark.parametrize("theirs, ours", PAIRS)
def test_before_the_first_consolidation_the_defaults_are_the_parent(theirs, ours, case):
    assert_identical(outcome(theirs, **CASES[case]), outcome(ours, **CASES[case], fast_update=False))


@pytest.mark.parametrize("theirs, ours", PAIRS)
def test_identity_can_fail(theirs, ours):
    one, other = outcome(theirs, point_goal, 300), outcome(ours, point_goal, 300, **OFF, tau=0.006)
    assert not same(one["policy"], other["policy"])


SWITCHES = {
    "plain": {"make_env": partial(sequence_env, steps=300)},
    "two-envs": {"make_env": partial(sequence_env, 2, steps=300), "train_freq": 5},
    "n-steps": {"make_env": partial(sequence_env, steps=300), "n_steps": 3},
    "normalized": {"make_env": lambda: VecNormalize(sequence_env(steps=300))},
}


@pytest.mark.parametrize("case", SWITCHES)
@pytest.mark.parametrize("theirs, ours", PAIRS)
def test_off_is_the_parent_across_task_switches(theirs, ours, case):
    parent, mine = (outcome(cls, **SWITCHES[case], **kwargs) for cls, kwargs in ((theirs, {}), (ours, {**OFF, **NO_RESETS})))
    parent.pop("returns"), mine.pop("returns")  # episode statistics begin anew with each task, by intention
    assert_identical(parent, mine)


@pytest.mark.parametrize("theirs, ours", PAIRS)
def test_making_the_scored_tasks_env_draws_nothing_from_training(theirs, ours):
    """Meta-World's constructors, for one, draw from NumPy's global generator."""

    def make(goal, render_mode):
        np.random.random(), random.random(), th.rand(1)
        return PointGoalEnv(goal, render_mode, horizon=10)

    tasks = tuple(Task(goal, partial(make, goal)) for goal in ("east", "west"))

    def make_env():
        np.random.seed(0), random.seed(0), th.manual_seed(0)
        return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(TaskSequence(tasks, 200, cycles=2, task_id=True)))])

    parent, mine = (outcome(cls, make_env, 500, **kwargs) for cls, kwargs in ((theirs, {}), (ours, {**OFF, **NO_RESETS})))
    parent.pop("returns"), mine.pop("returns")
    assert_identical(parent, mine)


# Scoring


def random_states(model: BaseAlgorithm) -> list:
    streams = [random.getstate(), np.random.get_state()[1:3], th.get_rng_state()]
    return [*streams, str(model.action_space.np_random.bit_generator.state)]


@pytest.mark.parametrize("score", SCORES)
def test_consolidation_draws_nothing_from_training(score):
    model = NBSPSAC("MlpPolicy", sequence_env(), score=score, **NBSP_SETTINGS).learn(40)
    before, parameters = random_states(model), copied(model.policy.state_dict())
    gradients = [copied(p.grad) for p in model.policy.parameters()]
    model.consolidate(task_env(), "east")
    assert same(random_states(model), before) and same(model.policy.state_dict(), parameters)
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
