"""Plasticity injection: nothing changes at the injection, and later exactly what the expression says."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch as th
from helpers import copied, same, sequence_env
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from test_baselines import STEPS, discrete_env, nbspsac, sac

from sb3_nbsp import NBSPSAC
from sb3_nbsp.baselines import PlasticityInjection, injected
from sb3_nbsp.baselines.parameters import optimizers
from sb3_nbsp.baselines.plasticity_injection import heads
from sb3_nbsp.evaluation.contexts import playing

X = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)


def ppo() -> PPO:
    return PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=20, batch_size=10, seed=1)


def dqn() -> DQN:
    return DQN("MlpPolicy", discrete_env(), learning_starts=10, train_freq=1, target_update_interval=20, seed=1)


def outputs(model: Any) -> list[th.Tensor]:
    """What every network puts out, target networks too."""
    policy, x = model.policy, th.as_tensor(X[:, : model.observation_space.shape[0]])
    with th.no_grad():
        if isinstance(model, PPO):
            distribution = policy.get_distribution(x).distribution
            return [distribution.mean, policy.predict_values(x)]
        if isinstance(model, DQN):
            return [policy.q_net(x), policy.q_net_target(x)]
        actions = th.zeros(len(x), 2)
        mean, log_std, _ = policy.actor.get_action_dist_params(x)
        return [mean, log_std, *policy.critic(x, actions), *policy.critic_target(x, actions)]


class Watched(PlasticityInjection):
    """Compares the outputs before and after an injection, and notes what is frozen and what begins."""

    def on_task_end(self, task: str) -> None:
        before, n = outputs(self.model), len(self.state["injections"])
        super().on_task_end(task)
        begins = {p for name, p in self.model.policy.named_parameters() if name in self.state["injections"][-1]["new"]}
        assert n == len(self.state["injections"]) or not any(
            p in optimizer.state for p in begins for optimizer in optimizers(self.model)
        )
        self._put_in_force()
        after = outputs(self.model)
        self.pairs = [*getattr(self, "pairs", []), *zip(before, after, strict=True)]
        self.begun = copied(self.model.policy.state_dict())


Watched.__name__ = "PlasticityInjection"


@pytest.mark.parametrize("make", [sac, nbspsac, ppo, dqn])
def test_an_injection_changes_no_output_and_all_parameters(make):
    model, callback = make(), Watched()
    model.learn(3 * STEPS + 5, callback=callback)
    assert len(callback.state["injections"]) == 3
    online = {"sac": 4, "nbspsac": 4}.get(make.__name__, 2 if make is ppo else 1)  # targets lag behind what they follow
    n = len(callback.pairs) // 3
    for i, (before, after) in enumerate(callback.pairs):
        if i % n < online:
            assert th.allclose(before, after, atol=1e-5)
        else:  # a target begins where the network is that it follows, with all that is frozen
            assert th.allclose(callback.pairs[i - (n - online)][1], after, atol=1e-5)
    for injection in callback.state["injections"]:
        assert all(
            not th.equal(injection["old"][name], injection["new"][name]) for name in injection["old"] if "weight" in name
        )


@pytest.mark.known_answer
def test_what_is_put_out_is_what_the_expression_says():
    model, callback = sac(policy_kwargs={"net_arch": [5]}), PlasticityInjection(n_injections=1)
    model.learn(2 * STEPS, callback=callback)
    (injection,) = callback.state["injections"]

    def network(values: Any, x: th.Tensor) -> th.Tensor:
        hidden = (x @ values["critic.qf0.0.weight"].T + values["critic.qf0.0.bias"]).clamp(min=0)
        return hidden @ values["critic.qf0.2.weight"].T + values["critic.qf0.2.bias"]

    learned = {name: p.detach() for name, p in model.policy.named_parameters()}
    x = th.cat([th.as_tensor(X[:, : model.observation_space.shape[0]]), th.zeros(7, 2)], dim=1)
    expected = network(injection["old"], x) + network(learned, x) - network(injection["new"], x)
    assert not th.allclose(network(learned, x), network(injection["new"], x))  # it has learned since
    with injected(model):
        assert th.allclose(outputs(model)[2], expected, atol=1e-5)
        # What reads the gradients of a critic's actions, or of its features, gets those of all parts.
        x.requires_grad_()
        found = th.autograd.grad(model.critic.qf0(x).sum(), x)[0]
        whole = network(injection["old"], x) + network(learned, x) - network(injection["new"], x)
        assert th.allclose(found, th.autograd.grad(whole.sum(), x)[0], atol=1e-5)
        x.requires_grad_(False)
    assert th.allclose(outputs(model)[2], network(learned, x), atol=1e-6)  # at rest only the newest plays


def test_what_is_frozen_stays_and_target_networks_follow_the_new_part():
    model, callback = sac(), Watched(n_injections=1)
    model.learn(STEPS + 20, callback=callback)
    frozen = deepcopy(callback.state["injections"])
    begun = callback.begun
    for name in ("critic.qf0.0.weight", "critic_target.qf0.0.weight", "actor.mu.weight"):
        assert not th.equal(begun[name], model.policy.state_dict()[name])
    assert th.equal(begun["critic.qf0.0.weight"], begun["critic_target.qf0.0.weight"])
    model.learn(20, callback=Watched(n_injections=1), reset_num_timesteps=False)
    assert same(model.baseline_states["PlasticityInjection"]["injections"], frozen)


def test_a_loaded_model_plays_and_learns_on_as_it_did(tmp_path):
    model, callback = nbspsac(), PlasticityInjection()
    model.learn(2 * STEPS, callback=callback)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=sequence_env(steps=STEPS))
    with playing(model, "east"):
        expected = outputs(model)
    with playing(loaded, "west"):
        assert same(outputs(loaded), expected)
    loaded.learn(STEPS, callback=PlasticityInjection(), reset_num_timesteps=False)
    assert len(loaded.baseline_states["PlasticityInjection"]["injections"]) == 3
    assert not any(part._forward_hooks for part in loaded.policy.modules())  # in force in trainings only


def test_evaluations_within_training_do_not_add_it_twice():
    model, callback = sac(), Watched()
    model.learn(STEPS + 5, callback=callback)
    started = model._setup_learn(10, callback, reset_num_timesteps=False)[1]
    started.on_training_start({}, {})
    before = outputs(model)
    with playing(model, "east"):
        assert same(outputs(model), before)
    assert same(outputs(model), before)
    started.on_training_end()
    assert not same(outputs(model), before)


def test_all_networks_are_found_and_what_does_not_fit_is_refused():
    assert [head.body for head in heads(sac().policy)] == ["actor.latent_pi", "critic.qf0", "critic.qf1"]
    assert [head.body for head in heads(dqn().policy)] == ["q_net.q_net"]
    assert [head.outputs for head in heads(ppo().policy)] == [("action_net",), ("value_net",)]
    with pytest.raises(TypeError, match="got ReLU"):
        heads(th.nn.ReLU())
    for cls in (TD3, DDPG):  # a sum of squashed actions would leave the action space
        with pytest.raises(TypeError, match="squashed already"):
            cls("MlpPolicy", sequence_env(steps=STEPS)).learn(5, callback=PlasticityInjection())
    with pytest.raises(ValueError, match="gSDE"):
        SAC("MlpPolicy", sequence_env(steps=STEPS), use_sde=True).learn(5, callback=PlasticityInjection())
    with pytest.raises(ValueError, match="n_injections"):
        PlasticityInjection(n_injections=0)
