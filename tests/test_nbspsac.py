"""NBSPSAC as a whole: over task switches, files, and both ways in."""

import io
import json
import os
import warnings
import zipfile
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import (
    CHANNEL_FIRST_IMAGE,
    HORIZON,
    IMAGE,
    NBSP_SETTINGS,
    SETTINGS,
    VECTOR,
    VECTORS,
    ToyEnv,
    copied,
    same,
    sequence_env,
    task_env,
    toy_sequence_env,
)
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_nbsp import NBSPSAC
from sb3_nbsp.common import (
    MixedDictReplayBuffer,
    MixedNStepReplayBuffer,
    MixedReplayBuffer,
    SkillNeuronCallback,
    SkillNeurons,
)
from sb3_nbsp.common.scoring import collect_rollout
from sb3_nbsp.common.skill_neurons import SCORES

STEPS = 60  # per task in sequence_env()
EAST, WEST = 4, 5  # places of the one-hot task id in the observation
CLASSES = [pytest.param(NBSPSAC, SAC, id="sac")]  # (ours, SB3's)
FROZEN = {"mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True, "select_among": "active", "score": "corrected"}

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def made(env=None, cls=NBSPSAC, policy="MlpPolicy", **kwargs):
    return cls(policy, sequence_env() if env is None else env, **{**NBSP_SETTINGS, **kwargs})


def saved_and_loaded(model, env: VecEnv | None = None, **kwargs):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return type(model).load(file, env=env, **kwargs)


def held_positions(model) -> dict[str, th.Tensor]:
    """Which entries of which parameters have factor 0, by name."""
    factors = model.neuron_masks.parameter_factors()
    return {name: factors[p] == 0 for name, p in model.policy.named_parameters() if p in factors and (factors[p] == 0).any()}


def values_at(model, positions: dict[str, th.Tensor]) -> dict[str, th.Tensor]:
    parameters = dict(model.policy.named_parameters())
    return {name: parameters[name].detach()[where].clone() for name, where in positions.items()}


def weights(model) -> dict:
    return copied(model.policy.state_dict())


def remembered_ids(model, task: int) -> np.ndarray:
    return model.replay_buffer.memory._tasks[task].observations[:, [EAST, WEST]]


class Counting(NBSPSAC):
    """Notes every consolidation as (task, env steps)."""

    calls: ClassVar[list[tuple[str, int]]] = []

    def consolidate(self, env=None, task=None):
        self.calls.append((task, self.num_timesteps))
        return super().consolidate(env, task)


@pytest.fixture
def calls() -> list[tuple[str, int]]:
    Counting.calls.clear()
    return Counting.calls


# Two ways in, one boundary


def go_on_with_west(model, way: str, steps: int) -> None:
    if way == "by hand" and model.env.get_attr("task_name") == ["east"]:
        model.set_env(task_env("west"))
    model.learn(steps, reset_num_timesteps=False)


def after_east(way: str, **kwargs):
    """A model that has just consolidated "east"."""
    if way == "sequence":
        return made(sequence_env(steps=STEPS, cycles=2), **kwargs).learn(STEPS)
    model = made(task_env("east"), **kwargs).learn(STEPS)
    model.consolidate(task_env("east"), task="east")
    return model


ways = pytest.mark.parametrize("way", ["sequence", "by hand"])


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
    sequence = made(sequence_env(), learning_starts=1000, task_warmup=0).learn(STEPS)
    by_hand = made(task_env("east"), learning_starts=1000, task_warmup=0).learn(STEPS)
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
    assert model.learned_tasks == ["mine"] and model.current_task is None


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize])
def test_consolidating_on_the_training_env(wrap, monkeypatch):
    """The default: its statistics stay, and rewards are the env's own."""
    env = wrap(DummyVecEnv([lambda: task_env("east")]))
    model = made(env, goal_metric="reward").learn(40)
    count = env.obs_rms.count if wrap is VecNormalize else None
    seen = []

    def spying(*args):
        seen.append(collect_rollout(*args))
        return seen[-1]

    monkeypatch.setattr("sb3_nbsp.common.scored.collect_rollout", spying)
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


def test_several_sub_envs_to_score_on_are_refused():
    two = DummyVecEnv([lambda: task_env("east")] * 2)
    with pytest.raises(ValueError, match="must have one sub-env; got 2"):
        made(sequence_env(2)).consolidate(two, "east")


