"""Behavioural cloning against its equation."""

from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import sequence_env
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.vec_env import VecNormalize
from test_baselines import STEPS, nbspsac, rows, sac

from sb3_nbsp import NBSPTQC
from sb3_nbsp.baselines import BehaviouralCloning
from sb3_nbsp.common import SkillNeuronCallback
from sb3_nbsp.rehearsal.memory import Clones


def learned(make: Any, steps: int, callback: BehaviouralCloning, **kwargs: Any) -> Any:
    model = make(**kwargs)
    return model.learn(steps, callback=[callback] if make is sac else [callback, SkillNeuronCallback()])


def tqc(**kwargs: Any) -> NBSPTQC:
    settings = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "seed": 1, "policy_kwargs": {"net_arch": [8]}}
    return NBSPTQC("MlpPolicy", sequence_env(steps=STEPS), **{**settings, "skill_fraction": 0, "memory_size": 0, **kwargs})


def test_the_policy_at_the_tasks_end_is_remembered():
    callback = BehaviouralCloning(memory_size=25)
    model = learned(sac, STEPS, callback)
    memory = callback.state["memories"]["east"]
    assert memory["observations"].shape == (25, 6) and rows(memory["observations"]) <= rows(
        model.replay_buffer.observations[:, 0]
    )
    with th.no_grad():
        mean, log_std, _ = model.actor.get_action_dist_params(th.as_tensor(memory["observations"]))
    expected = th.cat([mean, log_std.exp()], dim=1).numpy()
    assert np.allclose(memory["distributions"], expected, atol=1e-6)
    assert callback.loss([memory]).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.known_answer
def test_the_loss_is_the_kl_divergence_from_the_old_policy():
    """sum_k [ log(s'/s) + (s^2 + (m - m')^2) / (2 s'^2) - 1/2 ] with the old policy's m and s, the new one's m' and s'."""
    callback = BehaviouralCloning(memory_size=1, batch_size=4)
    model = learned(sac, STEPS, callback)
    memory = callback.state["memories"]["east"]
    model.actor.mu.bias.data += 0.3
    model.actor.log_std.bias.data -= 0.2
    m, s = np.split(memory["distributions"][0], 2)
    m2, s2 = m + 0.3, s * np.exp(-0.2)
    expected = np.sum(np.log(s2 / s) + (s**2 + (m - m2) ** 2) / (2 * s2**2) - 0.5)
    assert callback.loss([memory]).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.known_answer
def test_each_task_and_each_of_its_observations_has_an_equal_chance():
    """Means that are d deviations off, in two dimensions: KL = d^2. One task has 1; the other two observations of 9 and 25."""
    callback = BehaviouralCloning(memory_size=2, batch_size=4000)
    learned(sac, STEPS, callback)
    kept = callback.state["memories"]["east"]

    def off(rows: list[int], by: list[float]) -> dict[str, Any]:
        mean, deviation = np.split(kept["distributions"][rows], 2, axis=1)
        moved = mean + np.array(by, dtype=np.float32)[:, None] * deviation
        return {"observations": kept["observations"][rows], "distributions": np.concatenate([moved, deviation], axis=1)}

    np.random.seed(0)
    loss = callback.loss([off([0], [1.0]), off([0, 1], [3.0, 5.0])]).item()
    assert loss == pytest.approx((1 + (9 + 25) / 2) / 2, rel=0.05)


@pytest.mark.parametrize("make", [nbspsac, tqc], ids=["nbspsac", "nbsptqc"])
def test_it_is_the_loss_that_the_classes_have_inside(make):
    """The same memory, handed to the class."""
    callback = BehaviouralCloning(memory_size=1, batch_size=4)
    model = learned(make, STEPS, callback)
    kept = callback.state["memories"]["east"]
    model.cloning.memory.store(0, Clones(observations=kept["observations"], outputs=kept["distributions"]), 1)
    for p in model.actor.parameters():
        p.data += 0.1
    model.rehearsal, model.memory_size, model.clone_batch_size = "clone", 1, 4
    with model.cloning.in_force():
        inside = model.cloned_outputs.divergence(model, *model.cloning.draw()).mean()
    assert inside.item() == pytest.approx(callback.loss([kept]).item(), rel=1e-6) and inside > 1e-3


