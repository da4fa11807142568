"""Task gates: what a task's skill neurons do cannot change while other tasks are learned."""

import copy
import json
import zipfile
from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.policies as sb3_policies
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTORS, ToyEnv, same, toy_sequence
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from torch import nn

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.continual_algorithm import SCORING_SEED
from sb3_nbsp.neurons.networks import find_networks
from sb3_nbsp.neurons.skill_neurons import LayerSkill, SkillNeurons
from sb3_nbsp.protection import gates as gates_module
from sb3_nbsp.protection.folding import RIDGE, fold
from sb3_nbsp.protection.gates import TaskGates
from sb3_nbsp.protection.ownership import CLOSED, FREE
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv

STEPS, HORIZON = 40, 10
THREE = ("east", "west", "north")
PARENTS = {NBSPSAC: SAC, NBSPTQC: TQC, NBSPDQN: DQN, NBSPQRDQN: QRDQN, NBSPPPO: PPO}
CLASSES = [pytest.param(cls, id=cls.__name__) for cls in PARENTS]
LEARNING_RATE = 1e-2  # large: within a few steps everything that can change does

pytestmark = pytest.mark.filterwarnings(
    r"ignore:The goal metric q\(t\)",
    "ignore:A task has",
    "ignore:.*of its neurons free",
    "ignore:.*gets no neurons",
    "ignore:The current task's transitions so far",
)


# Models, and what they answer


def gated_env(cls=NBSPSAC, tasks=THREE, steps=STEPS, cycles=1, n_envs=1, **kwargs):
    arguments = {"tasks": tasks, "steps_per_task": steps, "cycles": cycles, "horizon": HORIZON, "n_envs": n_envs}
    discrete = "DQN" in cls.__name__
    return make_vec_env("sb3_nbsp/PointGoal-v0", n_envs, env_kwargs={"discrete": discrete, **arguments, **kwargs})


def settings(cls, net_arch=(16, 16), policy_kwargs=None, **kwargs):
    net = {"net_arch": list(net_arch) if isinstance(net_arch, tuple) else net_arch, "activation_fn": nn.ReLU}
    common = {"seed": 1, "learning_rate": LEARNING_RATE, "policy_kwargs": {**net, **(policy_kwargs or {})}}
    if issubclass(cls, PPO):
        common |= {"n_steps": 20, "batch_size": 10, "n_epochs": 2}
    else:
        common |= {"learning_starts": 10, "batch_size": 16, "buffer_size": 500}
    if issubclass(cls, DQN | QRDQN):
        common |= {"train_freq": 1, "target_update_interval": 20}
    if issubclass(cls, TQC | QRDQN):
        common["policy_kwargs"] |= {"n_quantiles": 5}
    if issubclass(cls, TQC):  # slow
        common |= {"train_freq": 2}
    return {**common, **kwargs}


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


# What folding computes


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


def test_folding_one_step_gives_the_mean():
    correction, constant = folded([[1.0, 2.0]], [[3.0, 4.0, 5.0]], np.ones((2, 3)))
    assert not correction.any() and constant.tolist() == [-11, -10]


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


def test_other_chosen_neurons():
    layer = LayerSkill("net", [0.5, 0.6, 0.7], [1.0, 0.0, 1.0], [2])
    skill = SkillNeurons("A", "published", "return", 0.5, 9, {"one": layer, "two": layer})
    other = skill.with_chosen({"one": th.tensor([True, True, False])})
    assert other.layers == {"one": replace(layer, chosen=[0, 1]), "two": replace(layer, chosen=[])}
    assert replace(other, layers=skill.layers) == skill and skill.layers["one"].chosen == [2]
    assert SkillNeurons.from_dict(json.loads(json.dumps(other.to_dict()))) == other


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


# Folding and renewing


def scored(model):
    """The observations and actions that consolidation will score."""
    seed = SCORING_SEED + model.seed
    with isolated_rng(seed):
        rollout = model._scoring_rollout(None, "east", seed)
    return th.tensor(rollout.observations), th.tensor(rollout.actions)


