"""A-GEM against numbers that were computed by hand, and with the algorithms that have a memory."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import NBSP_SETTINGS, sequence_env
from helpers.cases import DQN_CASE, off_policy_cases
from test_baselines import STEPS, sac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import AGEM
from sb3_nbsp.baselines.agem import project
from sb3_nbsp.baselines.parameters import learned_parameters

REMEMBERS = {"skill_fraction": 0, "memory_size": 50, "replay_mode": "share", "old_task_fraction": 0.0}


def remembering(**kwargs: Any) -> NBSPSAC:
    return NBSPSAC("MlpPolicy", sequence_env(steps=STEPS), **deepcopy({**NBSP_SETTINGS, **REMEMBERS, **kwargs}))


@pytest.mark.known_answer
def test_a_gradient_against_the_old_one_loses_that_part_of_it():
    g, reference = [th.tensor([1.0, 2.0]), th.tensor([[3.0]])], (th.tensor([1.0, 0.0]), th.tensor([[-2.0]]))
    # g . r = 1 - 6 = -5, r . r = 5: g + r
    assert project(g, reference)
    assert g[0].tolist() == [2.0, 2.0] and g[1].tolist() == [[1.0]]
    assert sum(float((a * b).sum()) for a, b in zip(g, reference, strict=True)) == 0


@pytest.mark.known_answer
def test_a_gradient_that_helps_old_tasks_is_left_alone():
    g, reference = [th.tensor([1.0, 2.0])], (th.tensor([1.0, -0.25]),)  # g . r = 0.5
    assert not project(g, reference)
    assert g[0].tolist() == [1.0, 2.0]


@pytest.mark.known_answer
def test_all_parameters_of_a_network_are_projected_together():
    """g = (1, 2, 3) and g_ref = (1, 0, -2) again, in two parameters: by itself the first one would be left alone."""
    one, two = th.nn.Parameter(th.zeros(2)), th.nn.Parameter(th.zeros(1))
    one.grad, two.grad = th.tensor([1.0, 2.0]), th.tensor([3.0])

    class OldLoss(AGEM):
        def _loss(self, part: str) -> th.Tensor:
            return one[0] - 2 * two[0]

    callback = OldLoss()
    callback.model = SimpleNamespace(memory=[0])
    callback._project("actor", th.optim.SGD([one, two], lr=1.0))
    assert one.grad.tolist() == [2.0, 2.0] and two.grad.tolist() == [1.0]


@off_policy_cases
def test_what_is_learned_does_not_raise_the_loss_on_the_old_batch(case):
    """The gradients that the optimizers get have no part against the old batch's; of some the part was taken away."""
    products: dict[str, list[float]] = {}

    class Watched(AGEM):
        """Every second old loss is turned upside down, so that there is something to project."""

        sign = 1.0

        def _loss(self, part: str) -> th.Tensor:
            return self.sign * super()._loss(part)

        def _project(self, part: str, optimizer: th.optim.Optimizer, *more: Any) -> None:
            self.sign = 1.0 if len(products.get(part, [])) % 2 else -1.0
            drawn = deepcopy(th.get_rng_state())
            memory = self.model.replay_buffer.memory
            fixed = memory.sample(self.batch_size)
            memory.sample = lambda size: fixed  # both look at the same old batch
            super()._project(part, optimizer, *more)
            after = th.get_rng_state()
            th.set_rng_state(drawn)
            parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            with th.enable_grad():
                reference = th.autograd.grad(self._loss(part), parameters, allow_unused=True, materialize_grads=True)
            del memory.sample
            th.set_rng_state(after)
            product = sum(float((p.grad * r).sum()) for p, r in zip(parameters, reference, strict=True))
            products.setdefault(part, []).append(product)

    env = case.sequence_env(steps=STEPS)
    model = case.made(env, **{**REMEMBERS, "reset_replay_buffer": True, "task_warmup": 5})
    callback = Watched(batch_size=16)
    model.learn(2 * STEPS, callback=callback)
    assert products.keys() == model.scoring_losses.keys()
    for values in products.values():
        assert min(values) > -1e-4
        assert any(abs(value) < 1e-4 for value in values)  # projected
        assert any(value > 1e-3 for value in values)  # left alone


def old_batch(model: Any) -> Any:
    """What the memory gives from now on, every second step of it an end."""
    memory = model.replay_buffer.memory
    fixed = memory.sample(16)
    fixed = replace(fixed, dones=(np.arange(16) % 2).astype(np.float32).reshape(fixed.dones.shape))
    memory.sample = lambda size: fixed
    return model.replay_buffer._to_samples(fixed, None)


def optimizer_of(model: Any, part: str) -> Any:
    return getattr(model.policy, part, model.policy).optimizer


