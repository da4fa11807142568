"""Giving a model back to SB3: the parent's, with the same actions, gates included."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch as th
from helpers import copied, same, sequence_env
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, Case, every_case, off_policy_cases, on_cases
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize

from sb3_nbsp.sac.policies import NBSPSACPolicy

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)"),
    pytest.mark.filterwarnings("ignore:.*of the neurons chosen for"),
]
GATED = {"task_gates": True, "skill_fraction": 0.3, "policy_kwargs": {"activation_fn": th.nn.ReLU}}


def trained(case: Case, n_envs: int = 1, gates: bool = False, **kwargs):
    """A model that has consolidated east and is in the middle of west."""
    env = case.sequence_env(n_envs, **({"task_id": True} if gates else {}))
    return case.made(env, **(GATED if gates else {}), **kwargs).learn(96)


def actions(model):
    observations = np.random.default_rng(0).standard_normal((20, *model.observation_space.shape)).astype(np.float32)
    return model.predict(observations, deterministic=True)[0]


@pytest.mark.parametrize("gates", [False, True], ids=["masks", "gates"])
@every_case
def test_the_parents_model_acts_alike(case, gates, tmp_path):
    model = trained(case, gates=gates)
    assert "east" in model.learned_tasks
    parent = model.to_sb3()
    assert type(parent) is case.parent and parent.env is model.env and parent.num_timesteps == model.num_timesteps
    np.testing.assert_array_equal(actions(parent), actions(model))
    assert same(parent.get_parameters(), {name: model.get_parameters()[name] for name in parent.get_parameters()})
    parent.save(tmp_path / "model")
    loaded = case.parent.load(tmp_path / "model", env=case.sequence_env(1, **({"task_id": True} if gates else {})))
    np.testing.assert_array_equal(actions(loaded), actions(model))
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == model.num_timesteps + 32


@every_case
def test_settings_and_counters_are_kept(case):
    model = trained(case, n_envs=2, gamma=0.9, learning_rate=lambda progress: 1e-3 * progress)
    parent = model.to_sb3()
    ours = {
        "policy_class",
        "replay_buffer_class",
        "rollout_buffer_class",
        "_logger",
        *vars(model).keys() - vars(parent).keys(),
    }
    simple = (int, float, str, bool, tuple, dict, type(None))
    for name in vars(parent).keys() - ours:
        if isinstance(vars(parent)[name], simple):
            assert vars(parent)[name] == vars(model)[name], name
    assert parent.seed == model.seed == 1 and parent.gamma == 0.9 and parent._n_updates == model._n_updates > 0
    assert parent.lr_schedule(0.5) == 5e-4 and same(copied(parent._last_obs), copied(model._last_obs))
    assert same(copied(getattr(parent, "log_ent_coef", None)), copied(getattr(model, "log_ent_coef", None)))


@every_case
def test_a_saved_parent_names_nothing_of_ours(case, tmp_path):
    model = trained(case)
    model.to_sb3().save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        text = archive.read("data").decode()
        names = set(archive.namelist())
    assert "sb3_nbsp" not in text and not set(json.loads(text)) & {"learned_tasks", "memory_size", "position_record"}
    assert not any("masks" in name or "memory" in name or "gates" in name or "recent" in name for name in names)
    program = f"""
import sys; sys.modules["sb3_nbsp"] = None
from {case.parent.__module__} import {case.parent.__name__}
assert {case.parent.__name__}.load({str(tmp_path / "model")!r}, device="cpu").num_timesteps == {model.num_timesteps}
"""
    if case in (SAC_CASE, PPO_CASE):
        subprocess.run([sys.executable, "-c", program], check=True)


@off_policy_cases
def test_the_replay_buffer_goes_with_it(case, tmp_path):
    model = trained(case)
    parent = model.to_sb3()
    assert type(parent.replay_buffer) is ReplayBuffer and parent.replay_buffer_class is ReplayBuffer
    assert parent.replay_buffer.size() == 36 and parent.replay_buffer.observations is model.replay_buffer.observations
    assert not {"memory", "n_task_ends", "memory_size"} & vars(parent.replay_buffer).keys()
    parent.save_replay_buffer(tmp_path / "buffer")
    parent.load_replay_buffer(tmp_path / "buffer")
    parent.learn(10, reset_num_timesteps=False)
    assert parent.replay_buffer.size() == 46


def test_other_forms():
    model = SAC_CASE.made(SAC_CASE.task_env(), n_steps=3).learn(40)
    parent = model.to_sb3()
    assert type(parent.replay_buffer) is NStepReplayBuffer and parent.replay_buffer.n_steps == 3
    parent.learn(20, reset_num_timesteps=False)
    sde = SAC_CASE.made(SAC_CASE.task_env(), use_sde=True, ent_coef=0.1).learn(40).to_sb3()
    assert sde.log_ent_coef is None and sde.learn(20, reset_num_timesteps=False).num_timesteps == 60
    normalised = PPO_CASE.made(VecNormalize(sequence_env())).learn(80)
    assert normalised.to_sb3().get_vec_normalize_env() is normalised.get_vec_normalize_env()

    class Own(NBSPSACPolicy):
        """A user's."""

    assert SAC_CASE.made(SAC_CASE.task_env(), policy=Own).to_sb3().policy_class is Own


@on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
def test_the_model_goes_on_as_if_nothing_had_been_asked(case):
    asked, other = trained(case), trained(case)
    random = np.random.get_state()[1].copy()
    given = asked.to_sb3()
    assert (np.random.get_state()[1] == random).all()
    given.policy.load_state_dict({name: th.zeros_like(value) for name, value in given.policy.state_dict().items()})
    for model in (asked, other):
        np.random.seed(0), th.manual_seed(0), model.action_space.seed(0)
        model.learn(16, reset_num_timesteps=False)
    assert same(asked.get_parameters(), other.get_parameters())


@every_case
def test_back_and_forth(case):
    model = trained(case)
    again = case.cls.from_sb3(model.to_sb3(), memory_size=7)
    assert again.memory_size == 7 and again.learned_tasks == [] and again.num_timesteps == model.num_timesteps
    np.testing.assert_array_equal(actions(again), actions(model))


@every_case
def test_which_files_the_parent_loads_by_itself(case, tmp_path):
    """As docs/guide/reliability.md says: those from before the first consolidation; of NBSPPPO, before a task was begun."""
    case.made(case.task_env()).learn(32).save(tmp_path / "by_hand")
    case.parent.load(tmp_path / "by_hand", env=case.task_env()).learn(32)
    model = case.made().learn(32)
    model.save(tmp_path / "on_a_sequence")
    if case.on_policy:
        with pytest.raises(Exception, match=r"rollout_buffer"):
            case.parent.load(tmp_path / "on_a_sequence")
    else:
        np.testing.assert_array_equal(actions(case.parent.load(tmp_path / "on_a_sequence")), actions(model))
    trained(case).save(tmp_path / "consolidated")
    with pytest.raises((KeyError, ValueError)):
        case.parent.load(tmp_path / "consolidated")
    assert {"policy", "neuron_masks"} <= load_from_zip_file(tmp_path / "consolidated")[1].keys()