@pytest.mark.parametrize("cls", CLASSES)
def test_folding_keeps_what_the_network_does(cls, monkeypatch):
    changes = {}
    for how in ("folded", "left"):
        with monkeypatch.context() as patch:
            if how == "left":
                patch.setattr(gates_module, "fold", lambda z, h, w: (th.zeros_like(w), th.zeros(len(w)).to(w)))
            model = on(made(cls, gated_env(cls, steps=1000)), 100)
            seen = scored(model)
            before = outputs(model, *seen)
            model.consolidate(task="east")
            after = outputs(model, *seen)
            changes[how] = {name: float((after[name] - before[name]).square().mean()) for name in before}
    assert all(changes["folded"][name] < 0.5 * changes["left"][name] for name in changes["left"])


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("net_arch", [(16,), (16, 16, 16)])
def test_with_all_active_neurons_nothing_changes(cls, net_arch):
    model = on(made(cls, gated_env(cls, steps=1000), net_arch=net_arch, skill_fraction=1.0, learning_rate=1e-3), 40)
    with th.no_grad():
        for layer in model.gates.layers:
            layer.own[0][3], layer.own[1][3] = 0.0, -1.0  # silent: it, or another one that is, becomes the gate
    seen = scored(model)
    before = outputs(model, *seen)
    model.consolidate(task="east")
    assert all(owner[3] < 0 for owner in owners(model).values())
    for name, values in outputs(model, *seen).items():
        th.testing.assert_close(values, before[name], rtol=1e-4, atol=1e-5)


def test_what_is_free_starts_anew():
    model = on(made(env=gated_env(steps=1000)), 100)
    layers = {layer.name: layer for layer in model.gates.layers}
    before = {name: layer.own[0].detach().clone() for name, layer in layers.items()}
    model.consolidate(task="east")
    for name, owner in owners(model).items():
        free = owner == FREE
        assert free.sum() == 16 - 3 - 1
        weight = layers[name].own[0].detach()
        assert not (weight[free] == before[name][free]).any()
        opened = weight[free][weight[free] > -CLOSED]
        assert opened.abs().max() <= 1 and opened.std() > 0.05
    last = [network.layers[-1] for network in model.gates.networks]
    assert not any(reader.parameter[:, owners(model)[layer.name] == FREE].any() for layer in last for reader in layer.readers)
    assert difference(outputs(model, observations("west")), outputs(model, observations("north"))) == 0.0  # both unknown
    assert all(not optimizer.state for optimizer in (model.actor.optimizer, model.critic.optimizer))
    assert same(dict(model.critic.state_dict()), dict(model.critic_target.state_dict()))


def test_consolidation_leaves_the_random_state_alone():
    model = on(made(env=gated_env(steps=1000)), 30)
    states = th.get_rng_state(), np.random.get_state()[1].copy()
    model.consolidate(task="east")
    assert th.equal(th.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])


# A task that comes again


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("memory_size", [0, 40])
def test_a_task_that_comes_again_learns_beside_the_others(cls, memory_size):
    env = gated_env(cls, tasks=("east", "west"), cycles=2)
    two = ("east", "west")
    model = on(made(cls, env, memory_size=memory_size, learning_rate=1e-3), 2 * STEPS)
    seen = {task: observations(task, tasks=two) for task in two}
    before = {task: outputs(model, seen[task]) for task in two}
    owner = owners(model)
    weights = {layer.name: [p.detach().clone() for p in layer.own] for layer in model.gates.layers}
    on(model, STEPS)
    assert model.learned_tasks == ["east", "west"]
    assert difference(before["west"], outputs(model, seen["west"])) == 0.0
    assert difference(before["east"], outputs(model, seen["east"])) > 1e-3
    for layer in model.gates.layers:
        then, now = owner[layer.name], model.gates.owner(layer)
        others = (then > 0) | (then < FREE)
        assert th.equal(now[others], then[others]) and int((now == 0).sum()) == int((then == 0).sum())
        assert th.equal(layer.own[1][others], weights[layer.name][1][others])
    again = outputs(model, seen["east"])
    on(model, STEPS)  # west again
    assert difference(again, outputs(model, seen["east"])) == 0.0
    assert difference(before["west"], outputs(model, seen["west"])) > 1e-3


@pytest.mark.parametrize("cls", CLASSES)
def test_a_task_that_comes_again_may_use_free_neurons(cls):
    env = gated_env(cls, tasks=("east", "west"), cycles=2)
    model = on(made(cls, env, learning_rate=1e-3), 2 * STEPS + 5)  # at east again
    free = {name: owner == FREE for name, owner in owners(model).items()}
    active = {task: activations(model, observations(task, tasks=("east", "west"))) for task in ("east", "west")}
    for name, neurons in free.items():
        assert active["east"][name][:, neurons].any() and not active["west"][name][:, neurons].any()
    west = outputs(model, observations("west", tasks=("east", "west")))
    model.begin_task("west")  # east is left before its end: the free neurons are closed on it again
    assert not any(activations(model, observations("east", tasks=("east", "west")))[n][:, free[n]].any() for n in free)
    assert any(activations(model, observations("west", tasks=("east", "west")))[n][:, free[n]].any() for n in free)
    assert difference(west, outputs(model, observations("west", tasks=("east", "west")))) == 0.0  # nothing reads them yet


