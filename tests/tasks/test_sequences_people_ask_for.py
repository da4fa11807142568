"""Ids reserved for later tasks, any order, arguments per task, a single name, names as others write them."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import HORIZON
from helpers.cases import PPO_CASE, SAC_CASE, every_case, on_cases
from torch import nn

from sb3_nbsp.tasks import (
    TaskSequence,
    TaskSequenceEnv,
    atari_sequence,
    gymnasium_sequence,
    point_goal_sequence,
    point_image_sequence,
)
from sb3_nbsp.tasks.atari import _game_of

pytestmark = pytest.mark.filterwarnings(
    r"ignore:The goal metric q\(t\)", "ignore:You have specified a mini-batch size", "ignore:.*of its neurons free"
)


@pytest.mark.known_answer
def test_any_order():
    sequence = point_goal_sequence(("east", "west", "north"), (10, 20, 30), cycles=2, order=("east", "west", "east", "north"))
    assert sequence.segments == ("east", "west", "east", "north") * 2
    assert sequence.segment_steps == (10, 20, 10, 30) * 2  # a task's steps, wherever it is visited
    assert sequence.switch_steps[:4] == (10, 30, 40, 70) and sequence.total_steps == 140


def test_the_env_goes_in_this_order():
    sequence = point_goal_sequence(("east", "west", "north"), 4, cycles=1, order=["north", "east", "north", "west"])
    env, seen = TaskSequenceEnv(sequence), []
    env.reset(seed=0)
    for _ in range(16):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        seen.append(info["task_name"])
        if terminated or truncated:
            env.reset()
    assert seen[::4] == ["north", "east", "north", "west"] and seen[3::4] == seen[::4]
    env.fast_forward(9)
    assert env.reset()[1]["task_name"] == "north"


@pytest.mark.parametrize(
    ("order", "words"), [(("east", "wets"), "Did you mean 'west'"), (("east",), "west is in none of its places")]
)
def test_an_order_that_cannot_be(order, words):
    with pytest.raises(ValueError, match=words):
        point_goal_sequence(("east", "west"), 10, order=order)


@pytest.mark.parametrize(("task_id", "width"), [(False, 0), (True, 2), (2, 2), (8, 8), (np.int64(3), 3), (np.bool_(True), 2)])
def test_the_ids_width(task_id, width):
    sequence = point_goal_sequence(("east", "west"), 10, task_id=task_id)
    observation = sequence.make_task_env("west").reset(seed=0)[0]
    assert sequence.id_width == width and observation.shape == (4 + width,)
    assert observation[4:].tolist() == [0.0, 1.0, *[0.0] * (width - 2)][:width]


def test_true_is_no_number():
    tasks = point_goal_sequence(("east",), 10).tasks
    assert TaskSequence(tasks, 10, task_id=True).id_width == 1 == TaskSequence(tasks, 10, task_id=1).id_width
    for wrong, error in ((1, ValueError), (0, ValueError), ("8", TypeError), (8.0, TypeError), (None, TypeError)):
        with pytest.raises(error, match="task_id"):
            TaskSequence(point_goal_sequence(("east", "west"), 10).tasks, 10, task_id=wrong)


@pytest.mark.parametrize("gates", [False, True])
@every_case
def test_a_task_is_added_to_a_trained_agent(case, gates, tmp_path):
    """With room for its id, in memory and from a file; what was learned is kept."""

    def env(*tasks):
        return case.sequence_env(tasks=tasks, steps=48, cycles=1, task_id=4)

    settings = {"task_gates": True, "mask_networks": "all", "policy_kwargs": {"activation_fn": nn.ReLU}, "net_arch": (16,)}
    model = case.made(env("east", "west"), **(settings if gates else {})).learn(96)
    model.save(tmp_path / "model")
    for added in (model, case.cls.load(tmp_path / "model")):
        sequence = point_goal_sequence(("east", "west", "north"), discrete=case.discrete, horizon=HORIZON, task_id=4)
        seen = np.stack([sequence.make_task_env("east").reset(seed=seed)[0] for seed in range(5)])
        before = added.predict(seen, deterministic=True)[0]
        added.set_env(env("east", "west", "north"))
        added.learn(48, reset_num_timesteps=False)
        assert added.learned_tasks == ["east", "west", "north"]
        if gates:
            assert added.gates.owns(2) and np.array_equal(added.predict(seen, deterministic=True)[0], before)


@pytest.mark.parametrize(
    ("trained", "given", "words"),
    [
        ({"task_id": 8}, {"task_id": True}, "id has length 2.*model's has length 8: make the env with task_id=8"),
        ({"task_id": True}, {"tasks": ("east", "west", "north")}, "id has length 3.*length 2: train it from.*e.g. task_id=8"),
        ({"task_id": False}, {"task_id": True}, "id has length 2.*length 0: make the env with task_id=False"),
    ],
)
@on_cases(SAC_CASE, PPO_CASE)
def test_ids_of_other_lengths(case, trained, given, words, tmp_path):
    model = case.made(case.sequence_env(**trained))
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=f"Observation spaces do not match.*{words}"):
        model.set_env(case.sequence_env(**given))
    with pytest.raises(ValueError, match=words):
        case.cls.load(tmp_path / "model", env=case.sequence_env(**given))
    with pytest.raises(ValueError, match="Observation spaces do not match") as other:
        model.set_env(gym.make("CartPole-v1"))
    assert "task_id" not in str(other.value)


def test_arguments_per_task():
    tasks = {"light": {"id": "Pendulum-v1", "g": 5.0}, "heavy": {"id": "Pendulum-v1", "g": 12.0}}
    for sequence in (gymnasium_sequence(tasks, 10), gym.make("sb3_nbsp/Gymnasium-v0", tasks=tasks).unwrapped.task_sequence):
        assert sequence.task_names == ("light", "heavy")
        assert [sequence.make_task_env(name).unwrapped.g for name in sequence.task_names] == [5.0, 12.0]


@pytest.mark.parametrize("wrong", [{"a": {"g": 5.0}}, {"a": "Pendulum-v1"}, {"a": [5.0]}])
def test_a_task_with_arguments_needs_an_id(wrong):
    with pytest.raises(ValueError, match=r"Task 'a' must have an id, if it is none itself, and may have arguments of gymn"):
        gymnasium_sequence(wrong, 10)


@pytest.mark.parametrize("given", [{"g": 5.0}, {"id": "Pendulum-v1", "g": 5.0}, {}, None])
def test_a_name_that_is_an_id(given):
    sequence = gymnasium_sequence({"Pendulum-v1": given, "heavy": {"id": "Pendulum-v1", "g": 12.0}}, 10)
    expected = [5.0 if given else 10.0, 12.0]
    assert [sequence.make_task_env(name).unwrapped.g for name in ("Pendulum-v1", "heavy")] == expected
    assert gymnasium_sequence({"gymnasium.envs:CartPole-v1": {"sutton_barto_reward": True}}, 10).make_task_env(
        "gymnasium.envs:CartPole-v1"
    )


def test_a_name_that_stands_twice_is_refused():
    names = ("Pendulum-v1", "MountainCarContinuous-v0", "Pendulum-v1")
    with pytest.raises(
        ValueError, match=r"must be distinct.*order=\('Pendulum-v1', 'MountainCarContinuous-v0', 'Pendulum-v1'\)"
    ):
        gymnasium_sequence(names, 10)
    assert gymnasium_sequence(names[:2], 10, order=names).segments == names


def test_a_task_draws_as_its_sequence_does():
    with pytest.raises(ValueError, match=r"'Pendulum-v1' must have no render_mode"):
        gymnasium_sequence({"Pendulum-v1": {"render_mode": "human"}}, 10)


PAIR = ("Pendulum-v1", ("Pendulum-v1", {"g": 9.8}))
DICTS = [{"id": "Pendulum-v1", "g": 5.0}, {"id": "Pendulum-v1", "g": 12.0}]


@pytest.mark.parametrize("wrong", [PAIR, DICTS, 5, None, ("Pendulum-v1", 5)], ids=str)
def test_tasks_that_are_no_names(wrong):
    for made in (gymnasium_sequence, point_goal_sequence, point_image_sequence):
        with pytest.raises(TypeError, match=r"Expected names, such as .*'heavy': {'id': 'Pendulum-v1', 'g': 12.0}}"):
            made(wrong, 10)
    with pytest.raises(TypeError, match="Expected names"):
        gym.make("sb3_nbsp/Gymnasium-v0", tasks=wrong)
    with pytest.raises(TypeError, match=r"tasks must (be a list of|hold) sb3_nbsp\.tasks\.Task objects"):
        TaskSequence(wrong, 10)


def test_arguments_are_not_dropped_where_a_family_takes_names_only():
    with pytest.raises(TypeError, match="Expected names"):
        point_goal_sequence({"east": {"horizon": 5}}, 10)
    with pytest.raises(TypeError, match="Sequences of names are made by functions such as gymnasium_sequence"):
        TaskSequence("Pendulum-v1", 10)
    with pytest.raises(TypeError, match="Expected names"):
        point_goal_sequence("east", 10, order=5)


def test_a_single_task_is_a_sequence_of_one():
    (task,) = point_goal_sequence("north", 10).tasks
    assert TaskSequence(task, 5).tasks == (task,)


@pytest.mark.parametrize("task_id", [2, 3, 4, np.int64(4), True])
def test_the_bar_of_pictures_has_four_places(task_id):
    """However many are reserved: a task's picture stays the same, so that tasks can be added."""
    picture = point_image_sequence(("east", "west"), 10, task_id=task_id).make_task_env("west").reset(seed=0)[0]
    assert np.array_equal(picture, point_image_sequence(("east", "west"), 10).make_task_env("west").reset(seed=0)[0])
    assert picture[:4, 9:17, 2].min() == 255 and picture[..., 2].sum() == 4 * 8 * 255


