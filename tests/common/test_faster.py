"""
``fast_update=True``: the same updates in less time.

Compared in float64, where 100 updates of the same mathematics differ by rounding and anything else shows.
"""

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3.common.policies as sb3_policies
import torch as th
from helpers import copied, task_env
from helpers.cases import DQN_CASE, PPO_CASE, QRDQN_CASE, TQC_CASE, on_cases
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.save_util import recursive_getattr

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPTQC
from sb3_nbsp.common.faster_updates import FLUSH_INTERVAL, KNOWN_OPTIMIZERS, SMALLEST_EPS, flush_states, fusible
from sb3_nbsp.protection.optimizer import MaskedOptimizer, base_of

ROUNDING = 1e-12
CASES = (TQC_CASE, DQN_CASE, QRDQN_CASE, PPO_CASE)  # of SAC's: tests/sac
pytestmark = pytest.mark.filterwarnings("ignore:You are trying to run PPO on the GPU")


@pytest.fixture(autouse=True)
def double_observations(monkeypatch):
    """SB3 turns every observation into float32; here, float64 ones stay."""
    preprocess = sb3_policies.preprocess_obs

    def preprocess_obs(obs, *args, **kwargs):
        return obs if isinstance(obs, th.Tensor) and obs.dtype == th.float64 else preprocess(obs, *args, **kwargs)

    monkeypatch.setattr(sb3_policies, "preprocess_obs", preprocess_obs)


def in_double(samples):
    return type(samples)(*(None if part is None else part.double() for part in samples))


