"""NBSPPPO as a whole. What is particular to its memory stands in test_rollouts.py, to cloning in test_cloning.py."""

from functools import partial

import pytest
import torch as th
from gymnasium import spaces
from helpers import CHANNEL_FIRST_IMAGE, VECTORS, AnyActionEnv, copied, same, sequence_env, task_env, toy_sequence_env
from helpers.outcomes import random_states
from helpers.ppo_models import CNN, FROZEN, SMALL, made, quiet, saved_and_loaded, weights
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_nbsp import NBSPPPO
from sb3_nbsp.neurons.scores import SCORES
from sb3_nbsp.rehearsal import MixedDictRolloutBuffer, MixedRolloutBuffer

pytestmark = quiet


# Masks


NETWORKS = {
    "mlp": {},
    "gsde": {"use_sde": True},
    "shared-cnn": {"policy_kwargs": CNN},
    "two-cnns": {"policy_kwargs": {**CNN, "share_features_extractor": False}},
    "cnn-default": {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 8}}},
}


def images_or_points(networks: str) -> tuple:
    if "cnn" not in networks:
        return "MlpPolicy", partial(sequence_env, cycles=2)
    return "CnnPolicy", partial(toy_sequence_env, space=CHANNEL_FIRST_IMAGE, cycles=2)


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("mask_target, rehearsal", [("update", "clone"), ("gradient", "clip")])
def test_frozen_networks_stay_as_they_are(networks, mask_target, rehearsal, tmp_path):
    """Over further tasks and a file, while old samples are rehearsed; of the parameters only log_std moves."""
    policy, make_env = images_or_points(networks)
    settings = {**NETWORKS[networks], "mask_target": mask_target, "rehearsal": rehearsal, "replay_interval": 1}
    model = made(make_env(), policy, **FROZEN, **settings, learning_rate=0.01).learn(64)
    before = weights(model)
    model.learn(32, reset_num_timesteps=False)
    model = saved_and_loaded(model, make_env()).learn(96, reset_num_timesteps=False)
    after = weights(model)
    assert model.learned_tasks in (["east", "west"], ["a", "b"]) and len(model.rollout_buffer.memory) > 0
    assert same(before.pop("log_std"), after.pop("log_std")) == (networks == "gsde")
    assert [name for name in before if not th.equal(before[name], after[name])] == []


@pytest.mark.parametrize("networks", ["shared-cnn", "two-cnns"])
def test_each_parameter_is_masked_once_and_the_optimizer_is_sb3s(networks):
    policy, make_env = images_or_points(networks)
    model = saved_and_loaded(made(make_env(), policy, **FROZEN, **NETWORKS[networks]).learn(128), make_env())
    optimizer, parameters = model.policy.optimizer, dict(model.policy.named_parameters())
    free = parameters.pop("log_std")
    assert {id(p) for p in optimizer._held} == {id(p) for p in parameters.values()} and len(optimizer._held) == len(parameters)
    assert {len(p._post_accumulate_grad_hooks) for p in optimizer._held} == {1} and not free._post_accumulate_grad_hooks
    assert type(optimizer.base) is th.optim.Adam and optimizer.param_groups[0]["eps"] == 1e-5


@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_what_is_held_does_not_use_up_the_clipped_norm(mask_target, monkeypatch):
    """Neither in PPO's steps nor in those of cloning."""
    model = made(mask_target=mask_target, select_among="active", mask_coef=0.0, replay_interval=1).learn(64)
    factors = model.neuron_masks.parameter_factors()
    held = {name: factors[p] == 0 for name, p in model.policy.named_parameters() if p in factors}
    seen, clip = [], th.nn.utils.clip_grad_norm_

    def spying(parameters, max_norm):
        gradients = {name: p.grad for name, p in model.policy.named_parameters() if p.grad is not None}
        seen.append((any(gradients[name][where].any() for name, where in held.items()), max_norm))
        return clip(parameters, max_norm)

    monkeypatch.setattr(th.nn.utils, "clip_grad_norm_", spying)
    model.learn(16, reset_num_timesteps=False)
    assert held and set(seen) == {(False, 0.5)} and len(seen) == 8  # 4 + 4


