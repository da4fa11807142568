"""Atari games seen as the console's memory: the same games as in pictures, their arguments, and a run that is killed."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers import copied, same
from helpers.cases import PPO_CASE
from helpers.outcomes import everything
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.tasks import atari_sequence, make_atari_game
from sb3_nbsp.tasks.atari_emulator import FIRE, NOOP
from sb3_nbsp.tasks.atari_vector import make_atari_vector

pytest.importorskip("ale_py")
RAM: Any = {"obs_type": "ram"}


def lives_at_the_end(env: gym.Env, action: int = NOOP, at_most: int = 600) -> int:
    env.reset(seed=0)
    for _ in range(at_most):
        if any(env.step(action)[2:4]):
            break
    return int(env.unwrapped.ale.lives())  # type: ignore[attr-defined]


def total(env: gym.Env, action: int, steps: int) -> float:
    env.reset(seed=0)
    return sum(float(env.step(action)[1]) for _ in range(steps))


@pytest.mark.parametrize("evaluation", [False, True])
def test_it_is_the_very_game_that_is_seen_in_pictures(evaluation: bool) -> None:
    ram, pictures = (make_atari_game("Breakout", None, evaluation, obs_type=kind) for kind in ("ram", "grayscale"))
    obs, _ = ram.reset(seed=7)
    pictures.reset(seed=7)
    ended, random = 0, np.random.default_rng(0)
    for _ in range(120):
        shown = pictures.unwrapped.ale.getRAM()  # type: ignore[attr-defined]
        assert obs.dtype == np.float32 and ram.observation_space.contains(obs)
        np.testing.assert_array_equal(np.rint(obs * 255), shown)
        action = int(random.integers(18))
        obs, *told, info = ram.step(action)
        assert (told, info["lives"]) == ([*pictures.step(action)[1:4]], pictures.unwrapped.ale.lives())  # type: ignore[attr-defined]
        if told[1] or told[2]:
            ended += 1
            obs, _ = ram.reset()
            pictures.reset()
    assert (ended == 0) is evaluation  # lives


def test_games_share_128_numbers_and_18_actions() -> None:
    env = gym.make("sb3_nbsp/AtariRam-v0", tasks=["Boxing", "Breakout"], steps_per_task=10, task_id=True)
    assert env.observation_space.shape == (130,) and env.action_space == gym.spaces.Discrete(18)
    obs, info = env.reset(seed=0)
    assert obs[128:].tolist() == [1.0, 0.0] and info["task_name"] == "Boxing"
    env.close()


def test_each_argument_of_training() -> None:
    assert lives_at_the_end(make_atari_game("Breakout", **RAM)) == 4
    assert lives_at_the_end(make_atari_game("Breakout", **RAM, episodic_life=False), at_most=100) == 4  # waits for FIRE
    assert lives_at_the_end(make_atari_game("Breakout", **RAM, fire_reset=False), at_most=100) == 5  # so does this
    clipped, raw = (total(make_atari_game("DemonAttack", **RAM, clip_rewards=clip), FIRE, 100) for clip in (True, False))
    assert raw == 10 * clipped > 0  # a demon of the first wave gives 10 points
    sticky = make_atari_game("DemonAttack", **RAM, repeat_action_probability=0.25)
    assert sticky.unwrapped.ale.getFloat("repeat_action_probability") == 0.25  # type: ignore[attr-defined]


def test_the_vector_emulator_has_the_same_arguments() -> None:
    for lives, fires, ended in ((True, True, 4), (False, True, None), (True, False, None)):
        env = make_atari_vector("Breakout", 1, episodic_life=lives, fire_reset=fires, clip_rewards=False)
        env.reset(seed=0)
        at_end = None
        for _ in range(60):
            _, _, terminated, _, info = env.step(np.array([NOOP]))
            at_end = int(info["lives"][0]) if terminated[0] and at_end is None else at_end
        assert at_end == ended, (lives, fires)
        env.close()


def test_evaluation_always_has_raw_scores_and_whole_games() -> None:
    task = atari_sequence("Breakout", **RAM, clip_rewards=True).tasks[0]
    assert task.make_evaluation is not None and lives_at_the_end(task.make_evaluation(None)) == 0
    task = atari_sequence("DemonAttack", **RAM).tasks[0]
    assert task.make_evaluation is not None and total(task.make_evaluation(None), FIRE, 100) >= 10


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="obs_type must be one of grayscale, ram; got 'rgb'"):
        atari_sequence(obs_type="rgb")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Pictures have no place for a task's id"):
        atari_sequence(task_id=True)
    with pytest.raises(ValueError, match=r"'Pong' cannot make a vector env.*obs_type='grayscale'.*Use ordinary env"):
        gym.make_vec("sb3_nbsp/AtariRam-v0", 2)


class Killed(BaseCallback):
    """Ends at the first safe point from a step on."""

    def _on_step(self) -> bool:
        return True

    def on_safe_point(self, callback: BaseCallback) -> None:
        if self.num_timesteps >= 56:
            raise KeyboardInterrupt


def memory_of(model: Any) -> Any:
    return copied(model.memory.state_dict())


@pytest.mark.filterwarnings("error:.*begin anew")
def test_killed_in_the_second_game_it_goes_on_and_keeps_its_memory(tmp_path: Path) -> None:
    def env() -> VecEnv:
        kwargs = {"tasks": ["Boxing", "FishingDerby"], "steps_per_task": 32}
        return make_vec_env("sb3_nbsp/AtariRam-v0", env_kwargs=kwargs)

    def made() -> Any:
        return PPO_CASE.made(env(), n_steps=8, scoring_steps=10, memory_size=10, score="random")

    whole = made().learn(64)
    stopped = made()
    with pytest.raises(KeyboardInterrupt):
        stopped.learn(64, callback=[RunCheckpoints(tmp_path, freq=16), Killed()])
    model = type(stopped).load_checkpoint(tmp_path, env())
    assert model.learned_tasks == ["Boxing"] and 0 < model.steps_left < 32
    assert len(model.memory) == 10 and same(memory_of(model), memory_of(stopped))
    model.learn(model.steps_left, reset_num_timesteps=False)
    assert model.learned_tasks == ["Boxing", "FishingDerby"]
    assert same(everything(model), everything(whole)) and same(memory_of(model), memory_of(whole))
