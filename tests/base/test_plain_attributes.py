"""What of an object's attributes is kept for another one that is made anew."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_nbsp.base.plain_attributes import attributes_of, restore_attributes
from sb3_nbsp.base.wrapper_states import restore_wrappers, wrapper_states


@pytest.mark.parametrize("path", ["/any/where", "runs/one/x.csv", "there/folder", "./model.zip"])
def test_texts_with_a_path_are_not_kept(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert attributes_of(SimpleNamespace(file=path)) == ({}, [])


@pytest.mark.parametrize("name", ["east/1", "sb3_nbsp/PointGoal-v0", "ALE/Pong-v5", "mass/0.5", "a.b", "a/" * 5000, "a/\0"])
def test_other_texts_are(name: str) -> None:
    values, others = attributes_of(SimpleNamespace(name=name))
    assert set(values) == {"name"} and not others


class Goals(gym.Wrapper):
    """It holds what it was given, and counts."""

    def __init__(self, env: gym.Env, goals: Any, limit: int):
        super().__init__(env)
        self.goals, self.limit, self.n = goals, limit, 0


def test_what_a_wrapper_was_given_is_that_of_the_new_one() -> None:
    """An array of any size does not make episodes begin anew."""
    one, other = Goals(gym.make("CartPole-v1"), np.zeros(300_000), 3), Goals(gym.make("CartPole-v1"), np.ones(300_000), 9)
    one.n = 5
    states = wrapper_states(one)
    assert states[0]["attributes"].keys() == {"n"} and not states[0]["hidden"]
    assert restore_wrappers(other, states) and (other.n, other.limit, other.goals[0]) == (5, 9, 1.0)


@pytest.mark.parametrize("there", [{}, {"rng": None}, {"rng": np.random.Generator(np.random.MT19937(0))}])
def test_a_generator_goes_on_whatever_is_in_its_place(there: Any) -> None:
    values, _ = attributes_of(SimpleNamespace(rng=np.random.default_rng(7)))
    new = SimpleNamespace(**there)
    restore_attributes(new, values)
    assert new.rng.random() == np.random.default_rng(7).random()


def test_a_generator_that_others_share_stays_the_same_object() -> None:
    values, _ = attributes_of(SimpleNamespace(rng=np.random.default_rng(7)))
    shared = np.random.default_rng(1)
    restore_attributes(SimpleNamespace(rng=shared), values)
    assert shared.random() == np.random.default_rng(7).random()


def test_a_generator_of_a_rare_kind_is_named() -> None:
    assert attributes_of(SimpleNamespace(rng=np.random.Generator(np.random.Philox(0)))) == ({}, ["rng"])