def parameters_of(optimizer: th.optim.Optimizer) -> list[th.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


@off_policy_cases
def test_the_old_losses_have_the_gradients_of_training(case):
    """Those that the optimizers get in train() with a batch, where the memory gives that batch."""
    plain = {"learning_rate": 1e-9, **({"fast_update": False} if case.cls is NBSPSAC else {})}
    sgd = {"optimizer_class": th.optim.SGD, **case.policy_kwargs}
    model: Any = case.made(case.sequence_env(steps=STEPS), **{**REMEMBERS, **plain, "policy_kwargs": sgd})
    callback = AGEM(batch_size=16)
    model.learn(STEPS + 5, callback=callback)
    for p in learned_parameters(model).values():
        p.data += 0.1 * th.randn_like(p)
    data, trained = old_batch(model), {}
    model.replay_buffer.sample = lambda *_, **__: data
    if hasattr(model.policy, "actor"):  # the same noise wherever it is drawn
        draw = model.actor.action_log_prob
        model.actor.action_log_prob = lambda observations: (th.manual_seed(0), draw(observations))[1]

    def note(part: str, optimizer: th.optim.Optimizer, *_: Any) -> None:
        trained[part] = [p.grad.clone() for p in parameters_of(optimizer)]

    found = {}
    for part in model.scoring_losses:
        optimizer = optimizer_of(model, part)
        found[part] = th.autograd.grad(callback._loss(part), parameters_of(optimizer))
        optimizer.register_step_pre_hook(partial(note, part))
    model.num_timesteps += 1000  # past the warm-up
    model.train(1, batch_size=16)
    assert trained.keys() == model.scoring_losses.keys()
    for part, gradients in trained.items():
        assert all(th.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found[part], gradients, strict=True))


@pytest.mark.known_answer
def test_the_old_loss_is_the_algorithms_own_on_what_is_remembered():
    """DQN's smooth L1 distance of Q(s, a) from r + gamma (1 - done) max Q_target(s', .)."""
    model, callback = DQN_CASE.made(DQN_CASE.sequence_env(steps=STEPS), **REMEMBERS), AGEM(batch_size=16)
    model.learn(STEPS + 5, callback=callback)
    data = old_batch(model)
    for p in model.q_net.parameters():
        p.data += 0.05
    best = model.q_net_target(data.next_observations).max(dim=1).values
    target = data.rewards[:, 0] + model.gamma * (1 - data.dones[:, 0]) * best
    q = model.q_net(data.observations).gather(1, data.actions.long())[:, 0]
    (part,) = model.scoring_losses
    assert callback._loss(part).item() == pytest.approx(th.nn.functional.smooth_l1_loss(q, target).item(), rel=1e-4)


def test_the_optimizers_step_along_what_is_left_of_the_gradients():
    lr, steps = 1e-2, []

    class Noted(AGEM):
        def _project(self, part: str, optimizer: th.optim.Optimizer, *more: Any) -> None:
            super()._project(part, optimizer, *more)
            places = [p for group in optimizer.param_groups for p in group["params"]]
            noted[optimizer] = [(p, p.detach() - lr * p.grad) for p in places]

    noted: dict[th.optim.Optimizer, list[tuple[th.Tensor, th.Tensor]]] = {}
    sgd = {"net_arch": [8], "optimizer_class": th.optim.SGD}
    model = remembering(fast_update=False, policy_kwargs=sgd, learning_rate=lr, task_warmup=5)

    def check(optimizer: Any, *_: Any) -> None:
        steps.extend(th.allclose(p, expected, atol=1e-7) for p, expected in noted.pop(optimizer, []))

    callback = Noted(batch_size=16)
    model.learn(STEPS + 1, callback=callback)
    for owner in (model.actor, model.critic):
        base = getattr(owner.optimizer, "base", owner.optimizer)
        base.register_step_post_hook(check)
        owner.optimizer.register_step_post_hook(check)
    model.learn(STEPS - 2, callback=callback, reset_num_timesteps=False)
    assert len(steps) > 20 and all(steps)


def test_nothing_changes_before_there_is_an_old_task():
    states = [remembering().learn(STEPS - 1, callback=c).policy.state_dict() for c in (None, AGEM())]
    assert all(th.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_second_task_is_learned_otherwise_than_without_it():
    states = [remembering(fast_update=False).learn(2 * STEPS, callback=c).policy.state_dict() for c in (None, AGEM(16))]
    assert not all(th.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_has_no_memory_or_rehearses_it_is_refused():
    with pytest.raises(TypeError, match="got SAC"):
        sac().learn(10, callback=AGEM())
    for wrong in ({"memory_size": 0}, {"rehearsal": "clone"}, {"replay_mode": "interval"}, {"old_task_fraction": 0.5}):
        with pytest.raises(ValueError, match="not rehearsed"):
            remembering(**wrong).learn(10, callback=AGEM())
    with pytest.raises(ValueError, match="n_steps=3"):
        remembering(n_steps=3).learn(10, callback=AGEM())
