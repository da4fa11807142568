"""What callbacks have counted and seen so far: ours say it themselves, of others the plain attributes are kept."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EventCallback, ProgressBarCallback

from sb3_nbsp.base.plain_attributes import KNOWN, attributes_of, note_arguments, restore_attributes
from sb3_nbsp.base.plain_values import NotPlainError, from_plain, to_plain

# An attribute that every callback gets: what it was given and has not changed.
NOTED = "_noted_arguments"
# What SB3's BaseCallback itself has: it is told anew in each learn().
TOLD_ANEW = ("model", "n_calls", "num_timesteps", "verbose", "locals", "globals", "parent", NOTED)
MADE_OF_ARGUMENTS = ("_total_max_episodes",)  # of SB3's StopTrainingOnMaxEpisodes, when its training begins


def every_callback(callback: BaseCallback | None) -> Iterator[BaseCallback]:
    """A callback and those within it, in the order in which they are called."""
    if callback is None:
        return
    yield callback
    parts = callback.callbacks if isinstance(callback, CallbackList) else []
    if isinstance(callback, EventCallback):
        at_new_best = getattr(callback, "callback_on_new_best", None)  # SB3's EvalCallback has one
        parts = [part for part in (at_new_best, callback.callback) if part is not None]
    for part in parts:
        yield from every_callback(part)


def note_beginning(callback: BaseCallback) -> None:
    """
    Note once how those attributes of a callback began that have the name of an argument: what has not changed since then is
    no counter, and is what a new callback is given.

    :param callback: before anything was restored into it
    """
    if NOTED not in vars(callback) and not _says_itself(callback):
        setattr(callback, NOTED, note_arguments(callback))


def callback_states(callback: BaseCallback | None, told: set[str]) -> list[dict[str, Any]]:
    """
    :param callback: what ``learn()`` runs with
    :param told: names of the classes of which it was said that not all of them can be kept; added to
    :return: plain values, one entry for each callback
    """
    return [_state(part, told) for part in every_callback(callback)]


def _state(callback: BaseCallback, told: set[str]) -> dict[str, Any]:
    own, kind = getattr(callback, "checkpoint_state", None), type(callback).__name__
    state: dict[str, Any] = {"kind": kind, "n_calls": callback.n_calls, "attributes": {}}
    state["own"] = None if own is None else _plain(own(), kind)
    if not _says_itself(callback):
        state["attributes"], others = attributes_of(
            callback, (*TOLD_ANEW, *MADE_OF_ARGUMENTS), noted=vars(callback).get(NOTED)
        )
        if others and kind not in told:
            told.add(kind)
            warnings.warn(
                f"Checkpoints cannot keep {', '.join(others)} of the callback {kind}: numbers, texts, arrays and lists of "
                "these are kept. A run that goes on begins with what a new callback has. Methods checkpoint_state(), which "
                "returns such values, and restore_checkpoint_state(state) keep the rest.",
                stacklevel=2,
            )
    return state


def _plain(own: Any, kind: str) -> Any:
    """Keys that are no texts, tuples and arrays come back as what they were."""
    try:
        return to_plain(own, KNOWN)
    except NotPlainError as error:
        raise TypeError(
            f"Expected from checkpoint_state() of {kind} numbers, texts, arrays, and lists and dicts of these, got {error}"
        ) from error


def _says_itself(callback: BaseCallback) -> bool:
    """With ``checkpoint_state()``; ours, and what is made of them, have it or keep what they know with the model."""
    if getattr(callback, "checkpoint_state", None) is not None:
        return True
    ours = any(base.__module__.startswith("sb3_nbsp.") for base in type(callback).__mro__)
    return ours or isinstance(callback, ProgressBarCallback)


def restore_callbacks(callback: BaseCallback | None, states: list[dict[str, Any]]) -> None:
    """
    :param callback: what ``learn()`` runs with now; those that were not there at the checkpoint stay as they are
    :param states: of the checkpoint's callbacks
    """
    waiting = list(states)
    for part in every_callback(callback):
        saved = next((entry for entry in waiting if entry["kind"] == type(part).__name__), None)
        if saved is not None:
            waiting.remove(saved)
            _restore(part, saved)


def _restore(callback: BaseCallback, saved: Mapping[str, Any]) -> None:
    callback.n_calls = saved["n_calls"]
    attributes = saved.get("attributes", {})  # earlier versions kept none
    restore_attributes(callback, attributes)
    for name in attributes:
        vars(callback).get(NOTED, {}).pop(name, None)  # it has counted, whatever the new one was given
    if saved["own"] is not None and hasattr(callback, "restore_checkpoint_state"):
        callback.restore_checkpoint_state(from_plain(saved["own"], KNOWN))