def trained(case, fast_update: bool, n_updates: int = 100, images: bool = False, **kwargs):
    """A model after updates on batches and noise that are always the same."""
    env = "Pendulum-v1" if case is TQC_CASE else "CartPole-v1"
    settings = {
        "policy_kwargs": {"net_arch": [32, 32], **case.policy_kwargs},
        "seed": 0,
        "device": "cpu",
        "fast_update": fast_update,
        **kwargs,
    }
    if images:
        model = case.cls("CnnPolicy", "sb3_nbsp/PointGoalImage-v0", learning_starts=1000, buffer_size=200, **settings)
        model.learn(100)
    elif case.on_policy:
        model = case.cls("MlpPolicy", env, n_steps=250, batch_size=50, n_epochs=n_updates // 5, **settings)
        fill_rollouts(model)
    else:
        model = case.cls("MlpPolicy", env, learning_starts=1000, buffer_size=1000, **settings)
        model.learn(300)
    model.set_logger(Logger(None, []))
    model.policy.double()
    if getattr(model, "log_ent_coef", None) is not None:
        model.log_ent_coef.data = model.log_ent_coef.data.double()
    np.random.seed(3), th.manual_seed(3)
    if case.on_policy:
        get = model.rollout_buffer.get
        model.rollout_buffer.get = lambda size: map(in_double, get(size))
        model.train()
    else:
        sample = model.replay_buffer.sample
        model.replay_buffer.sample = lambda *args, **kwargs: in_double(sample(*args, **kwargs))
        model.train(n_updates, 32)
    return model


def fill_rollouts(model: NBSPPPO) -> None:
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def difference(one, other) -> float:
    a, b = copied(one.policy.state_dict()), copied(other.policy.state_dict())
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@on_cases(*CASES)
def test_the_same_up_to_rounding(case):
    plain = trained(case, False)
    assert plain._n_updates >= 20
    assert difference(plain, trained(case, True)) < ROUNDING
    assert difference(plain, trained(case, False)) == 0
    # Positive control: what is not the same is seen.
    rate = plain.learning_rate if isinstance(plain.learning_rate, float) else plain.learning_rate(1)
    assert difference(plain, trained(case, True, learning_rate=rate * 1.001)) > 1e6 * ROUNDING


def test_convolutions_the_same_up_to_rounding(tmp_path):
    plain, faster = (trained(DQN_CASE, fast, 20, images=True) for fast in (False, True))
    weight = faster.policy.q_net.features_extractor.cnn[0].weight
    assert weight.is_contiguous(memory_format=th.channels_last) and not weight.is_contiguous()
    scale = max(float(values.abs().max()) for values in plain.policy.state_dict().values())
    assert difference(plain, faster) < ROUNDING * max(scale, 1)
    assert difference(plain, trained(DQN_CASE, True, 20, images=True, learning_rate=1.001e-4)) > 1e4 * ROUNDING
    faster.policy.float()
    faster.save(tmp_path / "model")
    loaded = NBSPDQN.load(tmp_path / "model", env=gym.make("sb3_nbsp/PointGoalImage-v0"))
    assert loaded.policy.q_net.features_extractor.cnn[0].weight.is_contiguous(memory_format=th.channels_last)
    assert difference(loaded, faster) == 0


@on_cases(*CASES)
def test_adam_is_fused_while_training_only(case, monkeypatch):
    seen: dict[th.optim.Optimizer, set[bool | None]] = {}
    step = th.optim.Adam.step

    def spied(self, *args):
        seen.setdefault(self, set()).add(self.param_groups[0]["fused"])
        return step(self, *args)

    monkeypatch.setattr(th.optim.Adam, "step", spied)
    model = trained(case, True, 10)
    names = type(model).optimizer_names
    assert [seen[recursive_getattr(model, name).base] for name in names] == [{True}] * len(names)
    groups = [group for name in names for group in model.get_parameters()[name]["param_groups"]]
    assert all(group["fused"] is None for group in groups)


def lingering(optimizer: th.optim.Optimizer) -> list[str]:
    """The averages with numbers in them that are too small for a full mantissa."""
    kept = [named for state in base_of(optimizer).state.values() for named in state.items() if isinstance(named[1], th.Tensor)]
    return [name for name, values in kept if ((values != 0) & (values.abs() < th.finfo(values.dtype).tiny)).any()]


def kept_after(cls: type[th.optim.Optimizer], dtype: th.dtype = th.float32, **kwargs: Any) -> tuple[th.Tensor, Any]:
    """A parameter, and an optimizer that has kept a tenth of the smallest normal number for the second of its entries."""
    p = th.nn.Parameter(th.ones(2, dtype=dtype))
    optimizer = cls([p], lr=0.1, **kwargs)  # type: ignore[call-arg]
    p.grad = th.tensor([1.0, 0.0], dtype=dtype)
    optimizer.step()
    for values in optimizer.state[p].values():
        if isinstance(values, th.Tensor) and values.shape == p.shape:
            values[1] = 0.1 * th.finfo(dtype).tiny
    assert lingering(optimizer)
    return p, optimizer


OTHER_SETTINGS: dict[type[th.optim.Optimizer], dict[str, Any]] = {th.optim.SGD: {"momentum": 0.9}}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cls", sorted(KNOWN_OPTIMIZERS, key=lambda cls: cls.__name__))
def test_denormal_numbers_in_averages_become_zero(cls, masked):
    p, optimizer = kept_after(cls, **OTHER_SETTINGS.get(cls, {}))
    before = deepcopy(optimizer.state[p])
    flush_states([MaskedOptimizer(optimizer) if masked else optimizer])
    assert not lingering(optimizer)
    for name, values in before.items():
        if isinstance(values, th.Tensor) and values.shape == p.shape:
            values[1] = 0
        assert th.as_tensor(optimizer.state[p][name] == values).all(), f"all else of {name} stays"


class Unknown(th.optim.Adam):
    """Which may keep what is not to be touched."""


@pytest.mark.parametrize(
    "cls, kwargs", [(Unknown, {}), (th.optim.Adam, {"eps": 1e-30}), (th.optim.Adam, {"dtype": th.bfloat16})], ids=str
)
def test_what_is_not_known_to_move_nothing_is_kept(cls, kwargs):
    _, optimizer = kept_after(cls, **kwargs)
    flush_states([optimizer])
    assert lingering(optimizer)


def test_the_smallest_eps_moves_nothing():
    """Adam's change m / (sqrt(v) + eps) with the largest v that is taken away."""
    v = th.tensor(th.finfo(th.float32).tiny)
    assert (v.sqrt() + SMALLEST_EPS) / SMALLEST_EPS == pytest.approx(1, abs=2 * th.finfo(th.float32).eps)


@pytest.mark.parametrize("fast", [False, True])
@on_cases(*CASES)
def test_denormal_numbers_are_taken_away_by_fast_updates_only(case, fast, monkeypatch):
    model: Any = trained(case, fast, 10)
    optimizers = [recursive_getattr(model, name) for name in type(model).optimizer_names]
    for state in (state for optimizer in optimizers for state in base_of(optimizer).state.values()):
        state["exp_avg"].fill_(1e-310)
    monkeypatch.setattr(th.optim.Adam, "step", lambda *_: None)
    arguments = () if case.on_policy else (1, 32)
    model._n_updates = 0
    model.train(*arguments)
    if not case.on_policy:
        assert all(map(lingering, optimizers))
        model._n_updates = FLUSH_INTERVAL - 1
        model.train(*arguments)
    assert [bool(lingering(optimizer)) for optimizer in optimizers] == [not fast] * len(optimizers)


def test_masks_hold_under_fast_update():
    env = task_env()
    model = NBSPTQC(
        "MlpPolicy", env, learning_starts=20, seed=0, mask_coef=0.0, scoring_steps=50, fast_update=True, memory_size=0
    )
    model.learn(60)
    model.consolidate(env, "a")
    layer = model.neuron_masks.networks[0].layers[0]
    held = model.neuron_masks.factors(layer) == 0
    before = layer.own[0].detach().clone()
    model.learn(200)
    assert held.any() and th.equal(layer.own[0][held], before[held]) and not th.equal(layer.own[0], before)


def test_other_optimizers_are_left_alone():
    weights = [th.nn.Parameter(th.zeros(3))]
    assert fusible(th.optim.SGD(weights, lr=0.1)) == [] == fusible(th.optim.Adam(weights, foreach=True))
    assert len(fusible(th.optim.AdamW(weights))) == 1
    model = NBSPDQN("MlpPolicy", gym.make("CartPole-v1"), fast_update=True, policy_kwargs={"optimizer_class": th.optim.SGD})
    model.learn(150)
