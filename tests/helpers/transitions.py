"""Replay buffers whose transitions carry their own step number."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from helpers import ToyEnv
from sb3_nbsp.rehearsal import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer

BOX = spaces.Box(-np.inf, np.inf, (2,))
DICT = spaces.Dict({"a": BOX, "b": spaces.Box(-np.inf, np.inf, (1,))})
ACTION = spaces.Box(-1.0, 1.0, (1,))
PAIRS = [
    pytest.param(MixedReplayBuffer, ReplayBuffer, BOX, id="plain"),
    pytest.param(MixedDictReplayBuffer, DictReplayBuffer, DICT, id="dict"),
    pytest.param(MixedNStepReplayBuffer, NStepReplayBuffer, BOX, id="n-step"),
]
pairs = pytest.mark.parametrize("mixed, parent, space", PAIRS)


def observation(space, step: int, n_envs: int):
    """[step, sub-env] of every sub-env."""
    both = np.array([[step, env] for env in range(n_envs)], dtype=np.float32)
    return {"a": both, "b": both[:, :1]} if isinstance(space, spaces.Dict) else both


def fill(buffer: ReplayBuffer, n_rows: int, first: int = 0, done_every: int = 7, timeout_every: int = 3) -> None:
    """
    Row t of sub-env e: from observation [t, e] to [t + 0.5, e], with reward t + 100 e.

    Episodes end at different rows in each sub-env, some of them by a time limit.
    """
    n_envs = buffer.n_envs
    for t in range(first, first + n_rows):
        rewards = np.array([t + 100.0 * e for e in range(n_envs)])
        dones = np.array([(t + e) % done_every == done_every - 1 for e in range(n_envs)])
        infos = [{"TimeLimit.truncated": bool(d) and (t + e) % timeout_every == 0} for e, d in enumerate(dones)]
        after = observation(buffer.observation_space, t + 0.5, n_envs)
        actions = np.full((n_envs, 1), t / 1000.0, dtype=np.float32)
        buffer.add(observation(buffer.observation_space, t, n_envs), after, actions, rewards, dones, infos)


def made(cls=MixedReplayBuffer, space=BOX, size=60, n_envs=1, **kwargs) -> ReplayBuffer:
    return cls(size, space, ACTION, device="cpu", n_envs=n_envs, **kwargs)


def first_part(observations) -> th.Tensor:
    return observations["a"] if isinstance(observations, dict) else observations


def steps_of(samples) -> list[float]:
    return first_part(samples.observations)[:, 0].tolist()


def identities(transitions) -> list[tuple[float, float]]:
    return [tuple(row) for row in first_part(transitions.observations).tolist()]


def same_samples(one, other) -> bool:
    def flat(samples):
        parts = []
        for value in samples:
            parts += [] if value is None else list(value.values()) if isinstance(value, dict) else [value]
        return parts

    return type(one) is type(other) and all(
        a.dtype == b.dtype and th.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True)
    )


def vec_normalize(space=BOX, n_envs=1) -> VecNormalize:
    """Statistics that leave the filled-in numbers inside the clipping range, so that they stay apart."""
    env = VecNormalize(DummyVecEnv([lambda: ToyEnv(space)] * n_envs), training=False)
    for statistics in env.obs_rms.values() if isinstance(space, spaces.Dict) else [env.obs_rms]:
        statistics.mean, statistics.var = statistics.mean + 3.0, statistics.var * 400.0
    env.ret_rms.var = np.float64(900.0)
    return env
