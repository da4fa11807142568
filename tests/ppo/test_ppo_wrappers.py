"""VecNormalize beside other wrappers: what NBSPPPO keeps of observations is what its networks take, or it says so."""

import numpy as np
import pytest
from gymnasium import spaces
from helpers import AnyActionEnv, task_env, toy_sequence_env
from helpers.ppo_models import CNN, made, quiet
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize, VecTransposeImage

pytestmark = quiet
CHANNEL_LAST = spaces.Box(0, 255, (36, 40, 1), np.uint8)
IMAGE_AND_VECTOR = spaces.Dict({"image": CHANNEL_LAST, "vector": spaces.Box(-1.0, 1.0, (3,))})


@pytest.mark.parametrize("rehearsal", ["clone", "clip"])
def test_images_whose_rewards_are_normalised(rehearsal):
    """SB3 puts VecTransposeImage outside."""
    env = VecNormalize(toy_sequence_env(space=CHANNEL_LAST, steps=32), norm_obs=False)
    model = made(env, "CnnPolicy", policy_kwargs=CNN, rehearsal=rehearsal).learn(64)
    assert isinstance(model.env, VecTransposeImage) and model.learned_tasks == ["a", "b"]
    kept = model.memory.tasks[0].observations
    assert kept.shape[1:] == (1, 36, 40) and kept.max() > 1


def test_stacked_frames_whose_rewards_are_normalised():
    env = VecFrameStack(VecNormalize(toy_sequence_env(steps=32), norm_obs=False), 2)
    model = made(env).learn(64)
    assert model.learned_tasks == ["a", "b"] and model.memory.tasks[0].observations.shape[1:] == (6,)


@pytest.mark.parametrize("settings", [{"rehearsal": "clip"}, {"rehearsal": "clip", "replay_mode": "share"}, {}])
def test_numbers_beside_normalised_observations(settings):
    """SB3's buffers keep an array of one where an env gives a number."""
    space = spaces.Dict({"number": spaces.Discrete(4), "vector": spaces.Box(-5.0, 5.0, (3,))})
    env = VecNormalize(toy_sequence_env(space=space, steps=32), norm_obs_keys=["vector"])
    model = made(env, "MultiInputPolicy", **settings).learn(64)
    assert {key: values.shape[1:] for key, values in model.memory.tasks[0].observations.items()} == {
        "number": (1,),
        "vector": (3,),
    }


def dict_env():
    return VecNormalize(toy_sequence_env(space=IMAGE_AND_VECTOR, steps=32), norm_obs_keys=["vector"])


OUTSIDE = {
    "stacked": (lambda: VecFrameStack(VecNormalize(toy_sequence_env()), 4), "MlpPolicy"),
    "image in a dict": (dict_env, "MultiInputPolicy"),
    "by hand": (lambda: VecFrameStack(VecNormalize(make_vec_env(AnyActionEnv, 1)), 2), "MlpPolicy"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_a_wrapper_outside_normalised_observations_is_refused_before_training(case):
    make_env, policy = OUTSIDE[case]
    model = made(make_env(), policy)
    with pytest.raises(ValueError, match="Put VecNormalize outermost"):
        model.learn(32)
    assert model.num_timesteps == 0
    model = made(make_env(), policy, memory_size=0).learn(32)
    assert model.num_timesteps == 32


def test_outermost_it_is_fine():
    model = made(VecNormalize(VecFrameStack(toy_sequence_env(steps=32), 4))).learn(64)
    assert model.memory.tasks[0].observations.shape[1:] == (12,)
    model = made(VecNormalize(make_vec_env(lambda: task_env(), 1))).learn(32)
    model.consolidate(task="east")
    assert len(model.memory) == 32
