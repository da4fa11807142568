"""NBSPDQN, NBSPQRDQN and NBSPTQC: what holds for NBSPSAC holds for them."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, HORIZON, VECTORS, ToyEnv, same
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env

from sb3_nbsp import NBSPDQN, NBSPQRDQN, NBSPTQC
from sb3_nbsp.neurons.scores import SCORES

CLASSES = [
    pytest.param(NBSPDQN, DQN, id="dqn"),
    pytest.param(NBSPQRDQN, QRDQN, id="qrdqn"),
    pytest.param(NBSPTQC, TQC, id="tqc"),
]
FROZEN = {"mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True, "skill_fraction": 1.0}

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


class DiscreteToyEnv(ToyEnv):
    """The toy env with two actions: act and rest."""

    def __init__(self, observation_space: spaces.Space):
        super().__init__(observation_space)
        self.action_space = spaces.Discrete(2)

    def step(self, action):
        return super().step(np.array([1.5, 0.0] if action else [-1.5, 0.0]))


def settings(cls, **kwargs):
    policy_kwargs = {"net_arch": [8, 8], **({} if cls in (DQN, NBSPDQN) else {"n_quantiles": 5})}
    common = {"learning_starts": 20, "batch_size": 16, "buffer_size": 500, "seed": 1, "policy_kwargs": policy_kwargs}
    greedy = {"train_freq": 2, "target_update_interval": 20} if "DQN" in cls.__name__ else {}
    nbsp = {"scoring_steps": 60, "memory_size": 50} if cls.__name__.startswith("NBSP") else {}
    return {**common, **greedy, **nbsp, **kwargs}


def sequence_env(cls, n_envs=1):
    kwargs = {"steps_per_task": 60, "horizon": HORIZON, "n_envs": n_envs, "discrete": "DQN" in cls.__name__}
    return make_vec_env("sb3_nbsp/PointGoal-v0", n_envs, env_kwargs=kwargs)


def plain_env(cls, space=VECTORS["one"]):
    return (DiscreteToyEnv if "DQN" in cls.__name__ else ToyEnv)(space)


def state(model):
    optimizers = [parameters for name, parameters in model.get_parameters().items() if "optim" in name]
    return dict(model.policy.state_dict()), optimizers


def online_parameters(model):
    return {name: p for name, p in model.policy.named_parameters() if "target" not in name}


@pytest.mark.parametrize(("ours", "parent"), CLASSES)
@pytest.mark.parametrize("case", ["mlp", "cnn", "dict", "n_envs", "n_steps"])
def test_identity(ours, parent, case):
    space = {"cnn": CHANNEL_FIRST_IMAGE, "dict": VECTORS}.get(case, VECTORS["one"])
    policy = {"cnn": "CnnPolicy", "dict": "MultiInputPolicy"}.get(case, "MlpPolicy")
    models = []
    for cls in (parent, ours):
        env = make_vec_env(lambda cls=cls: plain_env(cls, space), 4 if case == "n_envs" else 1)
        model = cls(policy, env, **settings(cls, n_steps=3 if case == "n_steps" else 1))
        models.append(model.learn(60 if case == "cnn" else 2000))
    assert models[0]._n_updates > 15
    assert same(state(models[0]), state(models[1]))
    assert same(models[0].replay_buffer.actions, models[1].replay_buffer.actions)


@pytest.mark.parametrize(("ours", "parent"), CLASSES)
def test_identity_over_a_switch_with_everything_off(ours, parent):
    off = {"skill_fraction": 0.0, "memory_size": 0, "reset_replay_buffer": False}
    off |= {"schedules_per_task": False} if "DQN" in ours.__name__ else {"reset_ent_coef": False}
    plain = parent("MlpPolicy", sequence_env(ours), **settings(parent)).learn(150)
    assert same(state(plain), state(ours("MlpPolicy", sequence_env(ours), **settings(ours, **off)).learn(150)))


@pytest.mark.parametrize(("ours", "parent"), CLASSES)
@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_frozen_networks_stay_as_they_are_over_a_save(ours, parent, mask_target, tmp_path):
    model = ours("MlpPolicy", sequence_env(ours), **settings(ours, mask_target=mask_target, **FROZEN)).learn(70)
    before = {name: p.detach().clone() for name, p in online_parameters(model).items()}
    model.save(tmp_path / "model")
    model = ours.load(tmp_path / "model", env=sequence_env(ours)).learn(50, reset_num_timesteps=False)
    assert model.learned_tasks == ["east", "west"] and model._n_updates > 10
    assert same({name: p.detach() for name, p in online_parameters(model).items()}, before)


@pytest.mark.parametrize(("ours", "parent"), CLASSES)
@pytest.mark.parametrize("score", SCORES)
def test_every_score(ours, parent, score):
    model = ours("MlpPolicy", sequence_env(ours), **settings(ours, score=score)).learn(70)
    assert model.learned_tasks == ["east"] and model.neuron_masks.free_share() < 1


@pytest.mark.parametrize(("ours", "parent"), CLASSES)
def test_channels_are_scored_and_held(ours, parent):
    model = ours(
        "CnnPolicy", plain_env(ours, CHANNEL_FIRST_IMAGE), **settings(ours, scoring_steps=20, score="activity")
    ).learn(40)
    skill = model.consolidate(plain_env(ours, CHANNEL_FIRST_IMAGE), "A")
    convolution = next(name for name in skill.layers if "features_extractor" in name)
    assert len(skill.layers[convolution].scores) == 32
    model.learn(40, reset_num_timesteps=False)
    assert (model.policy if "DQN" in ours.__name__ else model.critic).optimizer.is_masking


@pytest.mark.parametrize(("ours", "parent"), CLASSES)
def test_from_sb3_and_wrong_files(ours, parent, tmp_path):
    plain = parent("MlpPolicy", sequence_env(ours), **settings(parent)).learn(40)
    new = ours.from_sb3(plain, memory_size=7)
    assert same(state(plain)[0], state(new)[0]) and new.replay_buffer.size() == 40
    new.learn(40, reset_num_timesteps=False)
    assert new.learned_tasks == ["east"] and len(new.replay_buffer.memory) == 7
    plain.save(tmp_path / "plain")
    with pytest.raises(ValueError, match="was not saved by"):
        ours.load(tmp_path / "plain")


@pytest.mark.parametrize("ours", [NBSPDQN, NBSPQRDQN])
def test_epsilon_follows_each_task(ours):
    model = ours("MlpPolicy", sequence_env(ours), **settings(ours, exploration_fraction=0.5, exploration_final_eps=0.0))
    rates = []
    model.learn(120, callback=lambda *_: rates.append(model.exploration_rate) is None)
    # In step i the callback sees the rate that step i - 1 left behind: falling from 1 to 0 over half of each task.
    assert [round(rates[i], 2) for i in (1, 15, 30, 59, 60, 75, 90, 119)] == [0.97, 0.5, 0, 0, 1, 0.5, 0, 0]


@pytest.mark.parametrize("ours", [NBSPDQN, NBSPQRDQN])
def test_epsilon_follows_each_learn_by_hand(ours):
    model = ours("MlpPolicy", plain_env(ours), **settings(ours, exploration_fraction=0.5, exploration_final_eps=0.0)).learn(60)
    assert model.exploration_rate == 0
    model.consolidate(plain_env(ours), "A")
    model.learn(60, reset_num_timesteps=False, callback=lambda *_: model.num_timesteps < 75)
    assert 0.5 <= model.exploration_rate < 0.6


@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_what_is_held_does_not_use_up_the_clipped_norm(mask_target):
    model = NBSPDQN("MlpPolicy", plain_env(NBSPDQN), **settings(NBSPDQN, mask_target=mask_target)).learn(40)
    layer = model.neuron_masks.networks[0].layers[0]
    model.neuron_masks.hold(0, {layer.name: (th.arange(8) == 3).float()})
    model._apply_masks()
    model.policy.optimizer.zero_grad()
    model.q_net(th.randn(64, 3)).sum().backward()
    gradient = layer.own[0].grad
    assert gradient[3].abs().sum() > 0 and not gradient[:3].any() and not gradient[4:].any()