# Scoring


@pytest.mark.parametrize("score, networks", [*((score, "mlp") for score in SCORES), *(("taylor", n) for n in NETWORKS)])
def test_every_score(score, networks):
    policy, make_env = images_or_points(networks)
    model = made(make_env(), policy, score=score, **NETWORKS[networks]).learn(60)
    counts = next(iter(model.skill_neurons.values())).counts()
    expected = {"shared-cnn": {"features_extractor", "policy", "value"}, "cnn-default": {"features_extractor"}}
    assert set(counts) == expected.get(networks, {"policy", "value"})
    assert all(row["chosen"] == round(0.2 * row["neurons"]) for row in counts.values())


MANY = [spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(3), spaces.Box(-1.0, 1.0, (2, 3))]


@pytest.mark.parametrize("space", MANY, ids=["discrete", "multi-discrete", "multi-binary", "matrix"])
@pytest.mark.parametrize("rehearsal", ["clone", "clip"])
def test_every_action(space, rehearsal):
    model = made(AnyActionEnv(space), score="taylor", rehearsal=rehearsal, replay_interval=1).learn(32)
    model.consolidate(AnyActionEnv(space), "a")
    model.learn(32, reset_num_timesteps=False)
    model.consolidate(AnyActionEnv(space), "b")
    assert [len(samples) for samples in model.rollout_buffer.memory._tasks.values()] == [32, 32]


@pytest.mark.parametrize("score", ["published", "taylor", "random"])
@pytest.mark.parametrize("use_sde", [False, True])
def test_consolidation_draws_nothing_from_training(score, use_sde):
    model = made(score=score, use_sde=use_sde, reset_log_std=False).learn(48)

    def state():
        noise = [model.policy.action_dist.exploration_mat.clone()] if use_sde else []
        gradients = [copied(p.grad) for p in model.policy.parameters()]
        return random_states(model), weights(model), gradients, model._last_obs.copy(), noise

    before = state()
    model.consolidate(task_env(), "east")
    assert same(state(), before)


def test_consolidation_before_any_learning():
    model = made(task_env())
    assert model.consolidate(task_env(), "east").n_steps == 40 and len(model.rollout_buffer.memory) == 0
    model.learn(32)


