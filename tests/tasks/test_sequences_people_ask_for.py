"""Ids reserved for later tasks, any order, arguments per task, a single name, names as others write them."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import HORIZON
from helpers.cases import every_case
from torch import nn

from sb3_nbsp.tasks import TaskSequence, TaskSequenceEnv, atari_sequence, gymnasium_sequence, point_goal_sequence
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


def test_arguments_per_task():
    tasks = {"light": {"id": "Pendulum-v1", "g": 5.0}, "heavy": {"id": "Pendulum-v1", "g": 12.0}}
    for sequence in (gymnasium_sequence(tasks, 10), gym.make("sb3_nbsp/Gymnasium-v0", tasks=tasks).unwrapped.task_sequence):
        assert sequence.task_names == ("light", "heavy")
        assert [sequence.make_task_env(name).unwrapped.g for name in sequence.task_names] == [5.0, 12.0]


@pytest.mark.parametrize("wrong", [{"a": {"g": 5.0}}, {"a": "Pendulum-v1"}])
def test_a_task_with_arguments_needs_an_id(wrong):
    with pytest.raises(ValueError, match=r"Task 'a' must have an id, and may have arguments of gymnasium.make"):
        gymnasium_sequence(wrong, 10)


def test_a_single_name_is_a_sequence_of_one():
    assert gymnasium_sequence("Pendulum-v1", 10).task_names == ("Pendulum-v1",)
    assert point_goal_sequence("north", 10).task_names == ("north",)
    assert gym.make("sb3_nbsp/PointGoal-v0", tasks="west").unwrapped.task_sequence.task_names == ("west",)


@pytest.mark.parametrize(
    ("name", "game"),
    [("Pong", "Pong"), ("ALE/Pong-v5", "Pong"), ("Pong-v4", "Pong"), ("SpaceInvadersNoFrameskip-v4", "SpaceInvaders"),
     ("BreakoutDeterministic-v0", "Breakout")],
)  # fmt: skip
def test_a_games_name(name, game):
    assert _game_of(name) == game


def test_ales_ids_are_understood():
    pytest.importorskip("ale_py")
    assert atari_sequence(("ALE/Pong-v5", "BreakoutNoFrameskip-v4"), 10).task_names == ("Pong", "Breakout")
    with pytest.raises(ValueError, match=r"Unknown Atari game 'Pung'. Did you mean 'Pong'"):
        atari_sequence("ALE/Pung-v5", 10)
