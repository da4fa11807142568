"""L2, EWC and MAS against their equations."""

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import SETTINGS, sequence_env
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from test_baselines import STEPS, nbspsac, sac
from torch import nn

from sb3_nbsp import NBSPTQC
from sb3_nbsp.baselines import EWC, L2, MAS
from sb3_nbsp.baselines.ewc import fisher_terms
from sb3_nbsp.baselines.network_outputs import action_distribution, critic_outputs, sample_gradients
from sb3_nbsp.baselines.parameters import learned_parameters
from sb3_nbsp.baselines.task_samples import as_seen, visited
from sb3_nbsp.common import SkillNeuronCallback

SGD = {"net_arch": [8], "optimizer_class": th.optim.SGD}


# The penalty


@pytest.mark.parametrize(
    ("make", "method"),
    [(sac, L2), (nbspsac, L2), (sac, partial(EWC, n_samples=8)), (sac, partial(MAS, n_samples=8))],
    ids=["l2-sac", "l2-nbspsac", "ewc-sac", "mas-sac"],
)
def test_the_gradient_is_that_of_the_penalty(make, method):
    """Two equal models take one step of SGD, one of them with the penalty: they differ by lr 2 coef Omega (theta - theta*)."""
    coef, lr, moved = 0.7, 1e-2, 0.25
    changes = []
    for strength in (0.0, coef):
        model, callback = make(policy_kwargs=dict(SGD), learning_rate=lr), method(coef=strength)
        extra = [SkillNeuronCallback()] if make is nbspsac else []
        model.learn(STEPS, callback=[callback, *extra])
        for p in model.actor.parameters():
            p.data += moved
        started = model._setup_learn(1, [callback, *extra], reset_num_timesteps=False)[1]
        started.on_training_start({}, {})
        before = [p.detach().clone() for p in model.actor.parameters()]
        critic = [p.detach().clone() for p in model.critic.parameters()]
        th.manual_seed(0), np.random.seed(0)
        model.replay_buffer.pos = 20  # nbspsac's was emptied
        model.num_timesteps += 1000  # past the warm-up
        model.train(1, batch_size=16)
        changes.append([p.detach() - b for p, b in zip(model.actor.parameters(), before, strict=True)])
        assert any(not th.equal(p, b) for p, b in zip(model.critic.parameters(), critic, strict=True))
        started.on_training_end()
        assert callback.penalty() == pytest.approx(
            strength
            * sum(
                (omega * (p - a) ** 2).sum().item()
                for p, a, omega in zip(
                    model.actor.parameters(),
                    callback.state["anchors"].values(),
                    callback.state["importances"].values(),
                    strict=True,
                )
            ),
            rel=1e-4,
        )
    for free, held, omega in zip(*changes, callback.state["importances"].values(), strict=True):
        assert th.allclose(free - held, lr * 2 * coef * moved * omega, atol=1e-6)


def test_the_penalty_is_there_before_gradients_are_clipped():
    """SGD with learning rate 1 moves the parameters exactly as far as the clipped norm, however strong the penalty is."""
    env = sequence_env(steps=STEPS)
    policy = {"net_arch": [8], "optimizer_class": th.optim.SGD}
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=STEPS,
        batch_size=STEPS,
        n_epochs=1,
        max_grad_norm=0.5,
        seed=1,
        policy_kwargs=policy,
        learning_rate=1.0,
    )
    callback = L2(coef=1e6)
    model.learn(STEPS, callback=callback)
    moved = dict(learned_parameters(model, "actor"))
    for p in moved.values():
        p.data += 0.01
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(STEPS, callback=callback, reset_num_timesteps=False)
    changes = {name: p.detach() - before[name] for name, p in model.policy.named_parameters()}
    assert sum(float(c.square().sum()) for c in changes.values()) ** 0.5 == pytest.approx(0.5, rel=1e-3)
    # Nearly all of it is the penalty's, which points back.
    towards = sum(float((-changes[name]).sum()) for name in moved)
    n_moved = sum(p.numel() for p in moved.values())
    assert towards == pytest.approx(0.5 * n_moved**0.5, rel=0.01)


