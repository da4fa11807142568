"""What NBSPSAC keeps of old tasks, and in which buffers."""

import warnings

import pytest
from helpers import (
    VECTORS,
    ToyEnv,
    sequence_env,
)
from helpers.sac_models import EAST, STEPS, WEST, made, remembered_ids
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from sb3_nbsp.rehearsal import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


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
