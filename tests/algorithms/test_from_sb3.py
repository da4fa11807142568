"""Taking over a model of SB3's."""

import numpy as np
import pytest
import torch as th
from helpers import (
    SETTINGS,
    copied,
    same,
    sequence_env,
    task_env,
)
from helpers.cases import SAC_CASE, every_case, off_policy_cases
from helpers.sac_models import made, saved_and_loaded, weights
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.checkpoints.random_states import random_states
from sb3_nbsp.rehearsal import MixedReplayBuffer

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def parent_model(case=SAC_CASE, **kwargs):
    return case.made_parent(case.task_env(), **kwargs).learn(60)


def temperature(model):
    """SAC's and TQC's; the others have none."""
    return copied(getattr(model, "log_ent_coef", None))


@off_policy_cases
def test_from_sb3_takes_over_a_model(case):
    model = parent_model(case, gamma=0.9, train_freq=2)
    new = case.cls.from_sb3(model, skill_fraction=0.4)
    assert (new.gamma, new.train_freq, new.skill_fraction, new.memory_size) == (0.9, model.train_freq, 0.4, 10_000)
    assert same(new.get_parameters(), model.get_parameters()) and same(temperature(new), temperature(model))
    assert type(new.replay_buffer) is MixedReplayBuffer
    assert np.array_equal(new.replay_buffer.observations, model.replay_buffer.observations)
    assert new.num_timesteps == 60 and new.replay_buffer.size() == 60 and new.env is model.env
    before = weights(model)
    new.learn(20, reset_num_timesteps=False)
    assert new.num_timesteps == 80 and not same(weights(new), before) and same(weights(model), before)
    new.consolidate(case.task_env(), "east")
    new.learn(30, reset_num_timesteps=False)
    assert new.learned_tasks == ["east"]
    assert all(recursive_getattr(new, name).is_masking for name in new.optimizer_names)


@off_policy_cases
def test_from_sb3_trains_on_as_the_parent_would(case):
    model = parent_model(case)
    as_sb3 = {"fast_update": False} if case is SAC_CASE else {}
    new = case.cls.from_sb3(model, skill_fraction=0.0, memory_size=0, **as_sb3)
    new.set_logger(model.logger)
    generator = np.random.get_state(), th.get_rng_state()
    new.train(10, 16)
    np.random.set_state(generator[0]), th.set_rng_state(generator[1])
    model.train(10, 16)
    assert same(new.get_parameters(), model.get_parameters()) and same(temperature(new), temperature(model))


@off_policy_cases
def test_from_sb3_takes_over_a_file(tmp_path, case):
    model = parent_model(case)
    model.save(tmp_path / "model")
    new = case.cls.from_sb3(tmp_path / "model.zip", memory_size=7, rehearsal="replay")
    assert same(new.get_parameters(), model.get_parameters()) and new.num_timesteps == 60
    new.set_env(case.task_env())
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


def test_record_activations_after_from_sb3():
    NBSPSAC.from_sb3(parent_model()).policy.record_activations()


@every_case
def test_random_numbers_go_on(case):
    """Neither the process's nor the model's begin anew: exploration would be what it was."""
    parent = parent_model(case)
    before = random_states(parent)
    ours = case.cls.from_sb3(parent)
    assert same(random_states(ours), before) and ours.seed == parent.seed == 1