class Normalised(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.flatten = th.nn.Sequential(th.nn.Flatten(), th.nn.BatchNorm1d(self.features_dim))


@pytest.mark.parametrize("skill_fraction", [0.0, 0.2])
def test_consolidation_leaves_batch_statistics_alone(skill_fraction):
    kwargs = {"policy_kwargs": {"net_arch": [8], "features_extractor_class": Normalised}, "reset_log_std": False}
    model = made(make_vec_env(task_env, 2), skill_fraction=skill_fraction, **kwargs).learn(64)
    before = weights(model)
    model.consolidate(task_env(), "east")
    assert same(weights(model), before)


# Standard deviation and schedules


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("use_sde", [True, False])
def test_reset_of_the_standard_deviation(reset, use_sde):
    kwargs = {"net_arch": [8], "log_std_init": -1.0}
    model = made(task_env(), reset_log_std=reset, use_sde=use_sde, learning_rate=0.01, policy_kwargs=kwargs).learn(64)
    learned = model.policy.log_std.detach().clone()
    model.consolidate(task_env(), "east")
    is_reset = reset and not use_sde
    assert (learned != -1).all() and th.equal(model.policy.log_std, learned)  # the model may be used now
    model, seen = saved_and_loaded(model, task_env()), []
    model.learn(16, lambda *_: seen.append(model.policy.log_std.detach().clone()) is None, reset_num_timesteps=False)
    assert th.equal(seen[0], th.full_like(learned, -1.0) if is_reset else learned)
    assert not th.equal(model.policy.log_std, seen[0])


@pytest.mark.parametrize("reset", [True, False])
def test_a_reset_within_a_rollout_does_not_cost_its_update(reset):
    """What the old standard deviation did looks far off under the new one: target_kl would end the update at once."""
    model = made(n_steps=40, batch_size=20, target_kl=0.05, reset_log_std=reset, skill_fraction=0.0).learn(40)
    model.policy.log_std.data.fill_(-1.5)
    before = weights(model)
    model.learn(40, reset_num_timesteps=False)  # the switch is at 60
    assert model.learned_tasks == ["east"]
    assert not th.equal(weights(model)["action_net.weight"], before["action_net.weight"])


class Rates(NBSPPPO):
    """Notes the learning rate of every update."""

    def train(self):
        super().train()
        self.__dict__.setdefault("rates", []).append(round(self.policy.optimizer.param_groups[0]["lr"], 4))


@pytest.mark.known_answer
@pytest.mark.parametrize("n_steps, expected", [(16, [44, 28, 12, 0] * 2), (20, [40, 20, 0] * 2), (60, [0, 0])])
def test_learning_rate_follows_each_task(n_steps, expected):
    model = Rates("MlpPolicy", sequence_env(cycles=1), **{**SMALL, "n_steps": n_steps}, learning_rate=lambda p: p).learn(120)
    assert model.rates == [round(rest / 60, 4) for rest in expected]


@pytest.mark.known_answer
def test_learning_rate_follows_each_learn_by_hand_or_the_whole_run():
    """A task's second ``learn()`` goes on where its first one ended, as SB3's does; one that counts anew begins anew."""
    for per_task, expected in ((True, [0.5, 0.0, 0.5, 0.0, 0.25, 0.0]), (False, [0.5, 0.0, 0.25, 0.0, 0.1667, 0.0])):
        model = Rates("MlpPolicy", task_env(), learning_rate=lambda p: p, schedules_per_task=per_task, **SMALL).learn(32)
        model.consolidate(task_env(), "east")
        model.learn(32, reset_num_timesteps=False).learn(32, reset_num_timesteps=False)
        assert model.rates == expected
        assert model.learn(32).rates[-2:] == [0.5, 0.0]


# Arguments


WRONG = {"rehearsal": "mix", "replay_mode": "mix", "memory_size": 10.0, "replay_interval": 0, "old_task_fraction": 1.5}


@pytest.mark.parametrize("name, value", WRONG.items())
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*got {value!r}"):
        made(task_env(), **{name: value})


class OwnBuffer(RolloutBuffer):
    pass


class OwnMixedBuffer(MixedRolloutBuffer):
    pass


def test_rollout_buffer_classes():
    model, words = (
        made(rollout_buffer_class=OwnBuffer),
        r"OwnBuffer keeps nothing of old tasks.*MixedRolloutBuffer, or memory_size=0",
    )
    with pytest.raises(ValueError, match=words):
        model.learn(64)
    with pytest.raises(ValueError, match=words):
        model.consolidate(task_env(), "east")
    model = made(rollout_buffer_class=OwnBuffer, memory_size=0).learn(70)
    assert model.learned_tasks == ["east"] and type(model.rollout_buffer) is OwnBuffer
    assert saved_and_loaded(model).learned_tasks == ["east"]
    assert len(made(rollout_buffer_class=OwnMixedBuffer).learn(70).rollout_buffer.memory) == 50
    assert type(made(AnyActionEnv(observation_space=VECTORS), "MultiInputPolicy").rollout_buffer) is MixedDictRolloutBuffer


def test_in_subprocesses():
    kwargs = {"steps_per_task": 60, "horizon": 10, "n_envs": 2}
    env = make_vec_env("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0", 2, env_kwargs=kwargs, vec_env_cls=SubprocVecEnv)
    model = made(env).learn(128)
    env.close()
    assert model.learned_tasks == ["east", "west"] and len(model.rollout_buffer.memory._tasks[0]) == 50
