"""Loading without running code: settings.json in place of pickles, and what is refused."""

import base64
import json
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict, deque
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers.cases import SAC_CASE, every_case
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import LinearSchedule

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.plain_values import NotPlainError, from_plain, to_plain

OLDER = Path(__file__).parents[1] / "data" / "commit-2a43d91"
pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")
RAN: list[str] = []


def detonate() -> None:
    RAN.append("ran")


class Evil:
    """Runs something when it is unpickled."""

    def __reduce__(self):
        return detonate, ()


class OwnExtractor(FlattenExtractor):
    pass


def own_schedule(progress: float) -> float:
    return 1e-3 * progress


def without_pickles(path: Path, target: Path) -> Path:
    """A copy whose every pickle runs something when it is read."""
    bomb = base64.b64encode(pickle.dumps(Evil())).decode()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "data":
                data = json.loads(content)
                for value in data.values():
                    if isinstance(value, dict) and ":serialized:" in value:
                        value[":serialized:"] = bomb
                content = json.dumps(data).encode()
            new.writestr(name, content)
    return target


def plain(value: object) -> object:
    """For comparison: arrays and objects by what they hold."""
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), value.tolist()
    if isinstance(value, deque | list | tuple):
        return type(value), [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, spaces.Space):
        generator = value._np_random
        return value, None if generator is None else plain(generator.bit_generator.state)
    if type(value).__module__.startswith("stable_baselines3") and hasattr(value, "__dict__"):
        return type(value), plain(vars(value))
    return value


@every_case
def test_the_same_model_without_a_single_pickle(case, tmp_path):
    model = case.made().learn(100)
    model.save(tmp_path / "model")
    trusted = case.cls.load(tmp_path / "model", device="cpu")
    RAN.clear()
    loaded = case.cls.load(without_pickles(tmp_path / "model.zip", tmp_path / "bombs.zip"), device="cpu", trust=False)
    assert not RAN
    names = set(json.loads(zipfile.ZipFile(tmp_path / "model.zip").read("settings.json"))["values"])
    assert {"policy_class", "observation_space", "action_space", "lr_schedule"} <= names
    for name in names - {"lr_schedule", "clip_range"}:  # functions are compared by their values
        assert plain(getattr(loaded, name)) == plain(getattr(trusted, name)), name
    assert loaded.lr_schedule(0.3) == trusted.lr_schedule(0.3)
    state = loaded.get_parameters()
    for key, part in trusted.get_parameters().items():
        assert str(state[key]) == str(part)
    assert loaded.learned_tasks == ["east"] and loaded.memory is not None and len(loaded.memory) == len(model.memory)
    # Both go on in the same way, sampling actions included.
    one, other = ([m.action_space.sample().tolist() for _ in range(3)] for m in (loaded, trusted))
    assert one == other


def test_a_bomb_is_one(tmp_path):
    SAC_CASE.made().save(tmp_path / "model")
    RAN.clear()
    with warnings.catch_warnings(), pytest.raises(Exception):  # noqa: B017
        warnings.simplefilter("ignore")
        NBSPSAC.load(without_pickles(tmp_path / "model.zip", tmp_path / "bombs.zip"))
    assert RAN


@pytest.mark.parametrize("name", ["sac", "dqn", "ppo"])
def test_older_files_are_refused_in_words(name):
    from sb3_nbsp import NBSPDQN, NBSPPPO

    cls = {"sac": NBSPSAC, "dqn": NBSPDQN, "ppo": NBSPPPO}[name]
    with pytest.raises(ValueError, match=r"no settings\.json, as files of earlier versions.*policy_class.*save it again"):
        cls.load(OLDER / name, trust=False)


@pytest.mark.parametrize(
    "settings, names",
    [
        ({"learning_rate": lambda progress: 1e-3}, ["learning_rate", r"the function .*<lambda>"]),
        ({"learning_rate": own_schedule}, ["lr_schedule", r"own_schedule of .*test_trust"]),
        ({"policy_kwargs": {"features_extractor_class": OwnExtractor, "net_arch": [4]}}, ["policy_kwargs", "OwnExtractor"]),
    ],
)
def test_own_classes_and_functions_are_refused_by_name(tmp_path, settings, names):
    model = SAC_CASE.made()
    NBSPSAC("MlpPolicy", model.env, **{**SAC_CASE.settings(), **settings}).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"cannot be loaded with trust=False") as caught:
        NBSPSAC.load(tmp_path / "model", trust=False)
    for name in names:
        assert re.search(name, str(caught.value))
    assert NBSPSAC.load(tmp_path / "model").num_timesteps == 0


def test_what_baselines_keep_is_plain(tmp_path):
    """Plain values and tensors on the CPU, see sb3_nbsp.baselines.base."""
    model = SAC_CASE.made()
    model.baseline_states = {
        "EWC": {"fisher": {"w": th.rand(3, 2)}, "n": 2, "held": th.tensor([True, False]), "x": th.tensor(0.5)}
    }
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(without_pickles(tmp_path / "model.zip", tmp_path / "bombs.zip"), trust=False)
    assert str(loaded.baseline_states) == str(model.baseline_states)
    assert th.equal(loaded.baseline_states["EWC"]["fisher"]["w"], model.baseline_states["EWC"]["fisher"]["w"])


