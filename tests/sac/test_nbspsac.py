"""NBSPSAC as a whole: over task switches, with all kinds of observations, scores and envs to score on."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import (
    CHANNEL_FIRST_IMAGE,
    HORIZON,
    IMAGE,
    VECTOR,
    VECTORS,
    ToyEnv,
    same,
    sequence_env,
    task_env,
    toy_sequence_env,
)
from helpers.sac_models import (
    EAST,
    FROZEN,
    STEPS,
    Counting,
    after_east,
    go_on_with_west,
    held_positions,
    made,
    saved_and_loaded,
    values_at,
    ways,
    weights,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_nbsp.neurons import SkillNeurons
from sb3_nbsp.neurons.rollout import scoring_rollout
from sb3_nbsp.neurons.scores import SCORES

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


@ways
@pytest.mark.parametrize("mask_target", ["update", "gradient"])
def test_held_parameters_do_not_move(way, mask_target):
    model = after_east(way, mask_target=mask_target, **FROZEN)
    assert model.learned_tasks == ["east"] and model.neuron_masks.free_share() < 1
    positions = held_positions(model)
    assert {name.split(".")[0] for name in positions} == {"actor", "critic"}
    before, all_before = values_at(model, positions), weights(model)
    go_on_with_west(model, way, 45)
    assert same(values_at(model, positions), before)

    env = task_env("west") if way == "by hand" else sequence_env(cycles=2)
    loaded = saved_and_loaded(model, env)
    assert same(values_at(loaded, positions), before)
    loaded.learn(70, reset_num_timesteps=False)  # over the next switch
    assert same(values_at(loaded, positions), before)
    assert not same(weights(loaded), all_before)
    assert loaded.actor.optimizer.is_masking and loaded.critic.optimizer.is_masking


def test_the_two_ways_agree():
    """The same scoring of the same network on the same task."""
    unchanged = {"learning_rate": 0.0, "task_warmup": 0}  # updates that change nothing: a task without any is not held
    sequence = made(sequence_env(), **unchanged).learn(STEPS)
    by_hand = made(task_env("east"), **unchanged).learn(STEPS)
    by_hand.consolidate(task_env("east"), "east")
    assert sequence.skill_neurons["east"] == by_hand.skill_neurons["east"]
    assert same(sequence.neuron_masks.state_dict(), by_hand.neuron_masks.state_dict())
    assert len(sequence.replay_buffer.memory._tasks[0]) == len(by_hand.replay_buffer.memory._tasks[0]) == 50


@pytest.mark.parametrize("n_envs", [1, 4])
def test_a_whole_sequence(n_envs, calls):
    model = made(sequence_env(n_envs, cycles=2), Counting, train_freq=5).learn(4 * STEPS)
    assert calls == [("east", 60), ("west", 120), ("east", 180), ("west", 240)]
    assert model.learned_tasks == ["east", "west"] and model.neuron_masks.n_tasks == 2
    assert set(model.skill_neurons) == {"east", "west"}
    assert all(isinstance(skill, SkillNeurons) and skill.n_steps == 60 for skill in model.skill_neurons.values())


def test_sub_envs_are_told_how_many_they_are(calls):
    env = make_vec_env("sb3_nbsp/PointGoal-v0", 4, env_kwargs={"steps_per_task": STEPS, "horizon": HORIZON})
    made(env, Counting).learn(2 * STEPS)
    assert calls == [("east", 60), ("west", 120)]


def test_steps_that_the_sub_envs_do_not_divide(calls):
    made(sequence_env(4, steps=58), Counting).learn(124)
    assert calls == [("east", 60), ("west", 116)]


@pytest.mark.parametrize("wrapper", [VecNormalize, lambda env: VecNormalize(env, norm_obs=False)])
def test_normalised_sequence(wrapper):
    model = made(wrapper(sequence_env(2, cycles=2)), replay_interval=2).learn(4 * STEPS)
    assert model.learned_tasks == ["east", "west"] and len(model.replay_buffer.memory) > 0
    raw = model.replay_buffer.memory._tasks[0].observations
    assert set(np.unique(raw[:, EAST])) == {1.0} and np.abs(raw[:, :2]).max() <= 1.5


@pytest.mark.parametrize(
    "space, policy, kwargs",
    [
        (VECTORS, "MultiInputPolicy", {}),
        (IMAGE, "CnnPolicy", {"features_extractor_kwargs": {"features_dim": 8}}),
        (
            CHANNEL_FIRST_IMAGE,
            "CnnPolicy",
            {"features_extractor_kwargs": {"features_dim": 8}, "share_features_extractor": True},
        ),
        (spaces.Dict({"i": IMAGE, "v": VECTOR}), "MultiInputPolicy", {"features_extractor_kwargs": {"cnn_output_dim": 8}}),
        (spaces.Discrete(4), "MlpPolicy", {}),
    ],
)
@pytest.mark.parametrize("score", ["published", "taylor"])
def test_other_observations(space, policy, kwargs, score):
    kwargs = {"net_arch": [8], **kwargs}
    settings = {"policy_kwargs": kwargs, "train_freq": 10, "score": score, "scoring_steps": 25}
    model = made(toy_sequence_env(space=space, steps=40), policy=policy, mask_sides="both", **settings).learn(100)
    assert model.learned_tasks == ["a", "b"] and model.neuron_masks.free_share() < 1
    assert len(model.replay_buffer.memory._tasks[0]) == 40


class PythonNumbers(gym.ObservationWrapper):
    """As FrozenLake and other toy-text envs hand out their observations."""

    def observation(self, observation):
        return int(observation)


def test_discrete_observations_that_are_python_numbers():
    env = PythonNumbers(ToyEnv(spaces.Discrete(4)))
    model = made(env).learn(40)
    model.consolidate(PythonNumbers(ToyEnv(spaces.Discrete(4))), "a")
    assert model.skill_neurons["a"].n_steps == 60


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("use_sde", [False, True])
def test_every_score_runs(score, use_sde):
    model = made(task_env(), score=score, use_sde=use_sde, goal_metric="reward", scoring_steps=1100).learn(40)
    skill = model.consolidate(task_env(), "east")
    chosen = {name: row["chosen"] for name, row in skill.counts().items()}
    assert chosen == {"actor": 3, "critic.qf0": 3, "critic.qf1": 3}  # 20 % of 16
    assert (skill.score, skill.n_steps) == (score, 1100)


@pytest.mark.parametrize("score", SCORES)
def test_linear_networks(score):
    kwargs = {"policy_kwargs": {"net_arch": {"pi": [], "qf": [8]}}, "score": score}
    model = made(task_env(), **kwargs).learn(40)
    assert model.consolidate(task_env(), "east").counts()["critic.qf0"]["neurons"] == 8


def test_no_hidden_layer_at_all():
    model = made(policy_kwargs={"net_arch": []}).learn(2 * STEPS)
    assert model.learned_tasks == ["east", "west"] and model.neuron_masks.free_share() == 1.0
    assert saved_and_loaded(model).learned_tasks == ["east", "west"]


def test_random_control_holds_other_neurons_for_another_task():
    """Else its masks would not accumulate, and it would be no control for those that do."""
    model = made(task_env(), score="random", policy_kwargs={"net_arch": [64, 64]})
    one, other = (model.consolidate(task_env(name), name) for name in ("east", "west"))
    assert one.overlap(other) < 0.5
    assert model.neuron_masks.free_share() < 0.75


def test_random_control_differs_from_seed_to_seed():
    one, other = (made(task_env(), score="random", seed=seed).consolidate(task_env(), "east") for seed in (1, 2))
    assert one.overlap(other) < 1


def test_random_control_draws_other_neurons_for_the_second_task_than_for_the_next_seeds_first():
    wide = {"score": "random", "policy_kwargs": {"net_arch": [64, 64]}}
    model, next_one = made(task_env(), seed=0, **wide), made(task_env(), seed=1, **wide)
    model.consolidate(task_env(), "east")
    second, first = model.consolidate(task_env("west"), "west"), next_one.consolidate(task_env(), "east")
    assert second.overlap(first) < 0.5
    again = made(task_env(), seed=1, **wide).consolidate(task_env(), "east")
    assert again.overlap(first) == 1


@pytest.mark.parametrize("networks, held", [("actor", {"actor"}), ("critic", {"critic"}), ("all", {"actor", "critic"})])
def test_mask_networks(networks, held):
    model = made(task_env(), mask_networks=networks, **FROZEN).learn(40)
    skill = model.consolidate(task_env(), "east")
    assert {name.split(".")[0] for name in held_positions(model)} == held
    assert {name.split(".")[0] for name in skill.counts()} == held


def test_factors_are_alpha_times_one_minus_score():
    model = made(task_env(), mask_coef=0.4).learn(40)
    skill = model.consolidate(task_env(), "east")
    for network in model.neuron_masks.networks:
        for layer in network.layers:
            scores = th.tensor(skill.layers[layer.name].scores)
            expected = th.where(skill.chosen(layer.name), 0.4 * (1 - scores), th.ones_like(scores))
            th.testing.assert_close(model.neuron_masks.factors(layer), expected)


def test_a_task_met_again_replaces_its_mask(calls):
    model = made(sequence_env(cycles=3), Counting, skill_fraction=0.3, train_freq=5)
    shares = []
    for _ in range(6):
        model.learn(STEPS, reset_num_timesteps=False)
        shares.append(model.neuron_masks.free_share())
    assert model.neuron_masks.n_tasks == 2 and len(calls) == 6
    assert shares[0] == pytest.approx(0.7, abs=0.03)
    assert min(shares) >= 0.4 - 0.05  # never more than two tasks' worth
    expected = [layer for task in ("east", "west") for layer in [model.skill_neurons[task]]]
    for network in model.neuron_masks.networks:
        for layer in network.layers:
            held = expected[0].chosen(layer.name) | expected[1].chosen(layer.name)
            assert th.equal(model.neuron_masks.factors(layer) < 1, held)


def test_without_a_name_tasks_are_numbered():
    model = made(task_env())
    for _ in range(2):
        model.consolidate(task_env())
    assert model.learned_tasks == ["task 1", "task 2"]


def test_a_numbered_name_replaces_no_other_task():
    model = made(task_env())
    model.consolidate(task_env(), task="task 2")
    model.consolidate(task_env())
    assert len(model.learned_tasks) == 2


def test_begin_task_names_what_is_consolidated():
    model = made(task_env())
    model.begin_task("mine")
    model.consolidate(task_env())
    assert model.learned_tasks == ["mine"] and model.position.task is None


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize])
def test_consolidating_on_the_training_env(wrap, monkeypatch):
    """The default: its statistics stay, and rewards are the env's own."""
    env = wrap(DummyVecEnv([lambda: task_env("east")]))
    model = made(env, goal_metric="reward").learn(40)
    count = env.obs_rms.count if wrap is VecNormalize else None
    seen = []

    def spying(*args):
        seen.append((yield from scoring_rollout(*args)))
        return seen[-1]

    monkeypatch.setattr("sb3_nbsp.common.scoring_env.scoring_rollout", spying)
    model.consolidate(task="east")
    assert -1.5 < seen[0].rewards.mean() < -0.6  # minus the distance to (1, 0), from around the centre
    if count is not None:
        assert env.obs_rms.count == count
    model.learn(20, reset_num_timesteps=False)


def test_consolidating_on_a_sequence_does_not_use_it_up():
    """By default the training env is scored on; a sequence would go through its tasks meanwhile."""
    model = made(sequence_env()).learn(40)
    try:
        model.consolidate(task="east")
    except ValueError:
        return
    assert model.env.get_attr("sequence_steps") == [40]


def test_consolidating_without_any_env():
    model = saved_and_loaded(made(task_env()).learn(30))
    with pytest.raises(ValueError, match="needs an env to score on"):
        model.consolidate()
    model.consolidate(task_env(), "east")
    assert model.learned_tasks == ["east"]


def test_record_activations():
    model = made(task_env())
    with model.policy.record_activations() as recorder:
        model.predict(np.zeros((3, 6), dtype=np.float32))
    assert {name: tuple(a.shape) for name, a in recorder.activations().items()} == {
        "actor.latent_pi.0": (3, 8),
        "actor.latent_pi.2": (3, 8),
    }
    assert [network.name for network in model.policy.networks()] == ["actor", "critic.qf0", "critic.qf1"]
