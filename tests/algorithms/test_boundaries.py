"""What a user may do at the edges: other wrappers, other numbers of sub-envs, files of other times."""

import warnings
import zipfile

import gymnasium as gym
import numpy as np
import pytest
from helpers import HORIZON, NBSP_SETTINGS, SETTINGS, same, sequence_env, task_env
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.common import SkillNeuronCallback
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.tasks import TaskSequenceEnv, point_goal_sequence

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:A task has")


def made(env=None, **kwargs):
    return NBSPSAC("MlpPolicy", sequence_env() if env is None else env, **{**NBSP_SETTINGS, **kwargs})


class Shifted(gym.ObservationWrapper):
    def observation(self, observation):
        return observation + 100


def shifted_env():
    sequence = point_goal_sequence(steps_per_task=60, horizon=HORIZON)
    return make_vec_env(lambda: Shifted(TaskSequenceEnv(sequence)), 1)


@pytest.mark.parametrize(("cls", "callback"), [(NBSPSAC, None), (SAC, SequenceEvalCallback(0, 1))])
def test_a_wrapper_that_scoring_and_evaluation_would_lack_is_refused(cls, callback):
    with pytest.raises(ValueError, match="wrapped in Shifted"):
        cls("MlpPolicy", shifted_env(), **SETTINGS).learn(40, callback=callback)


def test_training_by_hand_before_any_step():
    plain = SAC("MlpPolicy", sequence_env(), **SETTINGS)
    ours = NBSPSAC("MlpPolicy", sequence_env(), fast_update=False, **SETTINGS)
    for model in (plain, ours):
        rng = np.random.default_rng(0)
        for _ in range(30):
            observation, action = rng.normal(size=(1, 6)).astype(np.float32), rng.uniform(-1, 1, (1, 2)).astype(np.float32)
            model.replay_buffer.add(observation, observation, action, np.ones(1), np.zeros(1), [{}])
        model.set_logger(plain.learn(0).logger if model is plain else plain.logger)
        model.set_random_seed(3)
        model.train(gradient_steps=5, batch_size=8)
    assert ours._n_updates == 5
    assert same(dict(plain.policy.state_dict()), dict(ours.policy.state_dict()))


def test_a_warmup_as_long_as_a_task_is_told():
    with pytest.warns(UserWarning, match="A task has 60 env steps, and 80 are a warm-up"):
        made(learning_starts=80).learn(20)


def test_older_transitions_fill_a_memory_up():
    model = made(task_env(), memory_size=50).learn(40)
    model.consolidate(task_env(), "east")
    model.learn(20, reset_num_timesteps=False)
    model.consolidate(task_env(), "east")
    assert len(model.replay_buffer.memory) == 50  # 20 new ones and 30 of the 40 older ones


def test_parameters_of_an_earlier_time_and_on_from_there():
    model = made()
    earlier = model.get_parameters()
    model.learn(80)
    model.set_parameters(earlier)
    assert model.learned_tasks == [] and model.neuron_masks.free_share() == 1
    model.consolidate(task="west")
    assert model.learned_tasks == ["west"]


def test_a_zip_that_is_no_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("one.txt", "1")
    with pytest.raises(ValueError, match=r"photos\.zip is damaged, cut short, or not a model's file: it has no settings"):
        NBSPSAC.load(tmp_path / "photos.zip")


def test_a_replay_buffer_of_another_number_of_sub_envs(tmp_path):
    model = made().learn(30)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    other = NBSPSAC.load(tmp_path / "model", env=sequence_env(2))
    with pytest.raises(ValueError, match="filled by 1 sub-envs, the model has 2"):
        other.load_replay_buffer(tmp_path / "buffer.pkl")


def test_from_a_file_to_another_number_of_sub_envs(tmp_path):
    SAC("MlpPolicy", sequence_env(), **SETTINGS).save(tmp_path / "sac")
    new = NBSPSAC.from_sb3(tmp_path / "sac.zip", env=sequence_env(4), memory_size=7)
    new.learn(40)
    assert new.n_envs == 4


def test_consolidating_on_an_env_of_other_spaces():
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        made().consolidate(gym.make("Pendulum-v1"), "other")


def test_the_callback_on_an_algorithm_that_cannot_consolidate():
    with pytest.raises(TypeError, match="needs an NBSP algorithm, such as NBSPSAC; got SAC"):
        SAC("MlpPolicy", sequence_env(), **SETTINGS).learn(20, callback=SkillNeuronCallback())


def test_a_sequence_in_subprocesses():
    env_kwargs = {"steps_per_task": 60, "horizon": HORIZON}
    env = make_vec_env("sb3_nbsp.tasks:sb3_nbsp/PointGoal-v0", 2, env_kwargs=env_kwargs, vec_env_cls=SubprocVecEnv)
    try:
        model = made(env).learn(130)
        assert model.learned_tasks == ["east", "west"] and model.position.steps == 130
    finally:
        env.close()


def test_nothing_held_is_no_task_held():
    model = made(skill_fraction=0).learn(70)
    assert model.learned_tasks == ["east"] and model.neuron_masks.n_held == 0
    assert made().learn(70).neuron_masks.n_held == 1


@pytest.mark.parametrize(("steps", "warns"), [(60, False), (90, True)])
def test_a_missing_buffer_is_told_only_where_something_is_missing(steps, warns, tmp_path):
    made().learn(steps).save(tmp_path / "model")
    model = NBSPSAC.load(tmp_path / "model", env=sequence_env())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(10, reset_num_timesteps=False)
    assert any("are not at hand" in str(warning.message) for warning in caught) == warns
