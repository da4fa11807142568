"""Tasks whose episodes begin alike are told: a policy that cannot know which is on keeps the old one and learns no other."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces
from helpers import HORIZON, AnyActionEnv, task_env
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE, every_case, off_policy_cases, on_cases
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecExtractDictObs, VecNormalize

from sb3_nbsp.common.beginnings import LARGEST, MOST, new_record, note_step, task_ended
from sb3_nbsp.tasks import point_goal_sequence

pytestmark = pytest.mark.filterwarnings(
    r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size", "ignore:The last .* env steps were not"
)
ALIKE = "begin as those of .* do: no number of the first observation tells them apart"


def learned_east(case, **kwargs):
    """East is over; what comes next observes the same numbers."""
    model = case.made(case.point_goal(), **kwargs).learn(128)
    model.consolidate(task="east")
    model.set_env(case.point_goal())
    return model


def silent(model, steps=128):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ALIKE)
        model.learn(steps, reset_num_timesteps=False)


@every_case
def test_by_hand(case):
    model = learned_east(case)
    with pytest.warns(UserWarning, match=r'what is learned now begin as those of east do.*begin_task\("east"\)'):
        model.learn(128, reset_num_timesteps=False)
    silent(model)  # told once


@on_cases(SAC_CASE, PPO_CASE)
def test_of_a_sequence_without_ids(case):
    model = case.made(case.sequence_env(steps=96, task_id=False, cycles=1))
    with pytest.warns(UserWarning, match="Episodes of west begin as those of east do"):
        model.learn(192)


@on_cases(SAC_CASE, DQN_CASE, PPO_CASE)
@pytest.mark.parametrize("n_envs", [1, 4])
def test_ids_tell_tasks_apart_and_a_task_from_the_episode_before_its_own(case, n_envs):
    model = case.made(case.sequence_env(n_envs=n_envs, steps=192, task_id=True))
    silent(model, 4 * 192)
    assert set(model.beginnings["tasks"]) == {"east", "west"}
    for name, own in (("east", [1, 0]), ("west", [0, 1])):
        noted = model.beginnings["tasks"][name]
        assert noted["low"][-2:] == noted["high"][-2:] == own


@every_case
def test_the_same_task_again_is_no_other(case):
    model = learned_east(case)
    model.begin_task("east")
    silent(model)


@on_cases(SAC_CASE, PPO_CASE)
def test_where_nothing_is_kept_nothing_is_told(case):
    silent(learned_east(case, skill_fraction=0.0, memory_size=0))


def test_what_is_noted_is_saved(tmp_path):
    model = learned_east(SAC_CASE)
    model.save(tmp_path / "model")
    for trust in (True, False):
        again = SAC_CASE.cls.load(tmp_path / "model", env=SAC_CASE.point_goal(), trust=trust)
        assert again.beginnings == model.beginnings and again.beginnings["tasks"]["east"]["n"] > 3


def fake():
    return SimpleNamespace(
        beginnings=new_record(),
        position=SimpleNamespace(task=None, pending=None),
        learned_tasks=["A"],
        _protects=True,
        gates=None,
    )


def see(model, *rows):
    """Episodes that begin with these observations, and a step of the last one."""
    for row in rows:
        note_step(model, row, np.array([True]))
    note_step(model, rows[-1], np.array([False]))


@pytest.mark.known_answer
def test_smallest_and_largest():
    model = fake()
    see(model, *(np.array([row]) for row in ([0.0, 5.0], [1.0, 4.0], [-1.0, 6.0])))
    assert model.beginnings["now"] == {"n": 3, "low": [-1, 4], "high": [1, 6]}
    task_ended(model, "A")
    # The second number is below A's in all of them; then one of them touches it.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        see(model, *(np.array([row]) for row in ([0.0, 3.0], [0.5, 3.5], [9.0, 3.9])))
    with pytest.warns(UserWarning, match="as those of A do"):
        see(model, np.array([[0.0, 4.0]]))


def test_an_episode_counts_for_the_task_in_which_its_first_step_is_taken():
    model = fake()
    note_step(model, np.array([[1.0], [2.0]]), np.array([True, False]))
    task_ended(model, "A")
    note_step(model, np.array([[3.0], [4.0]]), np.array([False, False]))
    assert model.beginnings["now"] == {"n": 1, "low": [1], "high": [1]} and model.beginnings["tasks"] == {}
    task_ended(model, None)
    assert model.beginnings == new_record()


@pytest.mark.parametrize(
    ("row", "n_numbers"),
    [
        ({"a": np.ones((1, 2)), "b": np.array([2])}, 3),
        ({"a": np.ones((1, 2)), "b": np.ones((1, 36, 36, 3), np.uint8)}, 2),
        (np.array([3]), 1),
        (np.ones((1, 3, 36, 36), np.uint8), 0),
        (np.ones((1, LARGEST + 1)), 0),
    ],
    ids=["dict", "dict with a picture", "number", "picture", "large"],
)
def test_observations_of_all_kinds(row, n_numbers):
    model = fake()
    see(model, row)
    assert len((model.beginnings["now"] or {"low": []})["low"]) == n_numbers


def test_statistics_may_be_of_observations_of_another_kind():
    """Those that VecNormalize gets are a dict here, those of the policy numbers."""
    env = VecExtractDictObs(VecNormalize(DummyVecEnv([lambda: Monitor(Keyed())])), "a")
    model = PPO_CASE.made(env, memory_size=0).learn(128)
    assert len(model.beginnings["now"]["low"]) == 3


class Keyed(AnyActionEnv):
    def __init__(self):
        spaces_of = spaces.Dict({"a": spaces.Box(-9, 9, (2,)), "b": spaces.Box(-9, 9, (1,))})
        super().__init__(spaces.Box(-2.0, 2.0, (2,)), spaces_of)


@every_case
def test_an_env_that_is_reset_begins_anew(case):
    """With ids, and a learn() that ends on an episode's last step: the next one would have begun as an old task's."""
    sequence = point_goal_sequence(horizon=HORIZON, discrete=case.discrete, task_id=True)
    model = case.made(task_env("east", sequence)).learn(6 * 16)
    model.consolidate(task="east")
    model.set_env(task_env("west", sequence))
    silent(model, 6 * 16)
    model.consolidate(task="west")
    assert model.beginnings["tasks"]["west"]["low"][-2:] == [0, 1]


@off_policy_cases
def test_a_rollout_over_a_switch_does_not_mix_the_tasks(case):
    model = case.made(case.sequence_env(n_envs=2, steps=100, task_id=True), train_freq=32)
    silent(model, 400)
    for name, own in (("east", [1, 0]), ("west", [0, 1])):
        assert model.beginnings["tasks"][name]["low"][-2:] == model.beginnings["tasks"][name]["high"][-2:] == own


def test_a_few_episodes_are_enough():
    model = fake()
    see(model, *(np.array([[float(n)]]) for n in range(3 * MOST)))
    assert model.beginnings["now"]["n"] == MOST
