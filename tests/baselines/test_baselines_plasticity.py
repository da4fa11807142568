"""ReDo, resets, and the lower learning rate."""

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import SETTINGS, ToyEnv, sequence_env
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from test_baselines import STEPS, discrete_env, nbspsac, rows, sac

from sb3_nbsp.baselines import LowerLearningRate, ReDo, Resets
from sb3_nbsp.baselines.parameters import fresh_parameters
from sb3_nbsp.baselines.redo import dormant, recycle
from sb3_nbsp.common import SkillNeuronCallback
from sb3_nbsp.neurons import find_networks

# ReDo


@pytest.mark.known_answer
def test_dormant_neurons_are_those_far_below_their_layers_mean():
    activations = th.tensor([[4.0, 0.0, -0.1, 0.5], [4.0, 0.0, 0.0, -1.5]])  # sizes 4, 0, 0.05, 1; their mean is 1.2625
    assert dormant(activations, 0.0).tolist() == [False, True, False, False]
    assert dormant(activations, 0.05).tolist() == [False, True, True, False]
    assert dormant(activations, 0.8).tolist() == [False, True, True, True]
    assert dormant(th.zeros(2, 3), 0.025).all()


def with_dead_neuron() -> tuple[SAC, ReDo]:
    """A trained SAC whose neuron 3 in the actor's first layer, and no other, is dormant."""
    model, callback = sac(policy_kwargs={"net_arch": [8, 8], "activation_fn": th.nn.ELU}), ReDo(period=10**9)
    model.learn(STEPS - 1, callback=callback)
    model.actor.latent_pi[0].weight.data[3] = 0.0
    model.actor.latent_pi[0].bias.data[3] = 0.0
    return model, callback


def test_a_dormant_neuron_gets_new_inputs_and_no_readers():
    model, callback = with_dead_neuron()
    before = deepcopy(model.policy.state_dict())
    moments = deepcopy(model.actor.optimizer.state_dict()["state"])
    th.manual_seed(5)
    expected = fresh_parameters(model)
    th.manual_seed(5)
    callback.model._n_updates = 10**9
    callback.on_rollout_start()

    after = model.policy.state_dict()
    first, second = "actor.latent_pi.0.", "actor.latent_pi.2.weight"
    for part in ("weight", "bias"):
        assert th.equal(after[first + part][3], expected[first + part][3])
    assert bool((after[second][:, 3] == 0).all()) and bool((before[second][:, 3] != 0).any())
    others = [i for i in range(8) if i != 3]
    unchanged = {**before, second: after[second]}
    for part in ("weight", "bias"):
        assert th.equal(after[first + part][others], before[first + part][others])
        unchanged[first + part] = after[first + part]
    assert th.equal(after[second][:, others], before[second][:, others])
    assert all(th.equal(after[name], unchanged[name]) for name in after)

    now = model.actor.optimizer.state_dict()["state"]
    names = [name for name, _ in model.actor.named_parameters()]
    weight, reader = names.index("latent_pi.0.weight"), names.index("latent_pi.2.weight")
    for key in ("exp_avg", "exp_avg_sq"):
        assert bool((now[weight][key][3] == 0).all()) and bool((now[reader][key][:, 3] == 0).all())
        assert th.equal(now[weight][key][others], moments[weight][key][others])
        assert bool((moments[reader][key][:, others] != 0).any())
    assert now[weight]["step"] == moments[weight]["step"]


def test_silent_neurons_are_recycled_without_changing_what_the_network_does():
    model, callback = with_dead_neuron()
    observations = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    before = model.predict(observations, deterministic=True)[0]
    callback.model._n_updates = 10**9
    callback.on_rollout_start()
    assert np.array_equal(before, model.predict(observations, deterministic=True)[0])


@pytest.mark.parametrize("make", [sac, nbspsac, "ppo", "dqn"])
def test_neurons_are_recycled_every_so_many_gradient_steps(make):
    settings: dict[str, Any] = {"seed": 1, "policy_kwargs": {"net_arch": [8]}}
    if make == "ppo":
        model: Any = PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=20, batch_size=10, n_epochs=10, **settings)
    elif make == "dqn":
        model = DQN("MlpPolicy", discrete_env(), learning_starts=20, train_freq=1, **settings)
    else:
        model = make()
    at = []

    class Counted(ReDo):
        def _recycle_dormant(self, observations: Any, actions: np.ndarray) -> None:
            at.append((self.model._n_updates, len(observations)))
            super()._recycle_dormant(observations, actions)

    model.learn(2 * STEPS, callback=[Counted(period=30, tau=0.5), *([SkillNeuronCallback()] if make is nbspsac else [])])
    assert [updates for updates, _ in at] == [n for n in range(30, model._n_updates, 30)]
    if make == "ppo":
        assert {n for _, n in at} == {20}  # all of its last rollout
    assert 0 < model.logger.name_to_value.get("baselines/dormant_share", 0.1) <= 1