# The memory


def test_memory_holds_only_the_old_tasks_transitions():
    """train_freq=64: the switch falls into the middle of a rollout."""
    model = made(sequence_env(steps=100, cycles=2), train_freq=64, memory_size=1000, buffer_size=2000)
    model.learn(128)
    assert (remembered_ids(model, 0) == [1, 0]).all() and len(remembered_ids(model, 0)) == 100
    assert (model.replay_buffer.observations[: model.replay_buffer.pos, 0, WEST] == 1).all()
    assert model.replay_buffer.size() == 28
    model.learn(128, reset_num_timesteps=False)
    assert (remembered_ids(model, 1) == [0, 1]).all() and len(remembered_ids(model, 1)) == 100
    assert (remembered_ids(model, 0) == [1, 0]).all()


@pytest.mark.parametrize("train_freq", [1, 7, (1, "episode")])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_memory_at_other_frequencies(train_freq, n_steps):
    model = made(sequence_env(cycles=1), train_freq=train_freq, n_steps=n_steps, memory_size=1000).learn(2 * STEPS)
    for task, name in enumerate(([1, 0], [0, 1])):
        assert (remembered_ids(model, task) == name).all() and len(remembered_ids(model, task)) == STEPS
        assert (model.replay_buffer.memory._tasks[task].next_observations[:, [EAST, WEST]] == name).all()


def test_memory_of_a_task_is_its_own_where_the_buffer_is_not_emptied():
    model = made(sequence_env(cycles=1), reset_replay_buffer=False, memory_size=1000).learn(2 * STEPS)
    assert (remembered_ids(model, 0) == [1, 0]).all()
    assert (remembered_ids(model, 1) == [0, 1]).all()


def test_memory_with_four_envs():
    model = made(sequence_env(4), memory_size=1000).learn(2 * STEPS)
    assert len(remembered_ids(model, 0)) == STEPS and (remembered_ids(model, 0) == [1, 0]).all()


def test_old_tasks_are_rehearsed_and_the_current_one_is_not():
    model = made(sequence_env(cycles=2), replay_mode="share", old_task_fraction=0.5)
    seen = []
    model.learn(STEPS)
    sample = model.replay_buffer.sample

    def spying(batch_size, env=None):
        batch = sample(batch_size, env)
        seen.append((model.num_timesteps, batch.observations[:, EAST].sum().item()))
        return batch

    model.replay_buffer.sample = spying
    model.learn(3 * STEPS, reset_num_timesteps=False)
    on_west = [n for step, n in seen if step <= 2 * STEPS]
    on_east_again = [n for step, n in seen if 2 * STEPS < step <= 3 * STEPS]
    assert on_west and set(on_west) == {8} and on_east_again and set(on_east_again) == {8}  # of 16
    assert model.replay_buffer.memory.old_tasks == [0, 1]  # all ended


def test_memory_switched_off():
    model = made(memory_size=0).learn(2 * STEPS)
    assert len(model.replay_buffer.memory) == 0 and model.learned_tasks == ["east", "west"]


@pytest.mark.parametrize("standard", [None, MixedReplayBuffer])
def test_standard_buffers_stand_for_the_mixed_ones(standard):
    assert type(made(replay_buffer_class=standard).replay_buffer) is MixedReplayBuffer


@pytest.mark.parametrize("standard", [None, MixedReplayBuffer, MixedDictReplayBuffer])
def test_standard_dict_buffers(standard):
    model = made(ToyEnv(VECTORS), policy="MultiInputPolicy", replay_buffer_class=standard)
    assert type(model.replay_buffer) is MixedDictReplayBuffer


def test_n_steps_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = made(n_steps=3, gamma=0.9)
    assert type(model.replay_buffer) is MixedNStepReplayBuffer
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (3, 0.9)


@pytest.mark.parametrize("standard", [MixedNStepReplayBuffer])
def test_n_step_buffers_by_class_and_kwargs(standard):
    """As SB3 tells its users to configure them."""
    model = made(replay_buffer_class=standard, replay_buffer_kwargs={"n_steps": 3, "gamma": 0.9})
    assert (type(model.replay_buffer), model.replay_buffer.n_steps) == (MixedNStepReplayBuffer, 3)


