"""What of an object's attributes is kept for another one that is made anew."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_nbsp.base.plain_attributes import MOST_COMPARED, attributes_of, note_arguments, restore_attributes
from sb3_nbsp.base.plain_values import BIT_GENERATORS
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


class Rare(np.random.PCG64):
    """No kind that we make."""


def test_a_generator_of_a_rare_kind_is_named() -> None:
    assert attributes_of(SimpleNamespace(rng=np.random.Generator(Rare(0)))) == ({}, ["rng"])


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_all_of_numpys_generators_go_on(kind: str) -> None:
    values, _ = attributes_of(SimpleNamespace(rng=np.random.Generator(BIT_GENERATORS[kind](7))))
    new = SimpleNamespace()
    restore_attributes(new, values)
    assert new.rng.random() == np.random.Generator(BIT_GENERATORS[kind](7)).random()


class Collects:
    def __init__(self, rewards: list[float] | None = None, folder: str = "runs/a"):
        self.rewards, self.folder = rewards or [], folder


@pytest.mark.parametrize("n", [10, MOST_COMPARED + 10])
def test_a_collection_that_grows_under_an_arguments_name_counts(n: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/a").mkdir(parents=True)
    holder = Collects()
    noted = note_arguments(holder)
    Path("runs/a").rmdir()  # what was a path then is none now, and has not changed
    assert attributes_of(holder, noted=noted) == ({}, [])
    for _ in range(2):
        holder.rewards += [1.0] * n
        assert attributes_of(holder, noted=noted)[0].keys() == {"rewards"}