def test_dormant_neurons_are_looked_for_in_what_the_policy_sees():
    """With VecNormalize that is not what the buffer holds."""
    model, seen = sac(), []
    model.set_env(VecNormalize(sequence_env(steps=STEPS)))

    class Noted(ReDo):
        def _recycle_dormant(self, observations: Any, actions: np.ndarray) -> None:
            normalised = self.model.get_vec_normalize_env().normalize_obs(self.model.replay_buffer.observations[:, 0])
            seen.append(rows(observations.numpy()) <= rows(normalised.astype(np.float32)))

    model.learn(STEPS - 1, callback=Noted(period=10))
    assert seen == [True]


def test_a_channel_is_read_by_all_its_pixels():
    class Pixels(ToyEnv):
        def __init__(self) -> None:
            super().__init__(gym.spaces.Box(0, 255, (44, 44, 1), np.uint8))
            self.action_space = gym.spaces.Discrete(2)

    model = DQN(
        "CnnPolicy", make_vec_env(Pixels), buffer_size=10, policy_kwargs={"features_extractor_kwargs": {"features_dim": 5}}
    )
    layer = find_networks(model.policy)[0].layers[2]  # the last convolution, which is flattened
    (reader,) = layer.readers
    before = reader.parameter.detach().clone()
    fresh = {p: th.full_like(p, 7.0) for p in model.policy.parameters()}
    recycle(model, layer, th.tensor([1, 4]), fresh)
    pixels = before.reshape(5, layer.n_neurons, reader.span)
    pixels[:, [1, 4]] = 0.0
    assert reader.span == 4  # 2 x 2 pixels
    assert th.equal(reader.parameter, pixels.reshape(before.shape))
    assert bool((layer.own[0][[1, 4]] == 7).all()) and bool((layer.own[0][0] != 7).all())


# Resets


def snapshot(model: Any) -> dict[str, th.Tensor]:
    return deepcopy({name: p.detach() for name, p in model.policy.named_parameters()})


def changed(before: dict[str, th.Tensor], after: dict[str, th.Tensor]) -> set[str]:
    return {name for name in before if not th.equal(before[name], after[name])}


