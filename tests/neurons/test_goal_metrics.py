"""What a step counts as: goal metrics on rollouts of a few steps."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from helpers.scoring_steps import rollout

from sb3_nbsp.neurons.scoring import choose_goal


@pytest.mark.known_answer
def test_return_belongs_to_every_step_of_its_episode():
    rewards, starts = [1, 2, 4, 8, 16], [True, False, True, False, True]
    assert rollout(rewards, starts, ended=True).goal("return").tolist() == [3, 3, 12, 12, 16]
    steps = rollout(rewards, starts)
    assert steps.goal("return").tolist() == [3, 3, 12, 12, 7.5]  # cut off: counts as an average one


@pytest.mark.known_answer
def test_each_sub_envs_last_episode_may_be_cut_off():
    """Two sub-envs of four steps: the first one's second episode and the second one's only one are not at their end."""
    starts = [True, False, True, False, True, False, False, False]
    steps = replace(
        rollout([1, 2, 4, 8, 16, 32, 64, 128], starts), episode_ends=np.array([0, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    )
    assert steps.goal("return").tolist() == [3] * 8
    steps = replace(steps, episode_ends=np.array([0, 1, 0, 0, 0, 0, 0, 1], dtype=bool))
    assert steps.goal("return").tolist() == [3, 3, 121.5, 121.5, 240, 240, 240, 240]
    steps = replace(steps, episode_ends=np.zeros(8, dtype=bool))
    assert steps.goal("return").tolist() == [3, 3, 12, 12, 240, 240, 240, 240]  # of equal length, where all are cut off


@pytest.mark.known_answer
def test_goal_reward_and_success():
    steps = rollout([1, 2], successes=[0, 1])
    assert steps.goal("reward").tolist() == [1, 2] and steps.goal("success").tolist() == [0, 1]


@pytest.mark.parametrize("successes", [[np.nan, np.nan], [1.0, np.nan]])
def test_success_that_is_not_told_is_refused(successes):
    with pytest.raises(ValueError, match=r'goal_metric="success" needs `success` or `is_success`.*"return" or "reward"'):
        rollout([1, 2], successes=successes).goal("success")


@pytest.mark.known_answer
def test_auto_takes_success_if_told():
    name, goal = choose_goal(rollout([1, 2, 3], successes=[0, 1, 1]), "auto")
    assert (name, goal.tolist()) == ("success", [0, 1, 1])


@pytest.mark.known_answer
def test_auto_takes_the_return_if_success_is_not_told():
    name, goal = choose_goal(rollout([1, 2, 4], starts=[True, False, True], ended=True), "auto")
    assert (name, goal.tolist()) == ("return", [3, 3, 4])


@pytest.mark.known_answer
def test_constant_success_falls_back_to_the_reward():
    with pytest.warns(UserWarning, match=r"q\(t\) = success is constant at 1 over the 3 .*the reward of the step is used"):
        name, goal = choose_goal(rollout([1, 2, 3], successes=[1, 1, 1]), "success")
    assert (name, goal.tolist()) == ("reward", [1, 2, 3])


@pytest.mark.known_answer
def test_one_long_episode_falls_back_to_the_reward():
    with pytest.warns(UserWarning, match=r"q\(t\) = return is constant at 6"):
        assert choose_goal(rollout([1, 2, 3]), "return")[0] == "reward"


@pytest.mark.known_answer
@pytest.mark.parametrize("successes", [None, [1, 1, 1]])
def test_auto_takes_the_reward_where_the_others_are_constant(successes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        name, goal = choose_goal(rollout([1, 2, 3], successes=successes), "auto")
    assert (name, goal.tolist()) == ("reward", [1, 2, 3])


@pytest.mark.parametrize("metric", ["auto", "success", "return", "reward"])
def test_constant_everything_is_told_in_words(metric):
    steps = rollout([2, 2, 2, 2], starts=[True, False, True, False], successes=[0, 0, 0, 0])
    with pytest.warns(UserWarning, match="no neuron is held"):
        choose_goal(steps, metric)


def test_no_warning_where_the_goal_varies():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_goal(rollout([1, 2], successes=[0, 1]), "success")
        choose_goal(rollout([1, 2]), "reward")


@pytest.mark.known_answer
def test_an_episode_that_was_cut_off_is_no_better_than_a_whole_one():
    """Where scoring stops in mid-episode, the rest of the return is missing: of minus distances, half of it looks good."""
    steps = rollout([-1.0] * 8 + [-1.5] * 2, starts=[True, False, False, False] * 2 + [True, False])
    _, goal = choose_goal(steps, "return")
    whole, cut = goal[0], goal[-1]
    assert cut <= whole
