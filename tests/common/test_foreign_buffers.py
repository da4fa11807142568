"""A replay buffer's file from another env is refused, whichever suffix it has, and the model keeps its own buffer."""

import json
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from helpers import AnyActionEnv
from helpers.cases import DQN_CASE, SAC_CASE

SUFFIXES = (".pkl", ".npz")
PAIRS = {
    "fewer actions": (DQN_CASE, spaces.Discrete(5), spaces.Discrete(3), "action_space"),
    "other bounds": (SAC_CASE, spaces.Box(-10.0, 10.0, (2,)), spaces.Box(-1.0, 1.0, (2,)), "action_space"),
    "other keys": (
        SAC_CASE,
        spaces.Dict({"a": spaces.Box(-1.0, 1.0, (3,))}),
        spaces.Dict({"b": spaces.Box(-1.0, 1.0, (4,))}),
        "observation",
    ),
}


def made(case, space):
    if isinstance(space, spaces.Dict):
        return case.made(AnyActionEnv(observation_space=space), policy="MultiInputPolicy")
    return case.made(AnyActionEnv(space))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_buffer_of_another_env_is_refused(pair, suffix, tmp_path):
    case, theirs, ours, what = PAIRS[pair]
    made(case, theirs).learn(30).save_replay_buffer(tmp_path / f"buffer{suffix}")
    model = made(case, ours).learn(30)
    before = model.replay_buffer
    with pytest.raises(ValueError, match=f"buffer{suffix}.*{what}"):
        model.load_replay_buffer(tmp_path / f"buffer{suffix}")
    assert model.replay_buffer is before
    model.learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_an_equal_env_it_is_taken(suffix, tmp_path):
    made(SAC_CASE, spaces.Box(-1.0, 1.0, (2,))).learn(30).save_replay_buffer(tmp_path / f"buffer{suffix}")
    model = made(SAC_CASE, spaces.Box(-1.0, 1.0, (2,)))
    model.load_replay_buffer(tmp_path / f"buffer{suffix}")
    assert model.replay_buffer.size() == 30


def test_a_file_that_does_not_tell_its_spaces_is_read(tmp_path):
    """As earlier versions wrote them, and for spaces of a user's own class."""
    model = made(SAC_CASE, spaces.Box(-1.0, 1.0, (2,))).learn(30)
    model.save_replay_buffer(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("header")))
    assert set(header.pop("spaces")) == {"observation_space", "action_space"}
    np.savez(tmp_path / "old.npz", header=np.array(json.dumps(header)), **arrays)
    model.load_replay_buffer(tmp_path / "old.npz")
    assert model.replay_buffer.size() == 30

    class Own(spaces.Box):
        pass

    model = made(SAC_CASE, Own(-1.0, 1.0, (2,))).learn(30)
    model.save_replay_buffer(tmp_path / "own.npz")
    model.load_replay_buffer(tmp_path / "own.npz")
    assert model.replay_buffer.size() == 30


def test_what_is_no_buffer_leaves_the_models_own(tmp_path):
    model = SAC_CASE.made().learn(30)
    before = model.replay_buffer
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"list\.pkl is damaged"):
        model.load_replay_buffer(tmp_path / "list.pkl")
    assert model.replay_buffer is before
    model.learn(10, reset_num_timesteps=False)
