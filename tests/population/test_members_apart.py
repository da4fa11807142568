"""What members of a population must not share, and what one of them does once it has stopped."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers import NBSP_SETTINGS, VECTOR, ToyEnv, same, sequence_env
from helpers.sac_models import saved_and_loaded
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.common.task_end import TakenSteps
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.population import Population, population
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv


def made(seed: int | None = 0, env=None, **kwargs) -> NBSPSAC:
    return NBSPSAC(
        "MlpPolicy", env or sequence_env(steps=100), **{**NBSP_SETTINGS, "scoring_steps": 30, **kwargs, "seed": seed}
    )


def apart(one, other) -> float:
    a, b = one.policy.state_dict(), other.policy.state_dict()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


class StopAt(BaseCallback):
    def __init__(self, step: int):
        super().__init__()
        self.step, self.n_ends = step, 0

    def _on_step(self) -> bool:
        return self.num_timesteps < self.step

    def _on_training_end(self) -> None:
        self.n_ends += 1


@pytest.mark.parametrize("stops", [(50, 50), (50, 51), (50, 70)], ids=["at once", "one after another", "one of them"])
def test_members_that_stop_within_a_rollout_are_what_they_are_alone(stops):
    members, others = ([made(seed, train_freq=4, gradient_steps=4) for seed in (0, 1)] for _ in range(2))
    callbacks = [StopAt(step) for step in stops]
    Population(members).learn(80, callbacks=callbacks)
    assert [callback.n_ends for callback in callbacks] == [1, 1]
    for model, alone, step in zip(members, others, stops, strict=True):
        Population([alone]).learn(80, callbacks=[StopAt(step)])
        assert model.num_timesteps == alone.num_timesteps == step and apart(model, alone) < 1e-4
        assert same(model.random_states.torch, alone.random_states.torch)
        assert same(model.random_states.numpy, alone.random_states.numpy)


class SharedSpaceEnv(ToyEnv):
    """Every env of this class has one and the same action space."""

    SPACE = spaces.Box(-2.0, 2.0, (2,))

    def __init__(self):
        super().__init__(VECTOR)
        self.action_space = self.SPACE


def with_shared_space(seed: int | None) -> NBSPSAC:
    sequence = TaskSequence(tuple(Task(name, lambda render_mode: SharedSpaceEnv()) for name in "ab"), 100, 1)
    return made(seed, DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))]), learning_starts=70)


@pytest.mark.parametrize("evaluates", [True, False])
def test_members_whose_envs_share_an_action_space_explore_as_each_does_alone(evaluates):
    def callback():
        return [SequenceEvalCallback(15, 1)] if evaluates else None

    others = []
    for seed in (0, 1):  # one after another: made, learned
        others.append(with_shared_space(seed))
        others[-1].learn(60, callback=callback())
    members = [with_shared_space(seed) for seed in (0, 1)]
    assert members[0].action_space is members[1].action_space
    Population(members).learn(60, callbacks=[callback() for _ in members])
    for model, alone in zip(members, others, strict=True):
        assert same(model.replay_buffer.actions[:60], alone.replay_buffer.actions[:60])
        assert len(np.unique(model.replay_buffer.actions[:60, 0, 0])) == 60
        assert all(module.action_space is model.action_space for module in (model.policy, model.actor, model.critic))
    before = members[0].action_space
    Population(members).learn(10, reset_num_timesteps=False)
    assert members[0].action_space is before is not members[1].action_space


@pytest.mark.parametrize("n_actions", [1, 2])
def test_action_noise_is_that_of_each_alone_where_it_draws_pairs(n_actions):
    """Of a pair of normal numbers NumPy keeps the second for the next call, and several members do not (many_seeds.md)."""

    def noisy(seed: int) -> NBSPSAC:
        env = Monitor(ToyEnv(VECTOR) if n_actions == 2 else gym.make("Pendulum-v1"))
        noise = NormalActionNoise(np.zeros(n_actions), np.full(n_actions, 0.1))
        return made(seed, env, action_noise=noise)

    members, others = ([noisy(seed) for seed in (0, 1)] for _ in range(2))
    Population(members).learn(30)
    for model, alone in zip(members, others, strict=True):
        Population([alone]).learn(30)
        a, b = (one.replay_buffer.actions[:30, 0] for one in (model, alone))
        assert bool(np.abs(a - b).max() < 1e-4) == (n_actions == 2)


def test_members_without_seeds_explore_differently_though_their_envs_share_an_action_space():
    members = [with_shared_space(None) for _ in range(2)]
    Population(members).learn(20)
    assert not np.isin(*(model.replay_buffer.actions[:20] for model in members)).any()


def test_an_action_space_of_a_members_own_stays():
    members = [made(seed) for seed in (0, 1)]
    before = [(model.action_space, model.action_space.np_random) for model in members]
    Population(members).learn(5)
    for model, (space, generator) in zip(members, before, strict=True):
        assert model.action_space is space and space.np_random is generator


def test_members_that_go_on_keep_their_folders_of_curves(tmp_path):
    members = [made(seed, tensorboard_log=str(tmp_path)) for seed in (0, 1)]
    Population(members).learn(5)
    folders = [Path(model.logger.get_dir()) for model in members]
    assert folders == [tmp_path / "SAC_1", tmp_path / "SAC_2"]
    Population(members).learn(5, reset_num_timesteps=False)
    assert [Path(model.logger.get_dir()) for model in members] == folders
    assert [len(list(folder.iterdir())) for folder in folders] == [2, 2]  # as SB3 goes on: another file
    assert not any(model._custom_logger for model in members)
    Population(members).learn(5)
    assert [Path(model.logger.get_dir()).name for model in members] == ["SAC_3", "SAC_4"]
    Population(members).learn(5, reset_num_timesteps=False, tb_log_name="other")
    assert [Path(model.logger.get_dir()).name for model in members] == ["other_1", "other_2"]


def test_loaded_members_whose_folders_are_not_known_begin_new_ones(tmp_path):
    members = [made(seed, tensorboard_log=str(tmp_path)) for seed in (0, 1)]
    Population(members).learn(5)
    loaded = [saved_and_loaded(model, env=model.env) for model in members]
    Population(loaded).learn(5, reset_num_timesteps=False)
    assert [Path(model.logger.get_dir()).name for model in loaded] == ["SAC_3", "SAC_4"]


def test_a_member_with_a_place_for_curves_of_its_own_goes_on_as_in_sb3(tmp_path):
    members = [made(seed, tensorboard_log=str(tmp_path / str(seed))) for seed in (0, 1)]
    Population(members).learn(5)
    loaded = [saved_and_loaded(model, env=model.env) for model in members]
    Population(loaded).learn(5, reset_num_timesteps=False)
    assert [Path(model.logger.get_dir()) for model in loaded] == [tmp_path / str(seed) / "SAC_1" for seed in (0, 1)]


def test_steps_that_were_taken_for_an_interrupted_scoring_are_forgotten(monkeypatch):
    def interrupted(members, *_):
        for member in members:
            member.model.taken_steps = TakenSteps(member.model)
        raise KeyboardInterrupt

    members = [made(seed, sequence_env(steps=30)) for seed in (0, 1)]
    monkeypatch.setattr(population, "play_ahead", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Population(members).learn(60)
    assert [model.num_timesteps for model in members] == [30, 30]
    assert [model.taken_steps for model in members] == [None, None]