@pytest.mark.parametrize("optimizer", [None, (th.optim.AdamW, {"weight_decay": 1.0})])
def test_a_task_that_comes_again_opens_no_neuron(optimizer):
    policy_kwargs = {} if optimizer is None else dict(zip(("optimizer_class", "optimizer_kwargs"), optimizer, strict=True))
    model = on(made(env=gated_env(tasks=("east", "west"), cycles=2), policy_kwargs=policy_kwargs), 4 * STEPS)
    for index, task in enumerate(("east", "west")):
        for name, values in activations(model, observations(task, tasks=("east", "west"))).items():
            owner = owners(model)[name]
            assert not values[:, (owner == 1 - index) | (owner == FREE)].any()
            assert bool((values[:, owner == -2 - index] == 1).all()) and not values[:, owner == -3 + index].any()


def test_the_same_task_twice_in_a_row_by_hand():
    model = on(made(env=gated_env(steps=1000)), STEPS)
    first = model.consolidate(task="east")
    before, owner = outputs(model, observations("east")), owners(model)
    on(model, STEPS)
    second = model.consolidate(task="east")
    assert model.learned_tasks == ["east"]
    assert all(th.equal(now == -2, owner[name] == -2) for name, now in owners(model).items())  # its gates
    assert [len(layer.chosen) for layer in first.layers.values()] == [len(layer.chosen) for layer in second.layers.values()]
    assert difference(before, outputs(model, observations("east"))) > 1e-3


def test_a_task_that_is_left_unfinished_is_held_again():
    model = on(made(reset_replay_buffer=False), STEPS + 30)
    model.consolidate(task="west")
    before = []
    for task in ("east", "north"):
        model.begin_task(task)
        before.append(outputs(model, observations("east")))
        model.train(10, 16)
    assert difference(*before) > 1e-3
    assert difference(before[1], outputs(model, observations("east"))) == 0.0  # in spite of Adam's momentum


# Files and copies


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_saved_within_a_task_goes_on(cls, tmp_path):
    model = on(made(cls, memory_size=40), STEPS)
    before, owner = outputs(model, observations("east")), owners(model)
    on(model, STEPS // 2).save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=gated_env(cls))
    assert loaded.task_gates and same(owners(loaded), owner)
    assert difference(before, outputs(loaded, observations("east"))) == 0.0
    middle = outputs(loaded, observations("west"))
    on(loaded, STEPS)
    assert loaded.learned_tasks == ["east", "west"] and loaded.gates.owns(1)
    assert difference(before, outputs(loaded, observations("east"))) == 0.0
    assert difference(middle, outputs(loaded, observations("west"))) > 1e-3


def test_a_model_saved_while_it_relearns_a_task(tmp_path):
    two = ("east", "west")
    model = on(made(env=gated_env(tasks=two, cycles=2)), 2 * STEPS + 20)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=gated_env(tasks=two, cycles=2))
    before = {task: outputs(loaded, observations(task, tasks=two)) for task in two}
    on(loaded, 20)
    assert difference(before["west"], outputs(loaded, observations("west", tasks=two))) == 0.0
    assert difference(before["east"], outputs(loaded, observations("east", tasks=two))) > 0


@pytest.mark.parametrize("cls", CLASSES)
def test_a_file_from_before_the_first_consolidation_has_the_parents_form(cls, tmp_path):
    made(cls).save(tmp_path / "gated")
    made(cls, task_gates=False).save(tmp_path / "plain")
    names = [set(zipfile.ZipFile(tmp_path / f"{name}.zip").namelist()) for name in ("gated", "plain")]
    assert names[0] == names[1]
    loaded = on(cls.load(tmp_path / "gated", env=gated_env(cls)), STEPS)
    assert loaded.gates.owns(0)


def test_a_file_from_before_there_were_gates(tmp_path):
    on(made(task_gates=False), STEPS).save(tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "new.zip") as new, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "data":
                data = json.loads(content)
                del data["task_gates"]
                content = json.dumps(data).encode()
            old.writestr(name, content)
    loaded = NBSPSAC.load(tmp_path / "old", env=gated_env())
    assert not loaded.task_gates and loaded.gates is None
    assert on(loaded, STEPS).learned_tasks == ["east", "west"]