@pytest.mark.parametrize(
    "make",
    [
        sac,
        nbspsac,
        lambda **kw: NBSPTQC(
            "MlpPolicy", sequence_env(steps=STEPS), **deepcopy({**SETTINGS, "skill_fraction": 0, "memory_size": 0, **kw})
        ),
    ],
    ids=["sac", "nbspsac", "nbsptqc"],
)
def test_a_strong_penalty_holds_the_actor_and_only_the_actor(make):
    distances = {}
    for coef in (0.0, 1e8):
        model, callback = make(policy_kwargs=dict(SGD), learning_rate=1e-9 if coef else 1e-3), L2(coef=coef)
        model.learn(3 * STEPS - 1, callback=[callback] if make is sac else [callback, SkillNeuronCallback()])
        parameters = learned_parameters(model, "actor")
        distances[coef] = max(float((parameters[n].detach() - a).abs().max()) for n, a in callback.state["anchors"].items())
        assert set(callback.state["anchors"]) == set(parameters)
    assert distances[1e8] < 1e-6 < distances[0.0]


@pytest.mark.known_answer
def test_importances_add_up_and_anchors_move():
    model, callback = sac(), L2(networks="all")
    model.learn(2 * STEPS, callback=callback)
    assert all(bool((importance == 2).all()) for importance in callback.state["importances"].values())
    now = {name: p.detach() for name, p in learned_parameters(model).items()}
    assert all(th.equal(anchor, now[name]) for name, anchor in callback.state["anchors"].items())
    assert {name.split(".")[0] for name in now} == {"actor", "critic"}


# EWC


def gaussian(outputs: th.Tensor) -> Distribution:
    mean, log_std = outputs.chunk(2, dim=1)
    return DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, log_std)


HEADS: dict[str, Any] = {
    "categorical": (3, lambda x: CategoricalDistribution(3).proba_distribution(x), [[0], [1], [2]]),
    "multi-categorical": (
        4,
        lambda x: MultiCategoricalDistribution([2, 2]).proba_distribution(x),
        [[0, 0], [0, 1], [1, 0], [1, 1]],
    ),
    "bernoulli": (2, lambda x: BernoulliDistribution(2).proba_distribution(x), [[0, 0], [0, 1], [1, 0], [1, 1]]),
}


@pytest.mark.parametrize("name", HEADS)
def test_fisher_information_of_discrete_actions_is_the_sum_over_all_actions(name):
    """E_a[ (d log pi(a|s))^2 ], by trying every action."""
    n_outputs, make, actions = HEADS[name]
    net, x = nn.Linear(2, n_outputs), th.randn(1, 2)
    parameters = list(net.parameters())
    expected = [th.zeros_like(p) for p in parameters]
    for action in actions:
        chosen = th.tensor([action[0]] if name == "categorical" else [action])
        log_prob = make(net(x)).log_prob(chosen.float() if name == "bernoulli" else chosen).sum()
        gradients = th.autograd.grad(log_prob, parameters)
        for total, gradient in zip(expected, gradients, strict=True):
            total += log_prob.detach().exp() * gradient.square()
    assert all(th.allclose(a, b, atol=1e-6) for a, b in zip(fisher(make(net(x)), parameters), expected, strict=True))


@pytest.mark.known_answer
def test_fisher_information_of_a_gaussian():
    """mu = w x and log sigma = v: F_w = x^2 / sigma^2, F_v = 2."""
    w, v = nn.Parameter(th.tensor([[0.3]])), nn.Parameter(th.tensor([[-0.7]]))
    found = fisher(gaussian(th.cat([w * 1.5, v], dim=1)), [w, v])
    assert found[0].item() == pytest.approx(1.5**2 / np.exp(-0.7) ** 2, rel=1e-4)
    assert found[1].item() == pytest.approx(2.0, rel=1e-4)
    v.data.fill_(np.log(1e-3))  # a variance of 1e-6, to which as much is added
    small = fisher(gaussian(th.cat([w * 1.5, v], dim=1)), [w, v])
    assert [f.item() for f in small] == pytest.approx([1.5**2 / 2e-6, 1.0], rel=1e-3)


def fisher(distribution: Distribution, parameters: list[nn.Parameter]) -> list[th.Tensor]:
    outputs, weights = fisher_terms(distribution)
    sums = [th.zeros_like(p) for p in parameters]
    for k in range(outputs.shape[1]):
        for total, gradient in zip(sums, th.autograd.grad(outputs[0, k], parameters, retain_graph=True), strict=True):
            total += weights[0, k] * gradient.square()
    return sums


