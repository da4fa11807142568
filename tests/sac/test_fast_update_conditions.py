"""When the fast update steps aside, and what it says then."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTOR, VECTORS, ToyEnv
from helpers.fast_updates import NET, ROUNDING, difference, made, trained
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import CReLU
from sb3_nbsp.sac.fast_update_conditions import find_obstacle

pytestmark = pytest.mark.usefixtures("double_observations")


class OwnForward(Actor):
    def forward(self, obs, deterministic=False):
        return super().forward(obs, deterministic)


class OwnActorPolicy(SACPolicy):
    def make_actor(self, features_extractor=None):
        return OwnForward(**self._update_features_extractor(self.actor_kwargs, features_extractor)).to(self.device)


class OwnPredict(SACPolicy):
    def _predict(self, observation, deterministic=False):
        return super()._predict(observation, deterministic)


class Doubling(FlattenExtractor):
    def forward(self, observations):
        return 2 * super().forward(observations)


STANDARD = {
    SACPolicy: lambda model: model.policy,
    Actor: lambda model: model.actor,
    ContinuousCritic: lambda model: model.critic_target,
    SquashedDiagGaussianDistribution: lambda model: model.actor.action_dist,
}
# Methods that acting and gradient steps run through: of these one at least must not go unseen.
USED = {
    SACPolicy: ["forward", "predict", "_predict", "obs_to_tensor", "unscale_action", "extract_features", "set_training_mode"],
    Actor: ["__call__", "forward", "action_log_prob", "get_action_dist_params", "extract_features", "_predict"],
    ContinuousCritic: ["__call__", "forward", "extract_features"],
    SquashedDiagGaussianDistribution: [
        "actions_from_params", "log_prob_from_params", "proba_distribution", "log_prob", "sample", "mode", "get_actions"
    ],
}  # fmt: skip


@pytest.mark.parametrize(("standard", "name"), [(standard, name) for standard in USED for name in USED[standard]])
def test_a_method_of_ones_own_is_an_obstacle_and_is_named(standard, name):
    model = made(double=False)
    thing = STANDARD[standard](model)
    own = getattr(type(thing), name)
    thing.__class__ = type("Own", (type(thing),), {name: lambda self, *args, **kwargs: own(self, *args, **kwargs)})
    assert find_obstacle(model) == f"Own has a {name}() of its own"


def test_what_only_builds_is_none():
    model = made(double=False)
    model.policy.__class__ = type("Own", (type(model.policy),), {"make_actor": lambda self: None, "more": lambda self: 1})
    assert find_obstacle(model) is None


def net(**policy_kwargs):
    return {"policy_kwargs": {**NET, **policy_kwargs}}


REFUSED = {
    "gsde": ({"use_sde": True}, "gSDE is used"),
    "dict": ({"policy": "MultiInputPolicy", "space": VECTORS}, "the observation space is Dict, not Box"),
    "discrete": ({"space": spaces.Discrete(4)}, "the observation space is Discrete"),
    "images": ({"space": CHANNEL_FIRST_IMAGE}, "the observations are images"),
    "tanh": (net(activation_fn=nn.Tanh), "an activation of the actor is Tanh, none of ReLU, LeakyReLU"),
    "linear actor": (net(net_arch={"pi": [], "qf": [8]}), "the actor has no hidden layer"),
    "linear critic": (net(net_arch={"pi": [8], "qf": []}), "the critic has no hidden layer"),
    "extractor": (net(features_extractor_class=Doubling), "the features extractor of the actor is Doubling"),
    "own forward": ({"policy": OwnActorPolicy}, r"OwnForward has a forward\(\) of its own"),
    "own policy": ({"policy": OwnPredict}, r"OwnPredict has a _predict\(\) of its own"),
}


def test_half_of_an_odd_layer_is_none():
    """Without this its own message, when it first acts, would come from elsewhere."""
    with pytest.raises(ValueError, match="a layer of the critic has an odd size, of which CReLU takes no half"):
        made(fast_update=True, skill_fraction=0.0, **net(net_arch={"pi": [8], "qf": [8, 7]}, activation_fn=CReLU))


def refused(policy="MlpPolicy", space=VECTOR, **settings):
    return NBSPSAC(policy, ToyEnv(space), **{"policy_kwargs": NET, "learning_starts": 20, "buffer_size": 500, **settings})


@pytest.mark.parametrize("name", REFUSED)
def test_it_steps_aside(name):
    settings, reason = REFUSED[name]
    with pytest.raises(ValueError, match=f"fast_update=True is not possible with this model: .*{reason}"):
        refused(fast_update=True, **settings)
    model = refused(**settings, seed=0)
    model.learn(25)
    assert model.update_path == "autograd" and model.update_obstacle.startswith(reason.replace("\\", "")[:20])


def grow_hook(model):
    return model.critic.qf1[1].register_forward_hook(lambda *args: None).remove


def grow_parameter_hook(model):
    return model.actor.mu.weight.register_hook(lambda gradient: 2 * gradient).remove


def grow_forward(model):
    model.actor.latent_pi[0].forward = lambda x: nn.Linear.forward(model.actor.latent_pi[0], x)
    return lambda: delattr(model.actor.latent_pi[0], "forward")


def grow_method(model):
    model.actor.action_log_prob = lambda obs: Actor.action_log_prob(model.actor, obs)
    return lambda: delattr(model.actor, "action_log_prob")


def freeze(model):
    model.actor.mu.bias.requires_grad_(False)
    return lambda: model.actor.mu.bias.requires_grad_(True)


def exchange_activation(model):
    model.critic.qf0[1] = nn.Tanh()
    return lambda: setattr(model.critic.qf0, "1", nn.ReLU())


def mix_activations(model):
    model.critic.qf0[1] = nn.LeakyReLU(0.2)
    return lambda: setattr(model.critic.qf0, "1", nn.ReLU())


def turn_activations(model):
    for place in ("1", "3"):
        setattr(model.actor.latent_pi, place, nn.LeakyReLU(-1.0))
    return lambda: [setattr(model.actor.latent_pi, place, nn.ReLU()) for place in ("1", "3")]


def hook_on_all(model):
    return nn.modules.module.register_module_forward_hook(lambda *args: None).remove


LATER = {
    grow_hook: "a hook is registered on a module of the critic",
    grow_parameter_hook: "a hook is registered on a parameter of the actor",
    grow_forward: "a module of the actor has a forward() of its own",
    grow_method: "Actor has a action_log_prob() of its own",
    freeze: "parameters of the actor have requires_grad=False",
    exchange_activation: "an activation of the critic is Tanh, none of ReLU, LeakyReLU",
    mix_activations: "activations of the critic differ: LeakyReLU(negative_slope=0.2), ReLU()",
    turn_activations: "an activation of the actor has a negative slope below 0",
    hook_on_all: "a hook is registered on all modules",
}


@pytest.mark.parametrize("change", LATER, ids=lambda change: change.__name__)
def test_it_steps_aside_for_as_long_as_it_must(change):
    models = [trained(made(fast_update=how), 5) for how in (False, "auto")]
    undo = [change(model) for model in models]
    for model in models:
        trained(model, 20)
    assert models[1].update_path == "autograd" and models[1].update_obstacle.startswith(LATER[change])
    for undone, model in zip(undo, models, strict=True):
        undone()
        if change is freeze:  # a parameter that rested for a while has made fewer steps
            return
        trained(model, 5)
    assert models[1].update_path == "fast" and difference(*models) < ROUNDING


def test_what_cannot_be_had_later_is_told():
    model = trained(made(fast_update=True), 5)
    model.actor.mu.register_forward_hook(lambda *args: None)
    with pytest.raises(ValueError, match="a hook is registered on a module of the actor"):
        trained(model, 5)


def test_shared_memory_and_mixed_types():
    model = made(double=False)
    assert find_obstacle(model) is None
    model.critic.double()
    assert find_obstacle(model).startswith("parameters are torch.float32 on cpu, torch.float64 on cpu")
    model.critic.float().share_memory()
    assert find_obstacle(model) == "parameters lie in memory that is shared between processes"


def test_tied_parameters():
    model = made(double=False)
    model.critic.qf1[0].weight = model.critic.qf0[0].weight
    model.critic.optimizer = th.optim.Adam(model.critic.parameters(), lr=3e-4)
    assert find_obstacle(model) == "parameters are shared between layers, or belong to none"


def test_the_path_is_told_once(capsys):
    for how, text in (("auto", "without autograd"), (False, "by SB3's own train()")):
        NBSPSAC("MlpPolicy", ToyEnv(VECTOR), policy_kwargs=NET, verbose=1, learning_starts=10, fast_update=how).learn(20)
        assert capsys.readouterr().out.count(f"Gradient steps are computed {text}") == 1
    refused(verbose=1, use_sde=True).learn(25)
    assert "Gradient steps are computed with autograd, since gSDE is used." in capsys.readouterr().out


def test_unknown_value():
    with pytest.raises(ValueError, match="fast_update must be one of auto, True, False; got 'fast'"):
        made(fast_update="fast")


def test_not_a_number_is_told():
    model = trained(made(fast_update=True), 2)
    model.replay_buffer.rewards[:] = np.nan
    with pytest.raises(ValueError, match=r"train/actor_loss is nan|parameter policy.* is not finite"):
        trained(model, 3)