@pytest.mark.parametrize(
    ("task_id", "error", "words"),
    [
        (1, ValueError, "no room for 2 tasks"),
        (0, ValueError, "no room"),
        (8, ValueError, "has 4 places"),
        ("4", TypeError, "task_id"),
    ],
)
def test_an_id_that_the_bar_cannot_show(task_id, error, words):
    with pytest.raises(error, match=words):
        point_image_sequence(("east", "west"), 10, task_id=task_id)


def test_a_single_name_is_a_sequence_of_one():
    assert gymnasium_sequence("Pendulum-v1", 10).task_names == ("Pendulum-v1",)
    assert point_goal_sequence("north", 10).task_names == ("north",)
    assert gym.make("sb3_nbsp/PointGoal-v0", tasks="west").unwrapped.task_sequence.task_names == ("west",)


@pytest.mark.parametrize(
    ("name", "game"),
    [("Pong", "Pong"), ("ALE/Pong-v5", "Pong"), ("Pong-v4", "Pong"), ("SpaceInvadersNoFrameskip-v4", "SpaceInvaders"),
     ("BreakoutDeterministic-v0", "Breakout"), ("pong", "Pong"), ("space_invaders", "SpaceInvaders"),
     ("SPACE INVADERS", "SpaceInvaders"), ("space-invaders", "SpaceInvaders")],
)  # fmt: skip
def test_a_games_name(name, game):
    assert _game_of(name, ["Pong", "Breakout", "SpaceInvaders"]) == game


def test_ales_ids_are_understood():
    pytest.importorskip("ale_py")
    assert atari_sequence(("ALE/Pong-v5", "BreakoutNoFrameskip-v4"), 10).task_names == ("Pong", "Breakout")
    order = ("pong", "ALE/Breakout-v5", "PongNoFrameskip-v4")
    assert atari_sequence(("Pong", "Breakout"), 10, order=order).segments == ("Pong", "Breakout", "Pong")
    with pytest.raises(ValueError, match=r"Unknown Atari game 'Pung'. Did you mean 'Pong'"):
        atari_sequence("ALE/Pung-v5", 10)
    with pytest.raises(ValueError, match="Unknown Atari game 'zzz'") as unlike:
        atari_sequence("zzz", 10)
    assert len(str(unlike.value)) < 150 and "others" in str(unlike.value)
