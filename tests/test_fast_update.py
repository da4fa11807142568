"""
The gradient step without autograd against SB3's own.

Compared in float64: there, 100 updates of the same mathematics differ by rounding (1e-14), and anything else shows.
"""

import copy
import io
import pickle

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.policies as sb3_policies
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTOR, VECTORS, ToyEnv, copied, same
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.sac import flat_parameters as flat
from sb3_nbsp.sac.fast_update_conditions import find_obstacle

ROUNDING = 1e-12
NET = {"net_arch": [32, 32]}


@pytest.fixture(autouse=True)
def double_observations(monkeypatch):
    """SB3 turns every observation into float32; here, float64 ones stay."""
    preprocess = sb3_policies.preprocess_obs

    def preprocess_obs(obs, *args, **kwargs):
        if isinstance(obs, th.Tensor) and obs.dtype == th.float64:
            return obs
        return preprocess(obs, *args, **kwargs)

    monkeypatch.setattr(sb3_policies, "preprocess_obs", preprocess_obs)


def filled(env: gym.Env, model: SAC, n: int = 300) -> None:
    """Random transitions; rewards, ends and time limits among them."""
    rng = np.random.default_rng(0)
    model.replay_buffer.reset()
    for _ in range(n // model.n_envs):
        observations, new = rng.normal(size=(2, model.n_envs, *env.observation_space.shape)).astype(np.float32)
        actions = rng.uniform(-1, 1, (model.n_envs, 2)).astype(np.float32)
        rewards, dones = rng.normal(size=model.n_envs), rng.random(model.n_envs) < 0.1
        infos = [{"TimeLimit.truncated": bool(rng.random() < 0.5)} for _ in range(model.n_envs)]
        model.replay_buffer.add(observations, new, actions, rewards, dones, infos)


def made(cls=NBSPSAC, double: bool = True, wrap=None, space: spaces.Space = VECTOR, policy="MlpPolicy", **kwargs) -> SAC:
    env = ToyEnv(space)
    settings = {"seed": 0, "buffer_size": 1000, "policy_kwargs": copy.deepcopy(NET), **kwargs}
    model = cls(policy, env if wrap is None else wrap(DummyVecEnv([lambda: env])), **settings)
    model.set_logger(Logger(None, []))
    filled(env, model)
    if double:
        model.policy.double()
        if model.log_ent_coef is not None:
            model.log_ent_coef.data = model.log_ent_coef.data.double()
        sample = model.replay_buffer.sample
        model.replay_buffer.sample = lambda *args, **kwargs: in_double(sample(*args, **kwargs))
    return model


def in_double(samples):
    return type(samples)(*(None if part is None else part.double() for part in samples))


def trained(model: SAC, n: int = 100, batch_size: int = 64, seed: int = 3) -> SAC:
    """Updates on batches and noise that depend on the seed only."""
    np.random.seed(seed), th.manual_seed(seed)
    model.train(n, batch_size)
    return model


def state(model: SAC) -> dict[str, th.Tensor]:
    """All that learning changes, by name."""
    tensors = {f"policy.{name}": tensor for name, tensor in model.policy.state_dict().items()}
    optimizers = {"actor": model.actor.optimizer, "critic": model.critic.optimizer, "alpha": model.ent_coef_optimizer}
    for name, optimizer in optimizers.items():
        for i, entries in (optimizer.state_dict()["state"] if optimizer is not None else {}).items():
            tensors |= {f"{name}.{i}.{entry}": tensor for entry, tensor in entries.items()}
    return copied(tensors | ({} if model.log_ent_coef is None else {"log_ent_coef": model.log_ent_coef}))


def difference(one: SAC, other: SAC) -> float:
    """The largest one between two models, moments of Adam included."""
    a, b = state(one), state(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


# The same mathematics

CASES = {
    "256": {"policy_kwargs": {"net_arch": [256, 256]}},
    "400": {"policy_kwargs": {"net_arch": [400, 400]}},
    "64": {"policy_kwargs": {"net_arch": [64]}},
    "different-nets": {"policy_kwargs": {"net_arch": {"pi": [16], "qf": [24, 8, 16]}}},
    "one-critic": {"policy_kwargs": {"n_critics": 1, **NET}},
    "three-critics": {"policy_kwargs": {"n_critics": 3, **NET}},
    "fixed-ent-coef": {"ent_coef": 0.2},
    "initial-ent-coef": {"ent_coef": "auto_0.1", "target_entropy": -1.5},
    "n-steps": {"n_steps": 3},
    "normalized": {"wrap": lambda env: VecNormalize(env)},
    "four-envs": {"wrap": lambda env: DummyVecEnv([lambda: ToyEnv(VECTOR)] * 4)},
    "target-interval": {"target_update_interval": 3, "tau": 1.0},
    "matrix-observations": {"space": spaces.Box(-1.0, 1.0, (2, 3))},
    "adam-options": {"policy_kwargs": {"optimizer_kwargs": {"betas": (0.8, 0.99), "eps": 1e-5}, **NET}},
    "shared-extractor": {"policy_kwargs": {"share_features_extractor": True, **NET}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_hundred_updates_are_sb3s(case):
    theirs, ours = trained(made(SAC, **CASES[case])), trained(made(fast_update=True, **CASES[case]))
    assert ours.update_path == "fast" and ours._n_updates == 100
    assert difference(theirs, ours) < ROUNDING
    logged = theirs.logger.name_to_value
    assert ours.logger.name_to_value == pytest.approx(logged, rel=1e-10, abs=1e-10) and len(logged) >= 5
    assert not same(copied(theirs.policy.state_dict()), copied(made(SAC, **CASES[case]).policy.state_dict()))


def test_as_many_random_numbers_are_drawn():
    states = []
    for model in (made(SAC), made(fast_update=True)):
        trained(model, 10)
        states.append((th.get_rng_state(), np.random.get_state()[1:3]))
    assert same(*states)


def test_one_update_per_call_and_schedules():
    kwargs = {"learning_rate": lambda progress: 1e-3 * progress}
    theirs, ours = made(SAC, **kwargs), made(fast_update=True, **kwargs)
    for i in range(40):
        for model in (theirs, ours):
            model._current_progress_remaining = 1 - i / 40
            trained(model, 1, batch_size=32 + i % 3, seed=i)  # batches of other sizes, too
    assert difference(theirs, ours) < ROUNDING
    assert ours.actor.optimizer.param_groups[0]["lr"] == theirs.actor.optimizer.param_groups[0]["lr"]


def test_clamped_standard_deviations_get_no_gradient():
    models = [made(SAC), made(fast_update=True)]
    for model in models:
        with th.no_grad():
            model.actor.log_std.bias.copy_(th.tensor([1.9, -3.0]))  # the first is above 2 for some observations
    theirs, ours = (trained(model, 30) for model in models)
    assert difference(theirs, ours) < 100 * ROUNDING  # tanh of wide noise is near 1, and rounding counts more in 1 - tanh^2
    inputs = theirs.replay_buffer.sample(200).observations
    log_std = theirs.actor.log_std(theirs.actor.latent_pi(inputs))[:, 0]
    assert 0.1 < float((log_std > 2).double().mean()) < 1


@pytest.mark.parametrize("change", [{"tau": 0.005 * 1.01}, {"learning_rate": 3e-4 * 1.001}, {"gamma": 0.99 * 0.999}])
def test_the_comparison_sees_small_changes(change):
    assert difference(trained(made(SAC)), trained(made(fast_update=True, **change))) > 1e6 * ROUNDING


def test_the_comparison_sees_a_missing_update():
    assert difference(trained(made(SAC)), trained(made(fast_update=True), 99)) > 1e6 * ROUNDING


def test_the_comparison_sees_swapped_noise(monkeypatch):
    theirs, ours, draw = trained(made(SAC)), made(fast_update=True), th.Tensor.normal_
    halves: list[th.Tensor] = []

    def draw_for_the_other_half(half):
        """What is drawn first goes to the next observations, what is drawn then to the observations."""
        halves.append(half)
        if len(halves) == 2:
            draw(halves[1]), draw(halves[0]), halves.clear()

    monkeypatch.setattr(th.Tensor, "normal_", draw_for_the_other_half)
    assert difference(theirs, trained(ours)) > 1e6 * ROUNDING


def test_without_the_fused_kernel(monkeypatch):
    monkeypatch.setattr(flat, "best_adam", lambda: flat.plain_adam)
    assert difference(trained(made(SAC)), trained(made(fast_update=True))) < ROUNDING


def test_learning_a_task_in_float32_stays_close():
    settings = {"learning_starts": 50, "seed": 1, "policy_kwargs": NET}
    theirs, ours = (cls("MlpPolicy", ToyEnv(VECTOR), **settings).learn(100) for cls in (SAC, NBSPSAC))
    assert ours.update_path == "fast" and difference(theirs, ours) < 1e-4


def test_two_threads():
    theirs, n = trained(made(SAC), 5), th.get_num_threads()
    try:
        th.set_num_threads(2)
        ours = trained(made(fast_update=True), 5)
    finally:
        th.set_num_threads(n)
    assert difference(theirs, ours) < ROUNDING


# Masks and memory


def held(model: NBSPSAC, factors: list[float]) -> NBSPSAC:
    """Hold neurons of every layer, the first ones by these factors."""
    layers = [layer for network in model.neuron_masks.networks for layer in network.layers]
    values = th.ones(layers[0].n_neurons)
    values[: len(factors)] = th.tensor(factors)
    model.neuron_masks.hold(0, {layer.name: values for layer in layers})
    model._apply_masks()
    return model


def held_entries(model: NBSPSAC) -> list[th.Tensor]:
    return [p.detach()[f == 0].clone() for p, f in model.neuron_masks.parameter_factors().items()]


masks = pytest.mark.parametrize("mask_target", ["update", "gradient"])
sides = pytest.mark.parametrize("mask_sides", ["incoming", "outgoing", "both"])


@masks
@sides
def test_masks_are_the_masked_optimizers(mask_target, mask_sides, monkeypatch):
    monkeypatch.setattr(flat, "PIECE", 1000)  # several pieces
    kwargs = {"mask_target": mask_target, "mask_sides": mask_sides, "mask_output_biases": True}
    slow, fast = (trained(made(fast_update=how, **kwargs), 20) for how in (False, True))
    for model in (slow, fast):
        trained(held(model, [0.0, 0.0, 0.3, 0.7]), 40)
    assert fast.update_path == "fast" and slow.update_path == "sb3" and difference(slow, fast) < ROUNDING
    for model in (slow, fast):
        trained(held(model, [1.0, 0.5]), 20)  # other masks
        model.neuron_masks.reset(), model._apply_masks()
        trained(model, 20)  # none
    assert difference(slow, fast) < ROUNDING


@masks
@sides
def test_what_is_held_does_not_move_at_all(mask_target, mask_sides):
    model = trained(made(double=False, fast_update=True, mask_target=mask_target, mask_sides=mask_sides), 50)
    held(model, [0.0] * 12 + [0.2])
    before, free = held_entries(model), state(model)
    trained(model, 200)
    assert same(held_entries(model), before) and sum(map(len, before)) > 0
    assert any(not same(values, free[name]) for name, values in state(model).items() if name.startswith("policy.actor"))


@pytest.mark.parametrize("replay", [{"replay_mode": "interval", "replay_interval": 3}, {"replay_mode": "share"}])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_old_tasks_are_rehearsed(replay, n_steps):
    models = [made(fast_update=how, n_steps=n_steps, reset_replay_buffer=False, **replay) for how in (False, True)]
    for model in models:
        np.random.seed(0)
        model.replay_buffer.remember(0)
        trained(held(model, [0.0, 0.3]), 40)
    assert len(models[1].replay_buffer.memory) == 300 and difference(*models) < ROUNDING
    without = trained(held(made(fast_update=True, n_steps=n_steps), [0.0, 0.3]), 40)
    assert difference(models[1], without) > 1e6 * ROUNDING


@masks
def test_held_for_so_long_that_momentum_is_gone(mask_target):
    """In gradient mode there is nothing left to undo then; what is freed again starts from there."""
    models = [trained(made(fast_update=how, mask_target=mask_target), 20) for how in (False, True)]
    for model in models:
        held(model, [0.0] * 8 + [0.3])
        for first, _ in moments(model):
            first.mul_(1e-306)
        trained(model, flat.FLUSH_INTERVAL)
    assert models[1]._fast.actor_adam._scales_change == (mask_target == "update")
    before = held_entries(models[1])
    for model in models:
        trained(model, 20)
    assert same(held_entries(models[1]), before)
    for model in models:
        trained(held(model, [1.0]), 20)
    assert difference(*models) < ROUNDING


def test_moments_do_not_linger_in_denormal_numbers():
    """Arithmetic on them is ten times as slow."""
    model = held(trained(made(double=False, fast_update=True, mask_target="gradient"), 5), [0.0] * 16)
    for first, _ in moments(model):
        first.mul_(1e-37)
    trained(model, flat.FLUSH_INTERVAL)
    tiny = th.finfo(th.float32).tiny
    lingering = [int(((values != 0) & (values.abs() < tiny)).sum()) for pair in moments(model) for values in pair]
    assert sum(lingering) == 0


def moments(model: SAC) -> list[tuple[th.Tensor, th.Tensor]]:
    return [(entries["exp_avg"], entries["exp_avg_sq"]) for entries in model.actor.optimizer.state.values()]


# What one sees from outside


def test_the_optimizers_show_their_true_state():
    theirs, ours = made(SAC), made(fast_update=True)
    for n in (1, 2):
        one, other = (trained(model, 1).critic.optimizer.state_dict() for model in (theirs, ours))
        assert one["param_groups"] == other["param_groups"] and list(one["state"][0]) == list(other["state"][0])
        assert one["state"].keys() == other["state"].keys() and float(other["state"][0]["step"]) == n
        assert difference(theirs, ours) < ROUNDING
    gradients = [[p.grad for p in model.actor.parameters()] for model in (theirs, ours)]
    assert all(th.allclose(a, b, atol=1e-12) for a, b in zip(*gradients, strict=True))


def test_parameters_stay_the_same_objects():
    model = made(fast_update=True)
    before = list(model.policy.parameters())
    trained(model, 2)
    assert all(a is b and a.is_leaf and a.requires_grad for a, b in zip(model.policy.parameters(), before, strict=True))
    assert model.policy.training and model.actor.mu.training


CHANGES = {
    "optimizer state loaded": lambda m: m.actor.optimizer.load_state_dict(copy.deepcopy(m.actor.optimizer.state_dict())),
    "optimizer state forgotten": lambda m: m.critic.optimizer.state.clear(),
    "moments exchanged": lambda m: m.critic.optimizer.state[m.critic.qf0[0].weight].update(exp_avg=th.ones(32, 5).double()),
    "moments written": lambda m: m.critic.optimizer.state[m.critic.qf0[0].weight]["exp_avg"].fill_(1.0),
    "parameter exchanged": lambda m: setattr(m.actor.mu.bias, "data", th.ones(2).double()),
    "parameter written": lambda m: m.actor.mu.bias.data.fill_(1.0),
    "parameters loaded": lambda m: m.set_parameters(made().get_parameters(), exact_match=False),
    "from a vector": lambda m: th.nn.utils.vector_to_parameters(th.linspace(0, 0.1, 1316).double(), m.actor.parameters()),
    "entropy coefficient": lambda m: setattr(m.log_ent_coef, "data", th.full((1,), -1.0).double()),
    "entropy coefficient's moments": lambda m: m.ent_coef_optimizer.state.clear(),
    "layer exchanged": lambda m: exchange_layer(m),
    "moved": lambda m: m.policy.to("cpu"),
    "gradients removed": lambda m: m.actor.optimizer.zero_grad(),
    "target copied": lambda m: m.critic_target.load_state_dict(m.critic.state_dict()),
}


def exchange_layer(model: SAC) -> None:
    """As for a new task: another output layer and an optimizer that knows it."""
    th.manual_seed(0)
    model.actor.mu = nn.Linear(32, 2).double()
    model.actor.optimizer = th.optim.Adam(model.actor.parameters(), lr=3e-4)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_from_outside_count(name):
    models = [trained(made(cls, **kwargs), 10) for cls, kwargs in ((SAC, {}), (NBSPSAC, {"fast_update": True}))]
    for model in models:
        CHANGES[name](model)
        trained(model, 20)
    assert models[1].update_path == "fast" and difference(*models) < ROUNDING


def saved_and_loaded(model: NBSPSAC, **kwargs) -> NBSPSAC:
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    new = type(model).load(file, **kwargs)
    new.replay_buffer = model.replay_buffer
    new.set_logger(model.logger)
    return new


def pickled(model: NBSPSAC) -> NBSPSAC:
    return pickle.loads(pickle.dumps(model))


COPIES = {"file": saved_and_loaded, "deepcopy": copy.deepcopy, "pickle": pickled}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("how", [True, False])
def test_a_copy_goes_on_as_the_original_would(way, how):
    model = held(trained(made(double=False, fast_update=how), 10), [0.0, 0.3])
    new = COPIES[way](model)
    before = state(model)
    assert same(state(new), before) and new.critic.optimizer.is_masking
    trained(new, 20)
    assert same(state(model), before)  # the original is left alone
    assert same(state(trained(model, 20)), state(new)) and new.update_path == ("fast" if how else "sb3")


@pytest.mark.parametrize("first, then", [(True, False), (False, True)])
def test_files_of_the_other_path(first, then):
    model = trained(made(double=False, fast_update=first), 30)
    new, stale = saved_and_loaded(model, fast_update=then), saved_and_loaded(model, fast_update=then)
    stale.critic.optimizer.reset_state()
    for one in (model, new, stale):
        trained(one, 20)
    assert new.update_path != model.update_path
    assert difference(new, model) < 1e-5 < 1e-3 < difference(stale, model)


def test_files_and_copies_are_as_small_as_sb3s():
    def sizes(model: SAC) -> list[int]:
        file = io.BytesIO()
        model.save(file)
        return [file.tell(), len(pickle.dumps(model))]

    kwargs = {"double": False, "policy_kwargs": {"net_arch": [256, 256]}}
    slow, fast = (sizes(trained(made(fast_update=how, **kwargs), 1)) for how in (False, True))
    assert fast == pytest.approx(slow, rel=0.02)


def test_parameters_of_another_model():
    """What is taken over is copied, not shared."""
    one, other = trained(made(fast_update=True), 10), made(fast_update=True)
    other.set_parameters(one.get_parameters())
    other.log_ent_coef.data.copy_(one.log_ent_coef.data)
    before = state(one)
    trained(other, 10)
    assert same(state(one), before)
    trained(one, 10)
    assert difference(one, other) < ROUNDING


# When it steps aside


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


def net(**policy_kwargs):
    return {"policy_kwargs": {**NET, **policy_kwargs}}


REFUSED = {
    "gsde": ({"use_sde": True}, "gSDE is used"),
    "dict": ({"policy": "MultiInputPolicy", "space": VECTORS}, "the observation space is Dict, not Box"),
    "discrete": ({"space": spaces.Discrete(4)}, "the observation space is Discrete"),
    "images": ({"space": CHANNEL_FIRST_IMAGE}, "the observations are images"),
    "tanh": (net(activation_fn=nn.Tanh), "an activation of the actor is Tanh, not ReLU"),
    "linear actor": (net(net_arch={"pi": [], "qf": [8]}), "the actor has no hidden layer"),
    "linear critic": (net(net_arch={"pi": [8], "qf": []}), "the critic has no hidden layer"),
    "adamw": (net(optimizer_class=th.optim.AdamW), "the optimizer of the actor is AdamW, not Adam"),
    "sgd": (net(optimizer_class=th.optim.SGD), "the optimizer of the actor is SGD, not Adam"),
    "weight decay": (net(optimizer_kwargs={"weight_decay": 0.1}), "the optimizer of the actor has weight_decay=0.1"),
    "amsgrad": (net(optimizer_kwargs={"amsgrad": True}), "the optimizer of the actor has amsgrad=True"),
    "maximize": (net(optimizer_kwargs={"maximize": True}), "the optimizer of the actor has maximize=True"),
    "extractor": (net(features_extractor_class=Doubling), "the features extractor of the actor is Doubling"),
    "own forward": ({"policy": OwnActorPolicy}, r"OwnForward has a forward\(\) of its own"),
    "own policy": ({"policy": OwnPredict}, r"OwnPredict has a _predict\(\) of its own"),
}


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


def grow_late_parameter_hook(model):
    def hook(parameter):
        parameter.grad.mul_(2)

    return model.critic.qf0[0].bias.register_post_accumulate_grad_hook(hook).remove


def grow_step_hook(model):
    return model.actor.optimizer.base.register_step_post_hook(lambda *args: None).remove


def grow_forward(model):
    model.actor.latent_pi[0].forward = lambda x: nn.Linear.forward(model.actor.latent_pi[0], x)
    return lambda: delattr(model.actor.latent_pi[0], "forward")


def grow_method(model):
    model.actor.action_log_prob = lambda obs: Actor.action_log_prob(model.actor, obs)
    return lambda: delattr(model.actor, "action_log_prob")


def freeze(model):
    model.actor.mu.bias.requires_grad_(False)
    return lambda: model.actor.mu.bias.requires_grad_(True)


def decay(model):
    model.critic.optimizer.param_groups[0]["weight_decay"] = 0.1
    return lambda: model.critic.optimizer.param_groups[0].update(weight_decay=0)


def exchange_activation(model):
    model.critic.qf0[1] = nn.Tanh()
    return lambda: setattr(model.critic.qf0, "1", nn.ReLU())


def exchange_optimizer(model):
    old = model.actor.optimizer
    model.actor.optimizer = th.optim.SGD(model.actor.parameters(), lr=1e-3)
    return lambda: setattr(model.actor, "optimizer", old)


def hook_on_all(model):
    return nn.modules.module.register_module_forward_hook(lambda *args: None).remove


def schedule(model):
    th.optim.lr_scheduler.StepLR(model.actor.optimizer, step_size=1)
    return lambda: delattr(model.actor.optimizer, "step")


LATER = {
    grow_hook: "a hook is registered on a module of the critic",
    grow_parameter_hook: "a hook is registered on a parameter of the actor",
    grow_late_parameter_hook: "a hook is registered on a parameter of the critic",
    grow_step_hook: "the step() of the actor's optimizer was changed, by a hook or a scheduler",
    grow_forward: "a module of the actor has a forward() of its own",
    grow_method: "Actor has a action_log_prob() of its own",
    freeze: "parameters of the actor have requires_grad=False",
    decay: "the optimizer of the critic has weight_decay=0.1",
    exchange_activation: "an activation of the critic is Tanh, not ReLU",
    exchange_optimizer: "the optimizer of the actor is SGD, not Adam",
    hook_on_all: "a hook is registered on all modules",
    schedule: "the step() of the actor's optimizer was changed, by a hook or a scheduler",
}


@pytest.mark.parametrize("change", LATER, ids=lambda change: change.__name__)
def test_it_steps_aside_for_as_long_as_it_must(change):
    models = [trained(made(fast_update=how), 5) for how in (False, "auto")]
    undo = [change(model) for model in models]
    for model in models:
        trained(model, 20)
    assert (models[1].update_path, models[1].update_obstacle) == ("autograd", LATER[change])
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
    with pytest.raises(ValueError, match=r'fast_update must be "auto", True or False; got \'fast\''):
        made(fast_update="fast")


def test_not_a_number_is_told():
    model = trained(made(fast_update=True), 2)
    model.replay_buffer.rewards[:] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        trained(model, 3)


# With autograd and less waste


class BatchNormalised(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.normalise = nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.normalise(super().forward(observations))


AUTOGRAD = {
    "tanh": {"policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "gsde": {"use_sde": True},
    "three-critics": {"policy_kwargs": {"n_critics": 3, "activation_fn": nn.ELU, **NET}},
    "fixed-ent-coef": {"ent_coef": 0.2, "policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "n-steps": {"n_steps": 3, "policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
    "adamw": {"policy_kwargs": {"optimizer_class": th.optim.AdamW, **NET}},
    "sgd": {"policy_kwargs": {"optimizer_class": th.optim.SGD, **NET}},
    "amsgrad": {"policy_kwargs": {"optimizer_kwargs": {"amsgrad": True}, **NET}},
    "no-foreach": {"policy_kwargs": {"optimizer_kwargs": {"foreach": False}, "activation_fn": nn.Tanh, **NET}},
    "linear": {"policy_kwargs": {"net_arch": []}},
    "batch-norm": {"policy_kwargs": {"features_extractor_class": BatchNormalised, **NET}},
    "target-interval": {"target_update_interval": 3, "policy_kwargs": {"activation_fn": nn.Tanh, **NET}},
}


@pytest.mark.parametrize("case", AUTOGRAD)
def test_with_autograd_it_is_sb3s_too(case):
    theirs, ours = trained(made(SAC, **AUTOGRAD[case]), 40), trained(made(**AUTOGRAD[case]), 40)
    assert ours.update_path == "autograd" and difference(theirs, ours) < ROUNDING
    assert ours.logger.name_to_value == pytest.approx(theirs.logger.name_to_value, rel=1e-10, abs=1e-10)
    assert theirs.actor.optimizer.state_dict()["param_groups"] == ours.actor.optimizer.state_dict()["param_groups"]


def test_with_autograd_shared_image_features_are_sb3s_too():
    features = {"features_extractor_kwargs": {"features_dim": 8}, "share_features_extractor": True}
    kwargs = {"policy": "CnnPolicy", "space": CHANNEL_FIRST_IMAGE, "policy_kwargs": {"net_arch": [8], **features}}
    theirs, ours = (trained(made(cls, **kwargs), 4, batch_size=8) for cls in (SAC, NBSPSAC))
    assert ours.update_path == "autograd" and difference(theirs, ours) < ROUNDING