@pytest.mark.parametrize("standard", [ReplayBuffer, NStepReplayBuffer])
def test_a_class_that_the_user_names_is_used(standard):
    """As SB3's own tests demand."""
    assert type(made(replay_buffer_class=standard, memory_size=0).replay_buffer) is standard


class OwnMixedBuffer(MixedReplayBuffer):
    pass


def test_a_subclass_of_a_mixed_buffer_has_the_models_settings():
    buffer = made(replay_buffer_class=OwnMixedBuffer, memory_size=7, replay_interval=3).replay_buffer
    assert (type(buffer), buffer.memory_size, buffer.replay_interval) == (OwnMixedBuffer, 7, 3)


# What must not leak into the next task


@pytest.mark.parametrize("task_warmup, expected", [(None, 20), (35, 35), (0, 0)])
@ways
def test_warm_up_after_the_switch(way, task_warmup, expected):
    model = after_east(way, task_warmup=task_warmup)
    before = weights(model)
    predict, n_predicted = model.predict, []
    model.predict = lambda *args, **kwargs: (n_predicted.append(model.num_timesteps), predict(*args, **kwargs))[1]
    if expected:
        go_on_with_west(model, way, expected)
        assert same(weights(model), before) and n_predicted == []
        actions = model.replay_buffer.actions[:expected, 0, 0]
        assert actions.std() > 0.4  # uniform in [-1, 1]: 0.58
    go_on_with_west(model, way, 2)
    assert not same(weights(model), before)
    assert len(n_predicted) == 2


def test_warm_up_when_the_counter_starts_again():
    model = after_east("by hand", task_warmup=30)
    before = weights(model)
    model.set_env(task_env("west"))
    model.learn(30)
    assert same(weights(model), before)
    model.learn(2, reset_num_timesteps=False)
    assert not same(weights(model), before)


def test_no_warm_up_where_the_buffer_is_kept():
    model = after_east("sequence", reset_replay_buffer=False)
    before = weights(model)
    model.learn(1, reset_num_timesteps=False)
    assert model.replay_buffer.size() == STEPS + 1 and not same(weights(model), before)


@pytest.mark.parametrize("reset", [True, False])
def test_entropy_coefficient(reset):
    model = made(task_env(), ent_coef="auto_0.5", reset_ent_coef=reset, learning_rate=0.01).learn(STEPS)
    learned = float(model.log_ent_coef.detach().exp())
    model.consolidate(task_env(), "east")
    assert learned != pytest.approx(0.5, abs=0.01)
    assert float(model.log_ent_coef.detach().exp()) == pytest.approx(0.5 if reset else learned)
    assert bool(model.ent_coef_optimizer.state) != reset
    model.set_env(task_env("west"))
    model.learn(30, reset_num_timesteps=False)
    assert float(model.log_ent_coef.detach().exp()) not in (0.5, learned)  # it goes on learning


@pytest.mark.parametrize("ent_coef", ["auto", "auto_0.1", 0.2, "0.2"])
def test_every_form_of_the_entropy_coefficient(ent_coef):
    made(ent_coef=ent_coef).learn(2 * STEPS)


@pytest.mark.parametrize("reset", [True, False])
def test_reset_optimizer(reset):
    model = made(task_env(), reset_optimizer=reset).learn(STEPS)
    assert model.critic.optimizer.state
    model.consolidate(task_env(), "east")
    assert bool(model.critic.optimizer.state) != reset and bool(model.actor.optimizer.state) != reset
    model.learn(30, reset_num_timesteps=False)
    assert model.critic.optimizer.state


def test_n_step_returns_do_not_reach_over_a_switch_by_hand():
    model = made(task_env("east"), n_steps=3, reset_replay_buffer=False, learning_starts=100).learn(14)  # in mid-episode
    model.consolidate(task_env("east"), "east")
    model.set_env(task_env("west"))
    model.learn(15, reset_num_timesteps=False)
    model.replay_buffer.memory._tasks.clear()
    for _ in range(20):
        batch = model.replay_buffer.sample(32)
        assert th.equal(batch.observations[:, EAST:], batch.next_observations[:, EAST:])


def test_statistics_of_episodes_begin_anew():
    model = made(sequence_env(), learning_starts=1000).learn(STEPS + HORIZON)
    assert len(model.ep_info_buffer) == 1 and len(model.ep_success_buffer) == 1