def test_what_is_refused_can_be_given(tmp_path):
    NBSPSAC("MlpPolicy", SAC_CASE.made().env, **{**SAC_CASE.settings(), "learning_rate": own_schedule}).save(
        tmp_path / "model"
    )
    given = {"learning_rate": 1e-3, "lr_schedule": None}
    assert NBSPSAC.load(tmp_path / "model", trust=False, custom_objects=given).learning_rate == 1e-3


def test_linear_schedules_noise_and_nets_of_libraries_are_plain(tmp_path):
    env = SAC_CASE.made().env
    settings = {
        "learning_rate": LinearSchedule(1e-3, 1e-4, 0.5),
        "action_noise": NormalActionNoise(np.zeros(2), 0.1 * np.ones(2)),
        "policy_kwargs": {"net_arch": [4], "activation_fn": th.nn.Tanh, "optimizer_class": th.optim.AdamW},
    }
    NBSPSAC("MlpPolicy", env, **{**SAC_CASE.settings(), **settings}).save(tmp_path / "model")
    loaded = NBSPSAC.load(without_pickles(tmp_path / "model.zip", tmp_path / "bombs.zip"), trust=False)
    assert loaded.learning_rate(0.75) == LinearSchedule(1e-3, 1e-4, 0.5)(0.75)
    assert isinstance(loaded.action_noise, NormalActionNoise) and loaded.policy_kwargs["activation_fn"] is th.nn.Tanh


def test_zoos_lin_x_is_plain(tmp_path):
    utils = pytest.importorskip("rl_zoo3.utils")
    settings = {**SAC_CASE.settings(), "learning_rate": utils.SimpleLinearSchedule(1e-3)}
    NBSPSAC("MlpPolicy", SAC_CASE.made().env, **settings).save(tmp_path / "model")
    loaded = NBSPSAC.load(without_pickles(tmp_path / "model.zip", tmp_path / "bombs.zip"), trust=False)
    assert loaded.learning_rate(0.5) == 5e-4 and loaded.lr_schedule(0.5) == 5e-4


@pytest.mark.parametrize(
    "entry", [{":kind:": "class", "name": "os.system"}, {":kind:": "object", "name": "subprocess.Popen", "state": {}}]
)
def test_a_file_cannot_name_other_classes(tmp_path, entry):
    SAC_CASE.made().save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as old, zipfile.ZipFile(tmp_path / "forged.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "settings.json":
                settings = json.loads(content)
                settings["values"]["policy_class"] = entry
                content = json.dumps(settings).encode()
            new.writestr(name, content)
    with pytest.raises(ValueError, match=f"settings.json names .*{entry['name']}"):
        NBSPSAC.load(tmp_path / "forged.zip", trust=False)


SPACES = [
    spaces.Box(-1.0, np.array([2.0, np.inf], np.float32)),
    spaces.Box(0, 255, (2, 3), np.uint8),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiBinary(4),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0.0, 1.0, (1,))}),
    spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary([2, 2]))),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("seeded", [True, False])
def test_spaces_come_back_with_their_random_state(space, seeded):
    if seeded:
        space.seed(3)
    again = from_plain(json.loads(json.dumps(to_plain(space, {}))), {})
    assert again == space and type(again) is type(space)
    if seeded:
        assert str(again.sample()) == str(space.sample())


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True], "b": ("x", (1,))},
        {1: "one", (2, 3): float("inf")},
        deque([{"r": 1.0}], maxlen=5),
        OrderedDict(z=1, a=2),
        {":kind:": "a user's own"},
        np.float32(0.1),
        np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1],
        np.dtype("uint8"),
    ],
    ids=repr,
)
def test_values_come_back_as_what_they_were(value):
    again = from_plain(json.loads(json.dumps(to_plain(value, {}))), {})
    assert plain(again) == plain(value) and type(again) is type(value)


NOT_PLAIN = [own_schedule, OwnExtractor, object(), np.array([None]), {"a": {1, 2}}, th.ones(1, requires_grad=True)]


@pytest.mark.parametrize("value", NOT_PLAIN, ids=lambda value: type(value).__name__)
def test_all_else_is_named(value):
    with pytest.raises(NotPlainError):
        to_plain(value, {})


def test_damaged_values_are_told():
    array = to_plain(np.arange(3), {})
    for wrong in (
        {**array, "shape": [4]},
        {**array, "shape": [-3]},
        {**array, "dtype": "O"},
        {":kind:": "new"},
        {**array, "base64": "?"},
    ):
        with pytest.raises(NotPlainError):
            from_plain(wrong, {})


def test_spaces_of_gymnasium_envs_are_known():
    for name in ("Pendulum-v1", "CartPole-v1"):
        env = gym.make(name)
        assert from_plain(to_plain(env.observation_space, {}), {}) == env.observation_space
