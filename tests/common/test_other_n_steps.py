"""A model that goes on with another number of steps than its memory was filled with."""

import copy
import warnings

import numpy as np
import pytest
from helpers import VECTORS
from helpers.cases import DQN_CASE, SAC_CASE, off_policy_cases, on_cases

from sb3_nbsp.common.older_files import without_its_steps
from sb3_nbsp.rehearsal import MixedNStepReplayBuffer, MixedReplayBuffer
from sb3_nbsp.rehearsal.memory import Transitions

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:The current task's", "ignore:A task has")
THREE = {"tasks": ("east", "west", "north"), "steps": 30}
SMALL = {"learning_starts": 5, "scoring_steps": 20, "memory_size": 20, "gamma": 0.9, "skill_fraction": 0.0}


def transitions(rewards, weights, discount) -> Transitions:
    """One, of which only these are looked at."""
    one = np.ones((1, 1), np.float32)
    arrays = (np.array([values], np.float32) for values in (rewards, weights, [discount]))
    return Transitions(one, one, one, one, *arrays)


@pytest.mark.known_answer
def test_transitions_over_one_step_and_three_are_joined():
    joined = Transitions.join([transitions([2], [1], 1), transitions([1, 2, 3], [1, 0.9, 0.81], 0.729)])
    assert joined.rewards.tolist() == [[2, 0, 0], [1, 2, 3]]
    np.testing.assert_allclose(joined.weights, [[1, 0, 0], [1, 0.9, 0.81]], rtol=1e-6)
    assert joined.rewards.dtype == joined.weights.dtype == np.float32


@off_policy_cases
@pytest.mark.parametrize("mode", ["interval", "share"])
def test_a_model_is_loaded_with_more_steps(case, mode, tmp_path):
    """In the third task batches come out of the memories of both, filled before and after."""
    settings = {**SMALL, "replay_mode": mode, "replay_interval": 2}
    case.made(case.sequence_env(**THREE), **settings).learn(30).save(tmp_path / "model")
    model = case.cls.load(tmp_path / "model", env=case.sequence_env(**THREE), n_steps=3)
    model.learn(45, reset_num_timesteps=False)
    assert [samples.rewards.shape[1] for samples in model.memory.tasks.values()] == [1, 3]
    old = model.replay_buffer._to_samples(model.memory.sample(200), None)
    found = {round(float(discount), 3) for discount in old.discounts}
    assert {0.9, 0.729} <= found <= {0.9, 0.81, 0.729}  # a buffer of single steps knew no gamma and noted 1


@on_cases(SAC_CASE, DQN_CASE)
def test_a_model_is_loaded_with_fewer_steps(case, tmp_path):
    """Its replay buffer, too: a file's rows are single steps."""
    three = case.made(**SMALL, n_steps=3).learn(10)
    three.save(tmp_path / "model")
    three.save_replay_buffer(tmp_path / "buffer")
    model = case.cls.load(tmp_path / "model", env=case.sequence_env(), n_steps=1)
    assert type(model.replay_buffer) is MixedReplayBuffer
    model.load_replay_buffer(tmp_path / "buffer")
    assert type(model.replay_buffer) is MixedReplayBuffer and model.replay_buffer.size() == 10
    assert model.replay_buffer.sample(4).discounts is None
    more = case.cls.load(tmp_path / "model", env=case.sequence_env(), n_steps=2)
    more.load_replay_buffer(tmp_path / "buffer")
    assert (more.replay_buffer.n_steps, more.replay_buffer.gamma) == (2, 0.9)


class OfSingleSteps(MixedReplayBuffer):
    pass


class OfSeveralSteps(MixedNStepReplayBuffer):
    pass