@pytest.mark.parametrize("make", [sac, nbspsac, tqc], ids=["sac", "nbspsac", "nbsptqc"])
def test_the_gradient_of_the_loss_is_added(make):
    """Two equal models take one step of SGD, one of them with cloning: they differ by lr * coef * d loss."""
    lr, coef, policies = 1e-2, 2.0, {"net_arch": [8], "optimizer_class": th.optim.SGD}
    changes, expected = [], []
    for strength in (0.0, coef):
        callback = BehaviouralCloning(coef=strength, memory_size=1, batch_size=8)
        model = learned(make, STEPS, callback, policy_kwargs=dict(policies), learning_rate=lr)
        for p in model.actor.parameters():
            p.data += 0.05
        started = model._setup_learn(1, [callback] if make is sac else [callback, SkillNeuronCallback()], False)[1]
        started.on_training_start({}, {})
        callback.current_task = "west"
        before = [p.detach().clone() for p in model.actor.parameters()]
        loss = callback.loss(list(callback.state["memories"].values()))
        expected = th.autograd.grad(loss, list(model.actor.parameters()))
        th.manual_seed(0), np.random.seed(0)
        model.replay_buffer.pos = 20  # ours was emptied
        model.num_timesteps += 1000  # past the warm-up
        model.train(1, batch_size=16)
        started.on_training_end()
        changes.append([p.detach() - b for p, b in zip(model.actor.parameters(), before, strict=True)])
    for free, cloned, gradient in zip(*changes, expected, strict=True):
        assert th.allclose(free - cloned, lr * coef * gradient, atol=2e-5)
    assert max(float(gradient.abs().max()) for gradient in expected) * lr * coef > 1e-3


def test_a_strong_coefficient_keeps_the_old_tasks_policy():
    losses = {}
    for coef in (0.0, 1e4):
        callback = BehaviouralCloning(coef=coef, memory_size=60)
        learned(sac, 3 * STEPS - 1, callback, learning_rate=1e-2)
        losses[coef] = callback.loss([callback.state["memories"]["east"]]).item()
    assert losses[1e4] < 0.2 * losses[0.0]


def test_a_task_is_not_cloned_while_it_is_learned_again():
    """In the third visit, east again, only west's memory counts; at its end east's is replaced."""
    used: list[set[str]] = []

    class Watched(BehaviouralCloning):
        def loss(self, memories: list[dict[str, Any]]) -> th.Tensor:
            names = {name for name, kept in self.state["memories"].items() if any(kept is m for m in memories)}
            if not used or used[-1] != names:
                used.append(names)
            return super().loss(memories)

    callback = Watched(memory_size=20)
    learned(sac, 3 * STEPS, callback)
    assert used == [{"east"}, {"west"}]
    assert set(callback.state["memories"]) == {"east", "west"}


def test_memories_are_normalised_when_they_are_used():
    env = VecNormalize(sequence_env(steps=STEPS))
    model, callback = sac(), BehaviouralCloning(memory_size=5, batch_size=3)
    model.set_env(env)
    model.learn(STEPS, callback=callback)
    kept = callback.state["memories"]["east"]["observations"]
    assert rows(kept) <= rows(model.replay_buffer.observations[:, 0])
    with th.no_grad():
        seen = th.as_tensor(model._vec_normalize_env.normalize_obs(kept)).float()
        mean = model.actor.get_action_dist_params(seen)[0]
    assert np.allclose(callback.state["memories"]["east"]["distributions"][:, :2], mean.numpy(), atol=1e-6)


@pytest.mark.parametrize("cls", [PPO, TD3])
def test_other_actors_are_refused(cls):
    with pytest.raises(TypeError, match="NBSPPPO"):
        cls("MlpPolicy", sequence_env(steps=STEPS)).learn(10, callback=BehaviouralCloning())
