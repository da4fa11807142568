"""Files that are damaged, cut short, of another class or another network: refused, named, with what to do."""

import json
import pickle
import zipfile

import pytest
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, TABLE, TQC_CASE, every_case

from sb3_nbsp import NBSPSAC


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model of each class, with its buffer, one of SB3's, and one that learned two tasks."""
    folder = tmp_path_factory.mktemp("files")
    for case in TABLE:
        model = case.made().learn(60)
        model.save(folder / f"{case.id}.zip")
        if not case.on_policy:
            model.save_replay_buffer(folder / f"{case.id}.pkl")
    SAC_CASE.made_parent().save(folder / "parent.zip")
    SAC_CASE.made().learn(120).save(folder / "learned.zip")
    SAC_CASE.made(SAC_CASE.sequence_env(2)).learn(60).save_replay_buffer(folder / "two.pkl")
    return folder


def without(path, entry, target):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name != entry:
                new.writestr(name, old.read(name))
    return target


def readers(path):
    """All ways to read a model's file."""
    yield lambda: NBSPSAC.load(path)
    yield lambda: SAC_CASE.made().set_parameters(str(path))
    yield lambda: NBSPSAC.from_sb3(str(path))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.8, 0.97, 0.999])
def test_a_file_that_was_cut_short_is_named(files, tmp_path, share):
    whole = (files / "sac.zip").read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(whole[: int(len(whole) * share)])
    for read in readers(path):
        with pytest.raises(ValueError, match=r"cut\.zip"):
            read()


def test_a_file_with_other_bytes_in_it_is_named(files, tmp_path):
    whole = bytearray((files / "sac.zip").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(byte ^ 255 for byte in whole[middle : middle + 64])
    path = tmp_path / "changed.zip"
    path.write_bytes(whole)
    for read in readers(path):
        with pytest.raises(ValueError, match=r"changed\.zip"):
            read()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("data", "no settings"),
        ("policy.pth", "networks are missing"),
        ("neuron_masks.pth", "masks.*missing"),
        ("critic.optimizer.pth", "not saved by"),
    ],
)
def test_a_file_that_lacks_a_part_is_named(files, tmp_path, entry, words):
    with pytest.raises(ValueError, match=rf"part\.zip.*{words}"):
        NBSPSAC.load(without(files / "learned.zip", entry, tmp_path / "part.zip"))


@every_case
def test_another_classes_file_is_named_with_its_class(files, case):
    for other in TABLE:
        if other is not case:
            with pytest.raises(
                ValueError, match=f"{other.id}.zip was saved by {other.cls.__name__}, not by {case.cls.__name__}"
            ):
                case.cls.load(files / f"{other.id}.zip")


def test_sb3s_file_is_told_how_to_be_taken_over(files):
    with pytest.raises(ValueError, match=r"parent\.zip.*NBSPSAC\.from_sb3"):
        NBSPSAC.load(files / "parent.zip")


@pytest.mark.parametrize("case", [SAC_CASE, PPO_CASE, DQN_CASE], ids=lambda case: case.id)
def test_networks_of_another_shape_are_told(files, case):
    with pytest.raises(RuntimeError, match=rf"{case.id}\.zip: the networks have other layers or shapes.*net_arch"):
        case.made(net_arch=(9, 9)).set_parameters(str(files / f"{case.id}.zip"))
    with pytest.raises(RuntimeError, match="the parameters: the networks have other layers or shapes"):
        case.made(net_arch=(9, 9)).set_parameters(case.made().get_parameters())


def test_what_is_no_file_is_refused():
    for read in (NBSPSAC.load, SAC_CASE.made().set_parameters):
        with pytest.raises(TypeError, match=r"a model's file.*got 5"):
            read(5)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}), pickle.dumps(list(range(1000)))[:500]], ids=len)
def test_a_damaged_replay_buffer_is_named(tmp_path, content):
    path = tmp_path / "buffer.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"buffer\.pkl is damaged, cut short, or not a replay buffer's file"):
        SAC_CASE.made().load_replay_buffer(path)


def test_a_replay_buffer_of_another_env_is_named(files):
    with pytest.raises(ValueError, match=r"dqn\.pkl was filled on another env: its action_space"):
        SAC_CASE.made().load_replay_buffer(files / "dqn.pkl")
    with pytest.raises(ValueError, match=r"two\.pkl was filled by 2 sub-envs, the model has 1"):
        SAC_CASE.made().load_replay_buffer(files / "two.pkl")
    TQC_CASE.made().load_replay_buffer(files / "sac.pkl")  # of the same env


def test_arguments_are_checked_at_load_too(files):
    for name, value in (
        ("skill_fraction", 3),
        ("batch_size", 0),
        ("learning_rate", "0.1"),
        ("optimize_memory_usage", "False"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            NBSPSAC.load(files / "sac.zip", **{name: value})


def test_an_argument_that_no_model_has_is_refused_at_load(files):
    with pytest.raises(ValueError, match=r"Unknown argument of NBSPSAC 'skil_fraction'\. Did you mean 'skill_fraction'"):
        NBSPSAC.load(files / "sac.zip", skil_fraction=0.1)


@pytest.mark.parametrize(
    "name, value",
    [("num_timesteps", "many"), ("learned_tasks", 5), ("skill_neuron_records", [1]), ("position_record", {"visits": "x"})],
)
def test_a_state_that_is_none_is_named(files, tmp_path, name, value):
    path = without(files / "learned.zip", "data", tmp_path / "changed.zip")
    with zipfile.ZipFile(files / "learned.zip") as old, zipfile.ZipFile(path, "a") as new:
        new.writestr("data", json.dumps({**json.loads(old.read("data")), name: value}))
    with pytest.raises(ValueError, match=rf"changed\.zip is damaged: {name} must be"):
        NBSPSAC.load(path)


def test_parameters_with_masks_and_no_memory_empty_the_memory_in_words():
    model = SAC_CASE.made().learn(70)
    parameters = {name: state for name, state in model.get_parameters().items() if not name.endswith("memory")}
    with pytest.warns(UserWarning, match="masks of old tasks and no replay_buffer.memory"):
        model.set_parameters(parameters)
    assert len(model.memory) == 0