# The callback


@pytest.mark.parametrize(
    "callback",
    [
        lambda: None,
        lambda: SkillNeuronCallback(),
        lambda: [SkillNeuronCallback(), CallbackList([])],
        lambda: CallbackList([CallbackList([SkillNeuronCallback()])]),
        lambda: [CallbackList([])],
        lambda: lambda local_variables, global_variables: True,
    ],
)
def test_every_switch_is_consolidated_once(callback, calls):
    model = made(sequence_env(cycles=2), Counting, train_freq=5)
    callback = callback()
    for steps in (50, 30, 100, 60):  # the same callback over several learn() calls
        model.learn(steps, callback=callback, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120), ("east", 180), ("west", 240)]


def test_learning_beyond_the_end(calls):
    model = made(sequence_env(cycles=1), Counting, train_freq=5).learn(200)
    assert calls == [("east", 60), ("west", 120)] and model.learned_tasks == ["east", "west"]


def test_a_list_that_the_user_passes_is_left_alone():
    mine: list[BaseCallback] = [CallbackList([])]
    made().learn(5, callback=mine)
    assert len(mine) == 1


def test_callback_on_an_env_without_tasks():
    with pytest.raises(ValueError, match=r"SkillNeuronCallback needs the env of a task sequence.*consolidate"):
        made(task_env()).learn(5, callback=SkillNeuronCallback())


def test_another_callback_that_stops_at_the_switch(calls):
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps != STEPS

    model = made(sequence_env(), Counting).learn(2 * STEPS, callback=Stop())
    assert calls == [("east", 60)]
    model.learn(STEPS, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120)]


def test_logged_and_printed(capsys):
    model = made(sequence_env(), verbose=1).learn(STEPS)
    assert "Skill neurons of east" in capsys.readouterr().out
    logged = model.logger.name_to_value
    assert logged["nbsp/tasks_held"] == 1 and logged["nbsp/free_share"] == pytest.approx(1 - 9 / 48)
    assert {"nbsp/good_share", "nbsp/silent_share", "nbsp/chosen_silent_share"} <= set(logged)


# Files


def test_everything_is_in_the_file(tmp_path):
    model = made(sequence_env(cycles=2), skill_fraction=0.3).learn(150)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model.zip")
    assert loaded.learned_tasks == ["east", "west"] and loaded.skill_neurons == model.skill_neurons
    assert same(loaded.neuron_masks.state_dict(), model.neuron_masks.state_dict())
    assert same(loaded.replay_buffer.memory.state_dict(), model.replay_buffer.memory.state_dict())
    assert len(loaded.replay_buffer.memory) == len(model.replay_buffer.memory) == 50  # of west: east is learned again
    assert loaded.sequence_steps == 150
    assert loaded.skill_fraction == 0.3 and loaded.current_task == "east"
    factors, theirs = loaded.neuron_masks.parameter_factors(), model.neuron_masks.parameter_factors()
    assert same(list(factors.values()), list(theirs.values()))
    assert repr(loaded.actor.optimizer).endswith(repr(model.actor.optimizer).rsplit("held", 1)[1])  # masks are in force


@pytest.mark.parametrize("at, one_hot", [(40, [1, 0]), (90, [0, 1]), (130, [1, 0]), (230, [0, 1]), (260, [0, 1])])
def test_goes_on_in_the_right_task_of_a_fresh_env(at, one_hot):
    model = made(sequence_env(cycles=2), task_warmup=0, train_freq=10).learn(at)
    loaded = saved_and_loaded(model, sequence_env(cycles=2))
    loaded.learn(10, reset_num_timesteps=False)
    assert (loaded.replay_buffer.observations[:10, 0, [EAST, WEST]] == one_hot).all()
    assert loaded.env.get_attr("sequence_steps") == [at + 10] and loaded.num_timesteps == at + 10


def test_a_resumed_run_consolidates_like_an_uninterrupted_one(calls):
    model = made(sequence_env(cycles=2), Counting, train_freq=5).learn(100)
    saved_and_loaded(model, sequence_env(cycles=2)).learn(140, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120), ("east", 180), ("west", 240)]


