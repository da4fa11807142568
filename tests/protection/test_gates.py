"""Task gates: what a task's skill neurons do cannot change while other tasks are learned."""

import copy
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.policies as sb3_policies
import torch as th
from gymnasium import spaces
from helpers import ToyEnv, same
from helpers.gated import (
    CLASSES,
    PARENTS,
    STEPS,
    THREE,
    activations,
    assert_held,
    difference,
    gated_env,
    made,
    observations,
    on,
    outputs,
    owners,
    quiet,
    settings,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC
from sb3_nbsp.protection.ownership import CLOSED, FREE
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

pytestmark = quiet


# Nothing is forgotten

CASES = [
    *[pytest.param(cls, {}, {}, id=cls.__name__) for cls in PARENTS],
    *[pytest.param(cls, {"memory_size": 40}, {}, id=f"{cls.__name__}-memory") for cls in PARENTS],
    *[pytest.param(cls, {"net_arch": (32,)}, {}, id=f"{cls.__name__}-shallow") for cls in (NBSPSAC, NBSPDQN, NBSPPPO)],
    *[pytest.param(cls, {"net_arch": (16, 16, 16)}, {}, id=f"{cls.__name__}-deep") for cls in (NBSPTQC, NBSPQRDQN, NBSPPPO)],
    pytest.param(NBSPSAC, {"net_arch": {"pi": [12], "qf": [20, 8, 16]}}, {}, id="sac-two-shapes"),
    pytest.param(NBSPPPO, {"net_arch": {"pi": [12], "vf": [20, 8, 16]}}, {}, id="ppo-two-shapes"),
    pytest.param(NBSPPPO, {}, {"discrete": True}, id="ppo-discrete"),
    pytest.param(NBSPPPO, {"memory_size": 40, "rehearsal": "clip", "replay_mode": "share"}, {}, id="ppo-clip"),
    pytest.param(NBSPSAC, {"memory_size": 40, "replay_mode": "share"}, {"n_envs": 2}, id="sac-share-two-envs"),
    pytest.param(NBSPPPO, {"memory_size": 40}, {"n_envs": 2}, id="ppo-two-envs"),
    pytest.param(NBSPSAC, {"policy_kwargs": {"n_critics": 1}}, {}, id="one-critic"),
    pytest.param(NBSPSAC, {"policy_kwargs": {"n_critics": 3}, "n_steps": 3}, {}, id="three-critics"),
    pytest.param(NBSPSAC, {"mask_target": "gradient", "memory_size": 40}, {}, id="sac-gradient"),
    pytest.param(NBSPPPO, {"mask_target": "gradient", "memory_size": 40}, {}, id="ppo-gradient"),
    pytest.param(NBSPSAC, {"fast_update": False, "reset_replay_buffer": False}, {}, id="sac-sb3-one-buffer"),
    pytest.param(NBSPSAC, {"score": "taylor", "skill_fraction": 0.5}, {}, id="sac-taylor"),
]


@pytest.mark.parametrize(("cls", "kwargs", "env_kwargs"), CASES)
def test_what_was_learned_stays_exactly(cls, kwargs, env_kwargs):
    model = on(made(cls, gated_env(cls, **env_kwargs), **kwargs), STEPS)
    assert model.learned_tasks == ["east"] and model.gates.owns(0)
    after_east = {task: outputs(model, observations(task)) for task in THREE}
    on(model, STEPS)
    assert_held(model, "east", after_east, ["west"])
    after_west = {task: outputs(model, observations(task)) for task in THREE}
    on(model, STEPS)
    assert model.learned_tasks == list(THREE)
    assert_held(model, "east", after_east, ["west", "north"])
    assert_held(model, "west", after_west, ["north"])


OPTIMIZER_CASES = {
    "adamw": (th.optim.AdamW, {"weight_decay": 1.0}),
    "adam-decay": (th.optim.Adam, {"weight_decay": 0.1}),
    "sgd": (th.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    "rmsprop": (th.optim.RMSprop, {"momentum": 0.9}),
}


@pytest.mark.parametrize("cls", [NBSPSAC, NBSPDQN, NBSPPPO])
@pytest.mark.parametrize("case", OPTIMIZER_CASES)
def test_no_optimizer_opens_what_is_closed(cls, case):
    optimizer, optimizer_kwargs = OPTIMIZER_CASES[case]
    policy_kwargs = {"optimizer_class": optimizer, "optimizer_kwargs": optimizer_kwargs}
    model = on(made(cls, policy_kwargs=policy_kwargs, skill_fraction=0.3), STEPS)
    before = outputs(model, observations("east"))
    closing = [(weight.clone(), weight <= -CLOSED) for weight in first_weights(model)]
    on(model, STEPS - 20)  # within the next task
    assert difference(before, outputs(model, observations("east"))) == 0.0
    for now, (then, closed) in zip(first_weights(model), closing, strict=True):
        assert closed.any() and same(now[closed], then[closed]) and not same(now, then)


def first_weights(model):
    return [network.layers[0].own[0].detach() for network in model.gates.networks]


# Who answers to what


@pytest.mark.parametrize("cls", CLASSES)
def test_neurons_answer_to_their_own_task_only(cls):
    model = made(cls)
    for _ in THREE:
        learned = on(model, STEPS).learned_tasks
        for index, task in enumerate(THREE):
            for name, values in activations(model, observations(task)).items():
                owner = owners(model)[name]
                for other in range(len(learned)):
                    assert bool((values[:, owner == -2 - other] == float(other == index)).all())
                    assert other == index or not values[:, owner == other].any()
                if task in learned:
                    assert not values[:, owner == FREE].any()
                    assert values[:, owner == index].any()
                    assert int((owner == -2 - index).sum()) == 1 and int((owner == index).sum()) <= 3


@pytest.mark.parametrize("cls", [NBSPSAC, NBSPPPO])
def test_no_neuron_reads_those_of_other_tasks(cls):
    """So that it stays closed however large they are."""
    model = on(made(cls), 2 * STEPS)
    for network in model.gates.networks:
        below, layer = network.layers
        owner_below, owner = (model.gates.owner(part) for part in (below, layer))
        for task in (0, 1):
            read = layer.own[0][owner != task][:, owner_below == task]
            assert not read.any() and layer.own[0][owner == task][:, owner_below == task].any()


class Scaled(gym.ObservationWrapper):
    def __init__(self, env, scale):
        super().__init__(env)
        self.scale = scale

    def observation(self, observation):
        return observation * self.scale


@pytest.mark.parametrize("scales", [(1, 1, 1), (1e3, 1e3, 1e3), (1e5, 1e5, 1e5), (1, 1e3, 1), (1e3, 1, 1e3)])
def test_large_observations(scales):
    def make(scale, render_mode):
        return Scaled(ToyEnv(spaces.Box(-1, 1, (4,))), scale)

    tasks = tuple(Task(name, partial(make, scale)) for name, scale in zip(THREE, scales, strict=True))
    env = DummyVecEnv([lambda: Monitor(TaskSequenceEnv(TaskSequence(tasks, STEPS, task_id=True)))])
    model = made(env=env, learning_rate=1e-3)
    seen = {task: observations(task, scale=scale) for task, scale in zip(THREE, scales, strict=True)}
    before = [outputs(on(model, STEPS), seen[task]) for task in THREE]
    assert [difference(then, outputs(model, seen[task])) for task, then in zip(THREE, before, strict=True)] == [0.0] * 3
    if scales[0] >= scales[1]:
        assert not any(values[:, owners(model)[name] == 0].any() for name, values in activations(model, seen["west"]).items())


# The parent, and the fast update


@pytest.mark.parametrize("cls", CLASSES)
def test_before_the_first_task_ends_it_is_the_parent(cls):
    models = []
    for made_cls in (PARENTS[cls], cls):
        ours = {"task_gates": True, "schedules_per_task": False} | ({"fast_update": False} if cls is NBSPSAC else {})
        own = ours if made_cls is cls else {}
        models.append(made_cls("MlpPolicy", gated_env(cls, steps=1000), **settings(made_cls, **own)).learn(100))
    assert models[0]._n_updates > 5
    assert same(dict(models[0].policy.state_dict()), dict(models[1].policy.state_dict()))
    optimizers = [{n: p for n, p in model.get_parameters().items() if "optimizer" in n} for model in models]
    assert same(*optimizers)


@pytest.mark.parametrize("memory_size", [0, 40])
def test_the_fast_update_learns_the_same(memory_size, monkeypatch):
    """In float64: there, rounding is all that may differ."""
    monkeypatch.setattr(sb3_policies, "preprocess_obs", lambda seen, *_, **__: seen)
    model = on(made(fast_update=False, memory_size=memory_size, rehearsal="replay", learning_rate=1e-3), STEPS + 30)
    models = [model, copy.deepcopy(model)]
    models[1].fast_update = True
    for model in models:
        model.policy.double()
        model.log_ent_coef.data = model.log_ent_coef.data.double()
        for optimizer in (model.actor.optimizer, model.critic.optimizer, model.ent_coef_optimizer):
            optimizer.state.clear()  # moments in float32
        model._apply_masks()
        sample = model.replay_buffer.sample
        model.replay_buffer.sample = lambda *args, sample=sample, **kwargs: in_double(sample(*args, **kwargs))
        np.random.seed(3), th.manual_seed(3)
        model.train(20, 16)
    assert [model.update_path for model in models] == ["sb3", "fast"]
    states = [dict(model.policy.state_dict()) for model in models]
    assert max(float((values - states[1][name]).abs().max()) for name, values in states[0].items()) < 1e-9


def in_double(samples):
    return type(samples)(*(None if part is None else part.double() for part in samples))
