"""Task gates where neurons run short, and what is refused."""

import warnings
from dataclasses import replace

import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTORS, ToyEnv, same, toy_sequence
from helpers.gated import STEPS, difference, gated_env, made, observations, on, outputs, owners, quiet
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from torch import nn

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPSAC
from sb3_nbsp.neurons.networks import find_networks
from sb3_nbsp.protection.gates import TaskGates
from sb3_nbsp.tasks import TaskSequenceEnv

pytestmark = quiet


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


def take_all_but(model, n_free: int) -> None:
    """Give task 0 all neurons of the last layers but for a few."""
    for network in model.gates.networks:
        owner = model.gates.owner(network.layers[-1])
        owner[(owner == -1).nonzero()[n_free:, 0]] = 0


@pytest.mark.parametrize("n_free", [0, 1])
@pytest.mark.parametrize("constant", [False, True])
def test_a_task_for_which_there_is_no_room_is_told_of_when_it_begins_and_when_it_ends(n_free, constant):
    """Also where nothing can be said of its scores, as the networks' outputs are constant without a free neuron."""
    model = on(made(), STEPS)
    take_all_but(model, n_free)
    assert not model.gates.has_room(1) and model.gates.has_room(0)
    with pytest.warns(UserWarning, match="will be trained in vain"):
        model.begin_task("west")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trained in vain")
        model.begin_task("east")  # it has neurons of its own
    skill = model.skill_neurons["east"]
    with pytest.warns(UserWarning, match="gets no neurons"):
        chosen = model.gates.choose(replace(skill.with_chosen({}) if constant else skill, task="west"), 1, 0.2)
    assert not chosen.has_chosen


def test_where_there_is_room_nothing_is_told():
    model = on(made(), STEPS)
    take_all_but(model, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trained in vain")
        model.begin_task("west")
    silent = model.skill_neurons["east"].with_chosen({})
    assert model.gates.has_room(1) and model.gates.choose(silent, 1, 0.2) is silent


def test_gates_without_skill_neurons_are_told_of():
    with pytest.warns(UserWarning, match="task_gates=True with skill_fraction=0"):
        made(skill_fraction=0)


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
