"""What NBSPSAC refuses, in words, before training."""

import numpy as np
import pytest
from gymnasium import spaces
from helpers import (
    ToyEnv,
    sequence_env,
    task_env,
    toy_sequence_env,
)
from helpers.sac_models import STEPS, made, saved_and_loaded
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


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
        ({"replay_buffer_class": OwnBuffer}, "OwnBuffer keeps nothing of old tasks"),
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
