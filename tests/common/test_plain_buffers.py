"""Replay buffers in .npz files: no pickle, the same buffer, and what is refused."""

import io
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from helpers.cases import SAC_CASE, off_policy_cases
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer

from sb3_nbsp import NBSPSAC
from sb3_nbsp.rehearsal import MixedReplayBuffer

DICT = spaces.Dict({"x": spaces.Box(-1.0, 1.0, (3,)), "image": spaces.Box(0, 255, (1, 4), np.uint8)})
pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def content(buffer: ReplayBuffer) -> dict[str, object]:
    """What a buffer holds, in comparable form."""

    def comparable(value: object) -> object:
        if isinstance(value, dict):
            return {key: comparable(item) for key, item in value.items()}
        return (value.dtype.str, value.tolist()) if isinstance(value, np.ndarray) else value

    return {name: comparable(value) for name, value in vars(buffer).items() if name not in ("memory", "device")}


def assert_the_same_as_by_pickle(model, tmp_path) -> None:
    model.save_replay_buffer(tmp_path / "buffer.npz")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    model.load_replay_buffer(tmp_path / "buffer.pkl")
    expected = model.replay_buffer
    model.load_replay_buffer(tmp_path / "buffer.npz", trust=False)
    assert type(model.replay_buffer) is type(expected) and model.replay_buffer is not expected
    assert content(model.replay_buffer) == content(expected)
    assert model.replay_buffer.memory is model.memory


@off_policy_cases
@pytest.mark.parametrize("n_envs", [1, 2])
def test_the_same_as_by_pickle(case, n_envs, tmp_path):
    model = case.made(case.sequence_env(n_envs)).learn(100)
    assert len(model.memory) > 0
    assert_the_same_as_by_pickle(model, tmp_path)
    model.learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_steps": 3},
        {"optimize_memory_usage": True, "memory_size": 0, "replay_buffer_kwargs": {"handle_timeout_termination": False}},
    ],
)
def test_other_kinds_of_buffers(kwargs, tmp_path):
    assert_the_same_as_by_pickle(SAC_CASE.made(SAC_CASE.point_goal(), **kwargs).learn(40), tmp_path)


def test_dict_observations(tmp_path):
    assert_the_same_as_by_pickle(SAC_CASE.made(SAC_CASE.toy_env(DICT), "MultiInputPolicy").learn(30), tmp_path)


def test_no_pickle_is_in_the_file(tmp_path):
    model = SAC_CASE.made().learn(30)
    model.save_replay_buffer(tmp_path / "buffer.npz")
    with np.load(tmp_path / "buffer.npz", allow_pickle=False) as file:
        assert len(file.files) == 7 and all(file[name].dtype != object for name in file.files)


def test_a_pickle_needs_trust(tmp_path):
    model = SAC_CASE.made().learn(30)
    model.save_replay_buffer(tmp_path / "buffer")
    before = model.replay_buffer
    with pytest.raises(ValueError, match=r"buffer holds a pickle.*saved with the suffix \.npz"):
        model.load_replay_buffer(tmp_path / "buffer", trust=False)
    assert model.replay_buffer is before
    model.load_replay_buffer(tmp_path / "buffer")
    with pytest.raises(ValueError, match="holds a pickle"):
        model.load_replay_buffer(io.BytesIO(pickle.dumps(before)), trust=False)


class Own(MixedReplayBuffer):
    pass


def test_a_buffer_of_ones_own_is_refused(tmp_path):
    model = SAC_CASE.made(replay_buffer_class=Own)
    with pytest.raises(ValueError, match=r"got Own, which may keep what a \.npz file cannot\. Save it as \.pkl"):
        model.save_replay_buffer(tmp_path / "buffer.npz")
    model.replay_buffer = SAC("MlpPolicy", model.env, buffer_size=10).replay_buffer
    model.replay_buffer.note = "mine"
    with pytest.raises(ValueError, match="cannot keep 'note' of ReplayBuffer"):
        model.save_replay_buffer(tmp_path / "buffer.npz")
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files_are_told(tmp_path):
    model = SAC_CASE.made().learn(30)
    model.save_replay_buffer(tmp_path / "buffer.npz")
    whole = (tmp_path / "buffer.npz").read_bytes()
    before = model.replay_buffer
    for damaged in (whole[: len(whole) // 2], b"", b"text", pickle.dumps([1])):
        (tmp_path / "cut.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"Expected in .*cut\.npz a replay buffer"):
            model.load_replay_buffer(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(ValueError, match=r"other\.npz a replay buffer"):
        model.load_replay_buffer(tmp_path / "other.npz")
    np.savez(tmp_path / "object.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"object\.npz a replay buffer"):
        model.load_replay_buffer(tmp_path / "object.npz")
    with pytest.raises(FileNotFoundError):
        model.load_replay_buffer(tmp_path / "none.npz")
    assert model.replay_buffer is before


def test_other_observations_are_refused(tmp_path):
    SAC_CASE.made(SAC_CASE.toy_env()).learn(5).save_replay_buffer(tmp_path / "buffer.npz")
    model = NBSPSAC("MlpPolicy", SAC_CASE.sequence_env(), **SAC_CASE.settings())
    with pytest.raises(ValueError, match="observations and actions as the model's"):
        model.load_replay_buffer(tmp_path / "buffer.npz")
