"""Episodes in simulators, and pictures, are played again to the bit."""

from pathlib import Path
from typing import Any

import pytest
from helpers import same
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE
from helpers.outcomes import everything
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecTransposeImage

from sb3_nbsp.checkpoints.callback import RunCheckpoints


def goes_on(made: Any, env: Any, n_steps: int, folder: Path, freq: int) -> None:
    whole = everything(made().learn(n_steps))
    made().learn(n_steps, callback=RunCheckpoints(folder, freq=freq))
    for path in sorted(folder.glob("[0-9]*")):
        model = type(made()).load_checkpoint(path, env())
        assert 0 < model.steps_left < n_steps
        assert same(everything(model.learn(model.steps_left, reset_num_timesteps=False)), whole)


@pytest.mark.filterwarnings("error:.*begin anew")
def test_meta_world_goes_on(tmp_path):
    pytest.importorskip("metaworld")

    def env() -> VecEnv:
        kwargs = {"tasks": ("window-open", "drawer-close"), "steps_per_task": 130, "horizon": 50, "action_repeat": 4}
        return make_vec_env("sb3_nbsp/MetaWorld-v0", env_kwargs=kwargs)

    goes_on(lambda: SAC_CASE.made(env(), scoring_steps=50), env, 220, tmp_path, freq=60)


@pytest.mark.filterwarnings("error:.*begin anew")
def test_pictures_go_on(tmp_path):
    def env() -> VecEnv:
        kwargs = {"steps_per_task": 60, "horizon": 10, "n_envs": 2}
        return VecFrameStack(VecTransposeImage(make_vec_env("sb3_nbsp/PointGoalImage-v0", 2, env_kwargs=kwargs)), 2)

    def made() -> Any:
        return DQN_CASE.made(env(), "CnnPolicy", net_arch=[8], fast_update=True)

    goes_on(made, env, 150, tmp_path, freq=40)


@pytest.mark.filterwarnings("error:.*begin anew")
def test_rollouts_of_pictures_go_on(tmp_path):
    def env() -> VecEnv:
        return make_vec_env("sb3_nbsp/PointGoalImage-v0", env_kwargs={"steps_per_task": 60, "horizon": 10})

    goes_on(lambda: PPO_CASE.made(env(), "CnnPolicy", net_arch=[8]), env, 150, tmp_path, freq=40)
