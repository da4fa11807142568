"""What cannot be a task, or make one's environment, is refused in words before training."""

from typing import Any

import gymnasium as gym
import pytest

from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv


def pendulum(render_mode: str | None) -> gym.Env:
    return gym.make("Pendulum-v1", render_mode=render_mode)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("", pendulum), ValueError, "must not be empty"),
        ((" ", pendulum), ValueError, "must not be empty"),
        ((5, pendulum), TypeError, "name must be text, got 5"),
        ((None, pendulum), TypeError, "name must be text, got None"),
        (("A", 5), TypeError, "make of task 'A' must be a function"),
        (("A", None), TypeError, "make of task 'A' must be a function"),
        (("A", pendulum, "Pendulum-v1"), TypeError, "make_evaluation of task 'A'"),
        (("A", pendulum, None, None, 3), TypeError, "make_vector of task 'A'"),
        (("A", pendulum, None, 5), ValueError, "reference_scores of task 'A' must be two different finite numbers.*got 5"),
        (("A", pendulum, None, ("0", "1")), ValueError, "reference_scores of task 'A' must be"),
        (("A", pendulum, None, "ab"), ValueError, "reference_scores of task 'A' must be"),
        (("A", pendulum, None, (1.0, 1)), ValueError, "two different finite numbers"),
    ],
)
def test_a_task_is_a_name_and_a_function(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Task(*arguments)


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (lambda: TaskSequence((Task("A", lambda mode: None),), 10).make_task_env("A"), TypeError, "'A' must make a Gymnasium"),
        (lambda: TaskSequence((Task("A", pendulum),), 10, order=5), TypeError, "Expected names.*got 5"),
        (lambda: TaskSequence(5, 10), TypeError, "tasks must be a list .* got 5"),
        (
            lambda: TaskSequenceEnv(TaskSequence((Task("A", pendulum),), 10), render_mode="x"),
            (ValueError, gym.error.Error),
            "x",
        ),
    ],
)
def test_a_sequence_is_of_tasks_that_make_environments(made: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        made()


def test_a_mode_that_the_tasks_cannot_draw_in() -> None:
    def make(render_mode: str | None) -> gym.Env:
        return gym.make("Pendulum-v1")

    with pytest.raises(ValueError, match=r"render_mode must be one of \['human', 'rgb_array'\]"):
        TaskSequenceEnv(TaskSequence((Task("A", make),), 10), render_mode="x")