def test_a_file_without_gates_is_not_loaded_with_them(tmp_path):
    on(made(task_gates=False), STEPS).save(tmp_path / "model")
    with pytest.raises(ValueError, match="task_gates"):
        NBSPSAC.load(tmp_path / "model", env=gated_env(), task_gates=True)


def test_parameters_go_from_model_to_model():
    model = on(made(), STEPS)
    before, earlier = outputs(model, observations("east")), made().get_parameters()
    other = made()
    other.set_parameters(copy.deepcopy(model.get_parameters()))
    assert same(owners(other), owners(model)) and difference(before, outputs(other, observations("east"))) == 0.0
    model.set_parameters(earlier)
    assert not model.gates.owns(0) and model.gates.free_share() == 1 and model.learned_tasks == []
    assert not model.actor.optimizer.is_masking


def test_gated_parameters_in_a_model_without_gates():
    parameters = on(made(), STEPS).get_parameters()
    with pytest.raises(TypeError, match="task_gates"):
        made(task_gates=False).set_parameters(parameters)


def test_a_copy_stands_for_itself():
    model = on(made(), STEPS)
    before = outputs(model, observations("east"))
    other = copy.deepcopy(model)
    on(other, STEPS)
    assert other.gates.owns(1) and not model.gates.owns(1)
    for one in (model, other):
        assert difference(before, outputs(one, observations("east"))) == 0.0


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_of_the_parent_is_taken_over(cls):
    parent = PARENTS[cls]
    plain = parent("MlpPolicy", gated_env(cls), **settings(parent)).learn(STEPS // 2)
    model = cls.from_sb3(plain, task_gates=True, memory_size=0, scoring_steps=60)
    before = outputs(on(model, STEPS // 2), observations("east"))
    assert model.learned_tasks == ["east"] and model.gates.owns(0)
    assert difference(before, outputs(on(model, STEPS), observations("east"))) == 0.0


# Too few neurons


def test_many_tasks_in_few_neurons():
    tasks = tuple(f"task-{i}" for i in range(6))
    sequence = replace(toy_sequence(spaces.Box(-1, 1, (4,)), 30), task_id=True)
    sequence = replace(sequence, tasks=tuple(replace(sequence.tasks[0], name=name) for name in tasks))
    env = DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))])
    model = made(env=env, net_arch=(8, 8), skill_fraction=0.25)
    before = {}
    with pytest.warns(UserWarning, match=r"task-2 a layer has only 0% of its neurons free|gets no neurons"):
        for task in tasks:
            on(model, 30)
            before[task] = outputs(model, observations(task, tasks=tasks))
    assert model.learned_tasks == list(tasks)
    held = [task for i, task in enumerate(tasks) if model.gates.owns(i)]
    assert held == list(tasks[: len(held)]) and 2 <= len(held) < 6
    assert model.neuron_masks.n_held == len(held)
    for task in held:
        assert difference(before[task], outputs(model, observations(task, tasks=tasks))) == 0.0
    assert all(values.isfinite().all() for values in outputs(model, observations("task-5", tasks=tasks)).values())


def test_a_sequence_of_one_task():
    model = on(made(env=gated_env(tasks=("east",), cycles=2)), 2 * STEPS)
    assert model.learned_tasks == ["east"] and model.gates.owns(0)


def test_a_small_fraction_keeps_a_neuron_of_every_layer():
    model = on(made(net_arch=(4, 32), skill_fraction=0.1), STEPS)
    assert all((owner == 0).any() for owner in owners(model).values())


def test_a_task_that_says_nothing_holds_nothing():
    sequence = replace(toy_sequence(spaces.Box(-1, 1, (4,)), STEPS, constant=True, tells_success=False), task_id=True)
    env = DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))])
    with pytest.warns(UserWarning, match="no neuron is held"):
        model = on(made(env=env), STEPS)
    assert model.learned_tasks == ["a"] and not model.gates.owns(0) and model.neuron_masks.n_held == 0
    on(model, STEPS)


def test_silent_layers():
    model = made(env=gated_env(steps=1000))
    with th.no_grad():
        for layer in model.gates.layers:
            layer.own[0].zero_()
            layer.own[1].fill_(-1.0)
    before = outputs(model, observations("east"))
    model.consolidate(task="east")
    assert difference(before, outputs(model, observations("east"))) < 1e-6
    assert on(model, STEPS).num_timesteps == STEPS


# What is refused, and when


class Extractor(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, 5)
        self.net = nn.Linear(space.shape[0], 5)

    def forward(self, observation):
        return self.net(observation)