class Watched(Resets):
    """Notes which parameters a reset changes, and what the optimizers know after it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.resets: list[tuple[int, set[str], set[str]]] = []

    def reset(self) -> None:
        before = snapshot(self.model)
        super().reset()
        names = {p: name for name, p in self.model.policy.named_parameters()}
        known = {*self.model.actor.optimizer.state, *self.model.critic.optimizer.state}
        self.resets.append((self.model.num_timesteps, changed(before, snapshot(self.model)), {names[p] for p in known}))
        online, target = self.model.critic.state_dict(), self.model.critic_target.state_dict()
        self.in_step = {name for name in online if th.equal(online[name], target[name])}


def test_networks_are_reset_as_a_whole():
    model, callback = sac(ent_coef="auto_0.5"), Watched(period=50)
    model.learn(120, callback=callback)
    assert [at for at, _, _ in callback.resets] == [50, 100]
    assert callback.resets[0][1:] == (set(snapshot(model)), set())
    assert len(callback.in_step) == len(model.critic.state_dict())
    model.log_ent_coef.data.fill_(3.0)
    assert model.ent_coef_optimizer.state
    callback.reset()
    assert model.log_ent_coef.item() == pytest.approx(np.log(0.5)) and not model.ent_coef_optimizer.state
    assert model.replay_buffer.size() == 120


def test_last_layers_are_reset_at_task_ends():
    model, callback = sac(), Watched(period=None, at_task_end=True, n_layers=1)
    model.learn(2 * STEPS + 5, callback=callback)
    heads = {f"actor.{head}.{p}" for head in ("mu", "log_std") for p in ("weight", "bias")}
    heads |= {f"{critic}.qf{i}.4.{p}" for critic in ("critic", "critic_target") for i in (0, 1) for p in ("weight", "bias")}
    assert [at for at, _, _ in callback.resets] == [STEPS, 2 * STEPS]  # five steps into the third visit
    assert all(names == heads for _, names, _ in callback.resets)
    assert all(known.isdisjoint(heads) and known for _, _, known in callback.resets)
    assert callback.in_step == {name for name in model.critic.state_dict() if ".4." in name}


def test_what_was_learned_last_is_there_until_a_training_goes_on(tmp_path):
    """Saved and played after the end of the sequence; a training that goes on with it, from a file too, begins anew."""
    model, callback = sac(), Watched(period=None, at_task_end=True)
    model.learn(4 * STEPS, callback=callback)
    assert [at for at, _, _ in callback.resets] == [STEPS, 2 * STEPS, 3 * STEPS]
    model.save(tmp_path / "model")
    again, callback = SAC.load(tmp_path / "model", sequence_env(steps=STEPS)), Watched(period=None, at_task_end=True)
    again.learn(5, callback=callback, reset_num_timesteps=False)
    assert [(at, bool(names)) for at, names, _ in callback.resets] == [(4 * STEPS, True)]


def test_a_reset_at_the_checkpoint_gone_on_from_is_made_again():
    """A checkpoint is written before the rollout that it stands at: what happened there afterwards was lost."""
    model, callback = sac(), Watched(period=50)

    class Killed(BaseCallback):
        def _on_rollout_start(self) -> None:
            if self.model.num_timesteps == 50:
                raise InterruptedError

        def _on_step(self) -> bool:
            return True

    with pytest.raises(InterruptedError):
        model.learn(120, callback=[Killed(), callback])
    assert not callback.resets
    model.learn(70, callback=callback, reset_num_timesteps=False)
    assert [at for at, _, _ in callback.resets] == [50, 100]


def test_no_two_seeds_draw_the_same_networks():
    """Not seed 0 at the end of its second task what seed 1 draws at the end of its first."""
    drawn = []
    for seed in (0, 1):
        model, callback = sac(seed=seed), Watched(period=None, at_task_end=True)
        model.learn(0, callback=callback)
        for ended in ([], ["east"]):
            callback.state["ended"] = ended
            with callback.own_rng():
                callback.reset()
            drawn.append(model.actor.mu.weight.flatten().tolist())
    assert len({tuple(values) for values in drawn}) == 4


def test_one_network_is_reset():
    model, callback = sac(), Watched(period=40, n_layers=2, networks="critic")
    model.learn(45, callback=callback)
    expected = {n for n in snapshot(model) if n.startswith("critic") and ("qf0.0." not in n and "qf1.0." not in n)}
    assert callback.resets[0][1] == expected


def test_initial_values_are_the_policys_own():
    """PPO's output layer begins with small orthogonal weights."""
    model = PPO("MlpPolicy", sequence_env(steps=STEPS), n_steps=20, batch_size=20)
    fresh = fresh_parameters(model)
    assert float(fresh["action_net.weight"].norm(dim=1).max()) == pytest.approx(0.01, rel=1e-4)
    assert fresh.keys() == snapshot(model).keys() and len(changed(snapshot(model), fresh)) > 4


# Learning rate


def rate(model: Any) -> float:
    return model.actor.optimizer.param_groups[0]["lr"]


@pytest.mark.filterwarnings("ignore:The current task's transitions")
@pytest.mark.parametrize("make", [sac, nbspsac], ids=["sac", "nbspsac"])
def test_the_learning_rate_is_lower_after_the_first_task_and_stays_so(make, tmp_path):
    extra = [SkillNeuronCallback()] if make is nbspsac else []
    model = make(learning_rate=lambda progress: 1e-3)
    model.learn(STEPS - 1, callback=[LowerLearningRate(0.2), *extra])
    assert rate(model) == 1e-3
    for _ in range(2):  # a new callback does not lower it once more
        model.learn(STEPS, callback=[LowerLearningRate(0.2), *extra], reset_num_timesteps=False)
        assert rate(model) == pytest.approx(2e-4)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", env=sequence_env(steps=STEPS))
    loaded.learn(30, callback=[LowerLearningRate(0.2), *extra], reset_num_timesteps=False)
    assert rate(loaded) == pytest.approx(2e-4)


def test_settings_are_left_as_they_were():
    model = SAC("MlpPolicy", sequence_env(steps=STEPS), **deepcopy(SETTINGS))
    schedule = model.lr_schedule
    model.learn(2 * STEPS, callback=LowerLearningRate())
    assert model.lr_schedule is schedule
