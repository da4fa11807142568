"""SAC models in float64, their updates on batches that are always the same, and how far two of them are apart."""

import copy

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from helpers import VECTOR, ToyEnv, copied
from sb3_nbsp import NBSPSAC
from sb3_nbsp.rehearsal.memory import Clones

ROUNDING = 1e-12
NET = {"net_arch": [32, 32]}


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
    ours = {"rehearsal": "replay"} if issubclass(cls, NBSPSAC) else {}
    settings = {"seed": 0, "buffer_size": 1000, "policy_kwargs": copy.deepcopy(NET), **ours, **kwargs}
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
    return max(float(th.as_tensor(a[name] - b[name]).abs().max()) for name in a)


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


def moments(model: SAC) -> list[tuple[th.Tensor, th.Tensor]]:
    return [(entries["exp_avg"], entries["exp_avg_sq"]) for entries in model.actor.optimizer.state.values()]


def keep_clones(model: NBSPSAC, n: int) -> None:
    """Have something to clone on: observations of the buffer, with actions that nobody took."""
    random = np.random.default_rng(0)
    observations = model.replay_buffer.observations[:n, 0]
    outputs = np.concatenate([random.normal(size=(n, 2)), random.uniform(0.1, 1.0, (n, 2))], axis=1).astype(np.float32)
    model.cloning.memory.store(0, Clones(observations=observations, outputs=outputs), n)