def toy_env(space=VECTORS["one"]):
    return DummyVecEnv([lambda: Monitor(ToyEnv(space))])


REFUSED_MODELS = {
    "tanh": (NBSPPPO, {"policy_kwargs": {"activation_fn": nn.Tanh}}, "ReLU"),
    "leaky": (NBSPSAC, {"policy_kwargs": {"activation_fn": nn.LeakyReLU}}, "LeakyReLU"),
    "sde": (NBSPSAC, {"use_sde": True}, "gSDE"),
    "ppo-sde": (NBSPPPO, {"use_sde": True}, "gSDE"),
    "extractor": (NBSPSAC, {"policy_kwargs": {"features_extractor_class": Extractor}}, "Extractor"),
    "linear": (NBSPSAC, {"net_arch": ()}, "hidden layer"),
    "linear-policy": (NBSPPPO, {"net_arch": {"pi": [], "vf": [16]}}, "hidden layer"),
    "no-actor": (NBSPDQN, {"mask_networks": "actor"}, "hidden layer"),
}


@pytest.mark.filterwarnings("ignore:The structure of the features extractor")
@pytest.mark.parametrize("case", REFUSED_MODELS)
def test_networks_that_cannot_be_gated_are_refused_at_once(case):
    cls, kwargs, message = REFUSED_MODELS[case]
    with pytest.raises(ValueError, match=message):
        made(cls, **kwargs)


@pytest.mark.parametrize(("policy", "space"), [("CnnPolicy", CHANNEL_FIRST_IMAGE), ("MultiInputPolicy", VECTORS)])
def test_policies_that_cannot_be_gated_are_refused_at_once(policy, space):
    for cls in (NBSPSAC, NBSPPPO):
        with pytest.raises(ValueError, match="MlpPolicy"):
            made(cls, toy_env(space), policy=policy, net_arch=(16,))


def test_normalisation_layers_are_refused():
    model = made()
    model.actor.latent_pi.insert(1, nn.LayerNorm(16))
    with pytest.raises(ValueError, match="normalisation"):
        TaskGates(find_networks(model.policy))


REFUSED_ENVS = {
    "one-task": (lambda: toy_env(), "task sequence"),
    "no-id": (lambda: gated_env(task_id=False), "task_id=True"),
    "normalised": (lambda: VecNormalize(gated_env()), "norm_obs=False"),
    "stacked": (lambda: VecFrameStack(gated_env(), 2), "stacked"),
}


@pytest.mark.parametrize("case", REFUSED_ENVS)
def test_envs_that_cannot_be_gated_are_refused_before_the_first_step(case):
    make_env, message = REFUSED_ENVS[case]
    with pytest.raises(ValueError, match=message):
        made(env=make_env()).learn(STEPS)
    with pytest.raises(ValueError, match=message):
        made(env=make_env()).consolidate(task="east")


def test_normalised_rewards_are_no_obstacle():
    model = on(made(env=VecNormalize(gated_env(), norm_obs=False)), STEPS)
    before = outputs(model, observations("east"))
    assert difference(before, outputs(on(model, STEPS), observations("east"))) == 0.0


def test_consolidating_without_the_sequence_or_by_an_unknown_name(tmp_path):
    model = made()
    with pytest.raises(ValueError, match="'up'"):
        model.consolidate(model.env.get_attr("task_sequence", 0)[0].make_task_env("east"), "up")
    assert model.learned_tasks == [] and model.gates.free_share() == 1
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model")
    with pytest.raises(ValueError, match="task sequence"):
        loaded.consolidate(model.env.get_attr("task_sequence", 0)[0].make_task_env("east"), "east")


def test_a_sequence_with_other_ids_is_refused(tmp_path):
    on(made(), STEPS).save(tmp_path / "model")
    with pytest.raises(ValueError, match="east"):
        on(NBSPSAC.load(tmp_path / "model", env=gated_env(tasks=("west", "east", "north"))), STEPS)


@pytest.mark.parametrize("part", ["actor", "critic"])
@pytest.mark.parametrize("cls", [NBSPSAC, NBSPPPO])
def test_only_one_part_is_gated(cls, part):
    model = on(made(cls, mask_networks=part), STEPS)
    held = {"actor": {"mean", "log_std", "policy"}, "critic": {"critic", "value"}}[part]
    before = outputs(model, observations("east"))
    after = outputs(on(model, STEPS), observations("east"))
    for name in before:
        assert same(before[name], after[name]) == (name in held)


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
    model = on(made(fast_update=False, memory_size=memory_size, learning_rate=1e-3), STEPS + 30)
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
