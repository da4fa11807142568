"""What Gymnasium's wrappers hold of the past: elapsed steps, running statistics, stacked frames, a user's counters."""

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym

from sb3_nbsp.base.plain_attributes import attributes_of, restore_attributes

# Wrappers that have nothing to go on with. SB3's Monitor is looked at where its rows are.
WITHOUT_PAST = ("Monitor", "OrderEnforcing", "PassiveEnvChecker", "HumanRendering", "RenderCollection", "RecordVideo")
MADE_WITH = ("_action_space", "_observation_space", "_metadata", "_cached_spec", "_saved_kwargs", "_reward_range")
# Of these libraries' wrappers we know that they hold nothing but plain attributes from one step to the next.
LIBRARIES = ("gymnasium.", "stable_baselines3.", "sb3_contrib.", "sb3_nbsp.", "shimmy.", "ale_py.")
# States are taken at every reset: a list that grows with the training would make it quadratic.
MAX_ENTRIES = 10_000


def wrappers_of(env: gym.Env) -> Iterator[gym.Wrapper]:
    """The wrappers around an env from the outside in, to where episodes are recorded."""
    while isinstance(env, gym.Wrapper) and not hasattr(type(env), "episode_state"):
        yield env
        env = env.env


def wrapper_states(env: gym.Env) -> list[dict[str, Any]]:
    """
    :param env: a wrapped env
    :return: for each of its wrappers plain values and arrays; ``hidden`` names attributes that cannot be told
    """
    return [_state(wrapper) for wrapper in wrappers_of(env)]


def _state(wrapper: gym.Wrapper) -> dict[str, Any]:
    kind = type(wrapper).__name__
    is_known = type(wrapper).__module__.startswith(LIBRARIES)
    most = None if is_known else MAX_ENTRIES
    attributes, others = ({}, []) if kind in WITHOUT_PAST else attributes_of(wrapper, MADE_WITH, most)
    hidden = [] if is_known else others
    return {"kind": kind, "attributes": attributes, "hidden": hidden}


def restore_wrappers(env: gym.Env, states: Sequence[dict[str, Any]]) -> bool:
    """
    :param env: wrapped like the one that the states are of
    :param states: see :func:`wrapper_states`
    :return: whether its wrappers hold now what those held
    """
    wrappers = list(wrappers_of(env))
    if [type(wrapper).__name__ for wrapper in wrappers] != [state["kind"] for state in states]:
        return False
    for wrapper, state in zip(wrappers, states, strict=True):
        restore_attributes(wrapper, state["attributes"])
    return not any(state["hidden"] for state in states)