def one_by_one(model: Any, observations: th.Tensor, actions: th.Tensor) -> tuple[Any, Any, Any]:
    """Actor's mean and deviation, and Q-values, of a batch of one."""
    own: Any = action_distribution(model, observations).distribution
    return own.loc[0], own.scale[0], critic_outputs(model, observations, actions)[0]


def brute_force(kind: str, model: Any, steps: Any, parameters: dict[str, nn.Parameter]) -> dict[str, th.Tensor]:
    """Continual World's formulas, sample by sample and output by output."""
    result = {name: th.zeros_like(p) for name, p in parameters.items()}

    def squares(name: str, scalar: th.Tensor) -> th.Tensor:
        (gradient,) = th.autograd.grad(scalar, parameters[name], retain_graph=True, allow_unused=True)
        return th.zeros_like(parameters[name]) if gradient is None else gradient

    for i in range(len(steps)):
        row = steps.rows(slice(i, i + 1))
        mean, std, q = one_by_one(model, as_seen(model, row.observations), th.as_tensor(row.actions))
        for name in parameters:
            if kind == "ewc" and name.startswith("actor"):
                terms = [
                    (squares(name, m) ** 2 + 2 * squares(name, s) ** 2) / (s.detach() ** 2 + 1e-6)
                    for m, s in zip(mean, std, strict=True)
                ]
                result[name] += sum(terms).clamp(min=1e-5)
            elif kind == "ewc":
                result[name] += sum(squares(name, value) ** 2 for value in q)
            elif name.startswith("actor"):
                result[name] += squares(name, (mean**2).sum() + (std.log() ** 2).sum()).abs()
            else:
                result[name] += sum(squares(name, value**2).abs() for value in q)
    return {name: total / len(steps) for name, total in result.items()}


@pytest.mark.parametrize(
    ("kind", "normalised"), [("ewc", False), ("mas", False), ("ewc", True)], ids=["ewc", "mas", "normalised"]
)
def test_importances_are_continual_worlds(kind, normalised):
    model = sac(policy_kwargs={"net_arch": [4]})
    if normalised:
        model.set_env(VecNormalize(sequence_env(steps=STEPS)))
    callback = {"ewc": EWC, "mas": MAS}[kind](networks="all", n_samples=13)
    model.learn(STEPS - 5, callback=callback)
    parameters = learned_parameters(model)
    np.random.seed(3)
    found = callback.importances("east")
    np.random.seed(3)
    steps = visited(model, "east", STEPS - 5, 13)
    assert len(steps) == 13
    for name, expected in brute_force(kind, model, steps, parameters).items():
        assert th.allclose(found[name], expected, rtol=1e-3, atol=1e-7), name
        assert bool((expected > 0).any()), name


@pytest.mark.parametrize("networks", ["actor", "critic"])
def test_only_the_chosen_network_is_held(networks):
    model, callback = sac(), EWC(networks=networks, n_samples=8)
    model.learn(STEPS, callback=callback)
    assert {name.split(".")[0] for name in callback.state["importances"]} == {networks}


@pytest.mark.known_answer
def test_gradients_are_taken_sample_by_sample():
    net, x = nn.Linear(3, 1), th.randn(5, 3)
    weight, bias = sample_gradients((net(x)[:, 0]) ** 2, list(net.parameters()))
    outputs = net(x).detach()
    assert th.allclose(weight[:, 0], 2 * outputs * x, atol=1e-6) and th.allclose(bias, 2 * outputs, atol=1e-6)


def test_value_based_and_on_policy_algorithms_are_held_too():
    env = make_vec_env("sb3_nbsp/PointGoalDiscrete-v0", 1, env_kwargs={"steps_per_task": STEPS, "horizon": 10})
    ppo, dqn = PPO("MlpPolicy", env, n_steps=20, batch_size=10, seed=1), DQN("MlpPolicy", env, learning_starts=20, seed=1)
    for model, expected in ((ppo, {"action_net.weight", "value_net.weight"}), (dqn, {"q_net.q_net.4.weight"})):
        for baseline in (EWC(n_samples=10, networks="all"), MAS(n_samples=10, networks="all")):
            model.learn(STEPS, callback=baseline)
            assert expected <= set(baseline.state["importances"]) == set(learned_parameters(model))
            assert all(bool((values > 0).any()) for values in baseline.state["importances"].values())
