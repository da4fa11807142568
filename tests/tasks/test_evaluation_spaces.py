"""What agents are judged on is looked at before training: alone, and as far as an agent must be able to act there."""

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers.counting_env import CountingEnv

from sb3_nbsp import NBSPPPO
from sb3_nbsp.evaluation import TaskEvaluator
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv
from sb3_nbsp.tasks.sequence_vector_env import TaskSequenceVectorEnv


class Alone(CountingEnv):
    """Of a simulator that allows one at a time."""

    n_open = n_made = 0

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        assert Alone.n_open == 0, "the licence is in use"
        super().__init__(render_mode, **kwargs)
        Alone.n_open += 1
        Alone.n_made += 1
        np.random.random()

    def close(self) -> None:
        Alone.n_open -= 1


class Judge(CountingEnv):
    n_made = 0

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        super().__init__(render_mode, **kwargs)
        type(self).n_made += 1
        np.random.random()


class Spaces(gym.Env):
    """Only what it shows and takes."""

    def __init__(self, observations: spaces.Space, actions: spaces.Space) -> None:
        self.observation_space, self.action_space = observations, actions


def judged_by(judge: Any, make: Any = CountingEnv, task_id: bool = False) -> TaskSequence:
    return TaskSequence((Task("a", make), Task("b", make, judge)), 6, task_id=task_id)


def test_it_is_looked_at_while_no_other_env_is_open() -> None:
    def sequence() -> TaskSequence:
        return TaskSequence((Task("only", Alone, partial(Alone)),), 6)

    env = TaskSequenceEnv(sequence())
    env.close()
    assert (Alone.n_open, Alone.n_made) == (0, 2)
    TaskSequenceEnv(sequence(), switch_on="episode").close()
    assert (Alone.n_open, Alone.n_made) == (0, 3)


def test_looking_at_it_draws_none_of_trainings_random_numbers() -> None:
    Judge.n_made, before = 0, np.random.get_state()[2]
    TaskSequenceEnv(judged_by(Judge), n_envs=3)
    assert Judge.n_made == 1 and np.random.get_state()[2] == before


def test_it_is_looked_at_each_time() -> None:
    size = {"trained": 2, "judged": 3}

    def make(render_mode: str | None, who: str) -> gym.Env:
        return CountingEnv(render_mode, obs_space=spaces.Box(-1.0, 1.0, (size[who],)))

    sequence = judged_by(partial(make, who="judged"), partial(make, who="trained"))
    for trained, judged in ((2, 3), (2, 2), (3, 2)):
        size.update(trained=trained, judged=judged)
        if trained == judged:
            TaskSequenceEnv(sequence)
            continue
        with pytest.raises(ValueError, match=r"observation space: task 'a' has .*, task 'b' as make_evaluation makes it has"):
            TaskSequenceEnv(sequence)


WIDE, NARROW = (spaces.Box(-bound, bound, (1,), np.float32) for bound in (2.0, 1.0))
ROW = spaces.Box(-1.0, 1.0, (2,), np.float32)
PICTURE, BYTES = (spaces.Box(0, high, (36, 36, 3), np.uint8) for high in (255, 100))


@pytest.mark.parametrize(
    ("trained", "judged"),
    [
        ((ROW, NARROW), (ROW, WIDE)),
        ((ROW, WIDE), (ROW, NARROW)),
        ((ROW, spaces.Discrete(3)), (ROW, spaces.Discrete(5))),
        ((spaces.Discrete(5), NARROW), (spaces.Discrete(3), NARROW)),
        ((ROW, spaces.MultiDiscrete([3, 2])), (ROW, spaces.MultiDiscrete([3, 4]))),
        ((spaces.Dict({"a": ROW}), NARROW), (spaces.Dict({"a": spaces.Box(-9.0, 9.0, (2,), np.float32)}), NARROW)),
        ((spaces.Dict({"a": ROW}), NARROW), (spaces.Dict({"a": spaces.Box(-1.0, 1.0, (2,), np.float64)}), NARROW)),
        ((spaces.Box(0, 9, (2,), np.int64), NARROW), (spaces.Box(0, 9, (2,), np.int32), NARROW)),
        ((spaces.MultiBinary(3), NARROW), (spaces.MultiBinary(3), NARROW)),
    ],
)
def test_spaces_may_differ_where_an_agent_can_act_all_the_same(trained: Any, judged: Any) -> None:
    TaskSequenceEnv(judged_by(lambda _: Spaces(*judged), lambda _: Spaces(*trained)))


@pytest.mark.parametrize(
    ("trained", "judged", "kind"),
    [
        ((ROW, NARROW), (ROW, spaces.Box(-1.0, 1.0, (2,), np.float32)), "action"),
        ((ROW, spaces.Discrete(3)), (ROW, spaces.Discrete(2)), "action"),
        ((ROW, spaces.Discrete(3)), (ROW, spaces.Discrete(3, start=1)), "action"),
        ((ROW, spaces.Discrete(3)), (ROW, NARROW), "action"),
        ((ROW, spaces.MultiDiscrete([3, 2])), (ROW, spaces.MultiDiscrete([3, 2, 2])), "action"),
        ((spaces.Discrete(3), NARROW), (spaces.Discrete(5), NARROW), "observation"),
        ((PICTURE, NARROW), (spaces.Box(0, 1, PICTURE.shape, np.float32), NARROW), "observation"),
        ((PICTURE, NARROW), (BYTES, NARROW), "observation"),  # of which SB3's VecTransposeImage takes the first only
        ((spaces.Dict({"a": ROW}), NARROW), (spaces.Dict({"b": ROW}), NARROW), "observation"),
        ((spaces.MultiBinary(3), NARROW), (spaces.MultiBinary(4), NARROW), "observation"),
    ],
)
def test_spaces_in_which_an_agent_cannot_act_are_refused(trained: Any, judged: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} space: task 'a' has .*, task 'b' as make_evaluation makes it has"):
        TaskSequenceEnv(judged_by(lambda _: Spaces(*judged), lambda _: Spaces(*trained)))


def test_vector_envs_of_a_sequence_look_at_it_too() -> None:
    def vector(n: int) -> gym.vector.VectorEnv:
        return gym.vector.SyncVectorEnv([CountingEnv] * n, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)

    def judge(_: str | None) -> gym.Env:
        return CountingEnv(obs_space=spaces.Box(-1.0, 1.0, (5,)))

    with pytest.raises(ValueError, match=r"observation space: task 'a' has .*, task 'a' as make_evaluation makes it has"):
        TaskSequenceVectorEnv(TaskSequence((Task("a", CountingEnv, judge, make_vector=vector),), 6), 2)


@pytest.mark.parametrize(("trained", "judged"), [(1.0, 2.0), (2.0, 1.0)])
def test_agents_are_scored_and_judged_where_bounds_of_actions_differ(trained: float, judged: float) -> None:
    sequence = judged_by(partial(CountingEnv, bound=judged), partial(CountingEnv, bound=trained))
    model = NBSPPPO(
        "MlpPolicy", TaskSequenceEnv(sequence), n_steps=6, batch_size=6, n_epochs=1, scoring_steps=12, device="cpu"
    )
    model.learn(sequence.total_steps)
    assert model.learned_tasks == ["a", "b"] and model.env is not None
    assert TaskEvaluator(model.env, sequence, n_eval_episodes=1).evaluate(model)[1] == {"a": 3.0, "b": 3.0}