@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_pending_consolidation_survives_a_checkpoint(n_envs, tmp_path, calls):
    checkpoint = CheckpointCallback(STEPS // n_envs, tmp_path, save_replay_buffer=True)
    made(sequence_env(n_envs, cycles=2), Counting).learn(STEPS + 10, callback=checkpoint)
    calls.clear()
    loaded = Counting.load(tmp_path / "rl_model_60_steps", env=sequence_env(n_envs, cycles=2))
    assert loaded.task_to_consolidate == "east" and loaded.learned_tasks == []
    loaded.load_replay_buffer(tmp_path / "rl_model_replay_buffer_60_steps")
    loaded.learn(STEPS, reset_num_timesteps=False)
    assert calls == [("east", 60), ("west", 120)]
    assert (remembered_ids(loaded, 0) == [1, 0]).all() and len(remembered_ids(loaded, 0)) == 50


def test_memory_of_a_task_survives_a_checkpoint_at_its_second_end(tmp_path):
    """A model's file holds the memory but no replay buffer: what was remembered of the task is all there is."""
    checkpoint = CheckpointCallback(3 * STEPS, tmp_path)
    made(sequence_env(cycles=2)).learn(3 * STEPS, callback=checkpoint)
    loaded = NBSPSAC.load(tmp_path / "rl_model_180_steps", env=sequence_env(cycles=2))
    assert loaded.task_to_consolidate == "east" and set(loaded.replay_buffer.memory._tasks) == {0, 1}
    loaded.learn(10, reset_num_timesteps=False)
    assert len(loaded.replay_buffer.memory._tasks[0]) > 0


def test_replay_buffer_file_holds_the_memory(tmp_path):
    model = made(sequence_env(cycles=2)).learn(100)
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = saved_and_loaded(model, sequence_env(cycles=2), replay_interval=3)
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.size() == 40 and len(loaded.replay_buffer.memory._tasks[0]) == 50
    assert loaded.replay_buffer.replay_interval == 3


def test_the_parents_replay_buffer_file_leaves_the_memory(tmp_path):
    sac = SAC("MlpPolicy", sequence_env(), **SETTINGS).learn(30)
    sac.save_replay_buffer(tmp_path / "buffer")
    model = made().learn(STEPS)
    model.load_replay_buffer(tmp_path / "buffer.pkl")
    assert type(model.replay_buffer) is MixedReplayBuffer and model.replay_buffer.size() == 30
    assert len(model.replay_buffer.memory._tasks.get(0, [])) == 50


def test_current_task_is_not_rehearsed_after_loading_either():
    model = after_east("by hand")
    model.begin_task("east")
    assert len(model.replay_buffer.memory) == 0
    loaded = saved_and_loaded(model, task_env("east"))
    assert loaded.current_task == "east" and len(loaded.replay_buffer.memory) == 0


def test_what_is_not_needed_is_not_pickled():
    file = io.BytesIO()
    made(task_env()).save(file)
    with zipfile.ZipFile(file) as archive:
        data = json.loads(archive.read("data"))
    assert "neuron_masks" not in data
    assert not {key for key in data if "memory" in key} - {"memory_size", "memory_retention", "optimize_memory_usage"}


def test_set_parameters_puts_masks_in_force():
    model, fresh = after_east("sequence", **FROZEN), made(**FROZEN)
    fresh.set_parameters(model.get_parameters())
    assert same(weights(fresh), weights(model)) and fresh.neuron_masks.n_tasks == 1
    positions = held_positions(fresh)
    before = values_at(fresh, positions)
    fresh.learn(40)
    assert positions and same(values_at(fresh, positions), before)


def test_set_parameters_of_a_time_before_the_first_task(tmp_path):
    """Going back to an early checkpoint takes the masks back too."""
    model = made(sequence_env())
    model.save(tmp_path / "early")
    model.learn(STEPS)
    model.set_parameters(tmp_path / "early.zip")
    assert model.neuron_masks.free_share() == 1.0


def test_a_file_saved_before_the_first_task_has_the_parents_form():
    ours, theirs = io.BytesIO(), io.BytesIO()
    made(task_env()).save(ours)
    SAC("MlpPolicy", task_env(), **SETTINGS).save(theirs)
    with zipfile.ZipFile(ours) as mine, zipfile.ZipFile(theirs) as parents:
        assert mine.namelist() == parents.namelist()
    ours.seek(0)
    assert isinstance(SAC.load(ours), SAC)


@pytest.mark.parametrize("what", ["save", "save_replay_buffer"])
def test_a_failing_save_leaves_the_old_file(tmp_path, monkeypatch, what):
    model = made(task_env())
    path = tmp_path / ("model.zip" if what == "save" else "model.pkl")
    getattr(model, what)(path)
    before = path.read_bytes()

    def failing(*args):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", failing)
    model.learn(30)
    with pytest.raises(OSError, match="killed"):
        getattr(model, what)(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    monkeypatch.undo()
    getattr(model, what)(path)
    assert path.read_bytes() != before


@pytest.mark.parametrize("name, written", [("new/model", "new/model.zip"), ("model.zip", "model.zip"), ("m.v1", "m.v1")])
def test_file_names_are_sb3s(tmp_path, name, written):
    made(task_env()).save(str(tmp_path / name))
    assert (tmp_path / written).exists()
    assert NBSPSAC.load(tmp_path / written).num_timesteps == 0


@pytest.mark.parametrize("ours, theirs", CLASSES)
def test_a_file_of_the_parent_is_refused_in_words(tmp_path, ours, theirs):
    theirs("MlpPolicy", task_env(), **SETTINGS).save(tmp_path / "sac")
    with pytest.raises(ValueError, match=rf"not saved by {ours.__name__}.*{ours.__name__}.from_sb3\("):
        ours.load(tmp_path / "sac")


def test_a_file_of_another_algorithm_is_refused_in_words(tmp_path):
    PPO("MlpPolicy", task_env(), n_steps=4, batch_size=4).save(tmp_path / "ppo")
    with pytest.raises(ValueError, match=r"not saved by NBSPSAC: it holds policy.optimizer.pth, policy.pth"):
        NBSPSAC.load(tmp_path / "ppo.zip")


def test_other_files_are_refused_as_by_sb3(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="wasn't a zip-file"):
        NBSPSAC.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        NBSPSAC.load(tmp_path / "missing")


# Taking over a model of SB3's


def parent_model(cls=SAC, **kwargs):
    return cls("MlpPolicy", task_env(), **{**SETTINGS, **kwargs}).learn(60)


@pytest.mark.parametrize("ours, theirs", CLASSES)
def test_from_sb3_takes_over_a_model(ours, theirs):
    model = parent_model(theirs, gamma=0.9, train_freq=2)
    new = ours.from_sb3(model, skill_fraction=0.4)
    assert (new.gamma, new.train_freq, new.skill_fraction, new.memory_size) == (0.9, model.train_freq, 0.4, 10_000)
    assert same(new.get_parameters(), model.get_parameters()) and th.equal(new.log_ent_coef, model.log_ent_coef)
    assert type(new.replay_buffer) is MixedReplayBuffer
    assert np.array_equal(new.replay_buffer.observations, model.replay_buffer.observations)
    assert new.num_timesteps == 60 and new.replay_buffer.size() == 60 and new.env is model.env
    before = weights(model)
    new.learn(20, reset_num_timesteps=False)
    assert new.num_timesteps == 80 and not same(weights(new), before) and same(weights(model), before)
    new.consolidate(task_env(), "east")
    new.learn(30, reset_num_timesteps=False)
    assert new.learned_tasks == ["east"] and new.actor.optimizer.is_masking


@pytest.mark.parametrize("ours, theirs", CLASSES)
def test_from_sb3_trains_on_as_the_parent_would(ours, theirs):
    model = parent_model(theirs)
    new = ours.from_sb3(model, skill_fraction=0.0, memory_size=0, fast_update=False)
    new.set_logger(model.logger)
    generator = np.random.get_state(), th.get_rng_state()
    new.train(10, 16)
    np.random.set_state(generator[0]), th.set_rng_state(generator[1])
    model.train(10, 16)
    assert same(new.get_parameters(), model.get_parameters()) and th.equal(new.log_ent_coef, model.log_ent_coef)


@pytest.mark.parametrize("ours, theirs", CLASSES)
def test_from_sb3_takes_over_a_file(tmp_path, ours, theirs):
    model = parent_model(theirs)
    model.save(tmp_path / "sac")
    new = ours.from_sb3(tmp_path / "sac.zip", memory_size=7)
    assert same(new.get_parameters(), model.get_parameters()) and new.num_timesteps == 60
    new.set_env(task_env())
    new.learn(30, reset_num_timesteps=False)
    assert new.replay_buffer.memory_size == 7 and new.num_timesteps == 90
    saved_and_loaded(new)


def test_from_sb3_with_an_env(tmp_path):
    """The file has none."""
    parent_model().save(tmp_path / "sac")
    new = NBSPSAC.from_sb3(tmp_path / "sac.zip", env=task_env(), memory_size=7, scoring_steps=60)
    assert isinstance(new.env, VecEnv)
    new.learn(30)
    new.consolidate(task="east")


@pytest.mark.parametrize(
    "kwargs", [{"ent_coef": 0.1}, {"n_steps": 3}, {"buffer_size": 100}, {"device": "cpu"}, {"learning_rate": 0.1}]
)
def test_from_sb3_with_other_arguments_of_the_parent(kwargs):
    """They take effect, or are refused in words."""
    try:
        new = NBSPSAC.from_sb3(parent_model(), **kwargs)
    except (TypeError, ValueError):
        return
    new.learn(30, reset_num_timesteps=False)
    effects = {
        "ent_coef": lambda: new.log_ent_coef is None,
        "n_steps": lambda: getattr(new.replay_buffer, "n_steps", 1) == 3,
        "buffer_size": lambda: new.replay_buffer.buffer_size == 100,
        "device": lambda: new.device == th.device("cpu"),
        "learning_rate": lambda: new.actor.optimizer.param_groups[0]["lr"] == 0.1,
    }
    assert effects[next(iter(kwargs))]()


@pytest.mark.parametrize("kwargs", [{"n_steps": 3}, {"use_sde": True}, {"ent_coef": 0.1}])
def test_from_sb3_of_other_forms(kwargs):
    new = NBSPSAC.from_sb3(parent_model(**kwargs))
    assert getattr(new.replay_buffer, "n_steps", 1) == kwargs.get("n_steps", 1)
    new.learn(20, reset_num_timesteps=False)


def test_from_sb3_goes_on_over_a_sequence():
    model = SAC("MlpPolicy", sequence_env(cycles=2), **SETTINGS).learn(50)
    new = NBSPSAC.from_sb3(model, scoring_steps=60)
    new.learn(30, reset_num_timesteps=False)
    assert new.env.get_attr("sequence_steps") == [80] and new.learned_tasks == ["east"]


@pytest.mark.parametrize("wrong", [lambda: PPO("MlpPolicy", task_env(), n_steps=4, batch_size=4), lambda: made(task_env())])
def test_from_sb3_of_another_class_is_refused(wrong):
    with pytest.raises(TypeError, match="from_sb3 takes a SAC model; got"):
        NBSPSAC.from_sb3(wrong())


def test_from_sb3_with_an_unknown_argument():
    with pytest.raises(TypeError, match=r"takes NBSP's arguments .*got skil_fraction"):
        NBSPSAC.from_sb3(parent_model(), skil_fraction=0.3)


# The policy


def test_record_activations():
    model = made(task_env())
    with model.policy.record_activations() as recorder:
        model.predict(np.zeros((3, 6), dtype=np.float32))
    assert {name: tuple(a.shape) for name, a in recorder.activations().items()} == {
        "actor.latent_pi.0": (3, 8),
        "actor.latent_pi.2": (3, 8),
    }
    assert [network.name for network in model.policy.networks()] == ["actor", "critic.qf0", "critic.qf1"]


def test_record_activations_after_from_sb3():
    NBSPSAC.from_sb3(parent_model()).policy.record_activations()


# Refused in words


@pytest.mark.parametrize(
    "name, value",
    [
        *[("skill_fraction", v) for v in (-0.1, 1.1, "0.2", None, float("nan"))],
        *[("mask_coef", v) for v in (-0.1, 1.1, float("nan"))],
        *[("scoring_steps", v) for v in (0, -5)],
        *[(name, "nonsense") for name in ("mask_target", "mask_networks", "mask_sides", "score", "select_among")],
        *[(name, "nonsense") for name in ("goal_metric", "memory_retention", "replay_mode")],
        *[("memory_size", -1), ("replay_interval", 0), ("old_task_fraction", 1.5), ("task_warmup", -1)],
    ],
)
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*got {value!r}"):
        made(task_env(), **{name: value})


@pytest.mark.parametrize("name", ["memory_size", "replay_interval", "scoring_steps", "task_warmup"])
def test_whole_floats_work_or_are_refused_at_once(name):
    """YAML reads 1.0e+4 as a float; a run must not fail at its first switch."""
    try:
        model = made(**{name: 10.0})
    except (TypeError, ValueError):
        return
    assert model.learn(2 * STEPS).learned_tasks == ["east", "west"]


class GoalToyEnv(ToyEnv):
    def __init__(self):
        keys = ("observation", "achieved_goal", "desired_goal")
        super().__init__(spaces.Dict({key: spaces.Box(-1.0, 1.0, (2,)) for key in keys}))

    def compute_reward(self, achieved_goal, desired_goal, info):
        return -np.linalg.norm(achieved_goal - desired_goal, axis=-1)


def test_her_is_refused():
    model = made(GoalToyEnv(), policy="MultiInputPolicy", replay_buffer_class=HerReplayBuffer, learning_starts=50).learn(60)
    with pytest.raises(ValueError, match=r"HerReplayBuffer relabels goals.*Use the default replay buffer"):
        model.consolidate(GoalToyEnv(), "a")


OPTIMIZED = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}


class OwnBuffer(ReplayBuffer):
    pass


@pytest.mark.parametrize(
    "kwargs, words",
    [
        (OPTIMIZED, "optimize_memory_usage=True stores no"),
        ({"replay_buffer_class": OwnBuffer}, "OwnBuffer keeps no transitions"),
    ],
)
def test_what_a_sequence_cannot_have_is_refused_before_training(kwargs, words):
    model = made(**kwargs)
    with pytest.raises(ValueError, match=words):
        model.learn(2 * STEPS)
    assert model.num_timesteps == 0
    with pytest.raises(ValueError, match=words):
        model.consolidate(task_env(), "east")


def test_an_own_buffer_without_memory():
    model = made(replay_buffer_class=OwnBuffer, memory_size=0).learn(2 * STEPS)
    assert model.learned_tasks == ["east", "west"] and type(model.replay_buffer) is OwnBuffer
    assert saved_and_loaded(model).learned_tasks == ["east", "west"]


def test_success_that_no_env_tells_is_refused_before_training():
    model = made(toy_sequence_env(tells_success=False), goal_metric="success")
    with pytest.raises(ValueError, match=r'goal_metric="success" needs.*task a.*"return" or "reward"'):
        model.learn(200)
    assert model.num_timesteps == 0


def test_without_success_the_return_is_the_goal():
    model = made(toy_sequence_env(tells_success=False)).learn(STEPS)
    assert model.skill_neurons["a"].goal_metric == "return"


class OwnWrapper(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        return self.venv.step_wait()


def test_a_wrapper_that_cannot_be_repeated_is_refused_before_training():
    model = made(OwnWrapper(sequence_env()))
    with pytest.raises(ValueError, match="OwnWrapper, which cannot be repeated"):
        model.learn(2 * STEPS)
    assert model.num_timesteps == 0


@pytest.mark.filterwarnings("default")
def test_a_constant_goal_is_told_in_words():
    model = made(toy_sequence_env(constant=True))
    with pytest.warns(UserWarning, match=r"q\(t\) = success is constant at 0.*no neuron is held"):
        model.learn(STEPS)
    assert model.neuron_masks.free_share() == 1.0 and model.learned_tasks == ["a"]


def test_a_task_that_was_not_consolidated_is_told_when_the_env_is_exchanged():
    model = made(task_env("east")).learn(STEPS)
    with pytest.warns(UserWarning, match=f"last {STEPS} env steps were not consolidated.*call consolidate"):
        model.set_env(task_env("west"))
    model.consolidate(task_env("east"), "east")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_env(task_env("west"))
        made(task_env("east"), skill_fraction=0, memory_size=0).learn(20).set_env(task_env("west"))
        made(sequence_env()).learn(20).set_env(sequence_env())  # a sequence consolidates by itself
    model.learn(20)  # the counter starts again
    with pytest.warns(UserWarning, match="last 20 env steps"):
        model.set_env(task_env("east"))