def test_no_buffer_ignores_the_number_of_steps():
    with pytest.raises(ValueError, match="n_steps=3 needs a replay buffer of several steps, and OfSingleSteps gives single"):
        SAC_CASE.made(replay_buffer_class=OfSingleSteps, n_steps=3)
    with pytest.raises(AssertionError, match=r"MixedDictReplayBuffer gives single ones .* Dict observation spaces"):  # as SB3
        SAC_CASE.made(SAC_CASE.toy_env(VECTORS), "MultiInputPolicy", n_steps=3)
    buffer = SAC_CASE.made(replay_buffer_class=OfSeveralSteps, n_steps=3, gamma=0.9).replay_buffer
    assert (buffer.n_steps, buffer.gamma) == (3, 0.9)


class OfFiveSteps(MixedNStepReplayBuffer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, n_steps=5, **kwargs)


class OfFiveUnlessTold(MixedNStepReplayBuffer):
    def __init__(self, *args, n_steps=5, **kwargs):
        super().__init__(*args, n_steps=n_steps, **kwargs)


@pytest.mark.parametrize("buffer_class", [OfFiveSteps, OfFiveUnlessTold])
def test_a_class_that_the_user_names_has_its_own_steps(buffer_class):
    """As in SB3, where n_steps=1 says nothing of it."""
    assert DQN_CASE.made(replay_buffer_class=buffer_class).replay_buffer.n_steps == 5


def test_a_buffer_of_several_steps_is_not_exchanged_in_silence():
    with pytest.warns(UserWarning, match="with n_steps=1: single steps are .* out of a MixedReplayBuffer"):
        assert type(SAC_CASE.made(replay_buffer_class=MixedNStepReplayBuffer).replay_buffer) is MixedReplayBuffer


def test_a_file_of_before_that_keeps_the_steps_as_the_buffers_arguments(tmp_path):
    three = SAC_CASE.made(n_steps=3)
    three.replay_buffer_kwargs = {"n_steps": 3, "gamma": 0.99, "handle_timeout_termination": False}
    three.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "replay_buffer_class")
        model = SAC_CASE.cls.load(tmp_path / "model", env=SAC_CASE.sequence_env(), n_steps=1)
    assert type(model.replay_buffer) is MixedReplayBuffer
    assert model.replay_buffer_kwargs == {"handle_timeout_termination": False}
    assert SAC_CASE.cls.load(tmp_path / "model").replay_buffer.n_steps == 3
    five = {"n_steps": 5}
    given = SAC_CASE.cls.load(
        tmp_path / "model", n_steps=1, replay_buffer_class=MixedNStepReplayBuffer, replay_buffer_kwargs=five
    )
    assert given.replay_buffer.n_steps == 5


def test_steps_of_a_class_of_the_users_own_stay_its_arguments():
    own = {"replay_buffer_class": {"__module__": "mine"}, "n_steps": 3, "replay_buffer_kwargs": {"n_steps": 3}}
    assert without_its_steps(own) == without_its_steps({}) == without_its_steps({**own, "n_steps": 1}) == {}


@on_cases(SAC_CASE, DQN_CASE)
def test_a_task_that_is_met_again_is_filled_up_over_other_steps(case):
    model = case.made(case.task_env(), **SMALL, n_steps=3).learn(30)
    one = case.made(case.task_env(), **SMALL).learn(30)
    one.consolidate(task="A")
    model.set_parameters(copy.deepcopy(one.get_parameters()))
    model.learn(8, reset_num_timesteps=False)
    model.consolidate(task="task 1")
    assert model.memory.tasks[0].rewards.shape == (20, 3)


@on_cases(SAC_CASE, DQN_CASE)
def test_transitions_over_three_steps_are_refused_where_single_ones_are_learned_from(case):
    three = case.made(case.task_env(), **SMALL, n_steps=3).learn(20)
    three.consolidate(task="A")
    for changes in ({}, {"rehearsal": "clone"}):
        model = case.made(case.task_env(), **{**SMALL, **changes})
        model.set_parameters(copy.deepcopy(three.get_parameters()))
        if not changes:
            with pytest.raises(ValueError, match=r"over 3 steps.*Make the model with n_steps=3"):
                model.learn(20)
            assert model.num_timesteps == 0
        else:
            model.learn(20)
