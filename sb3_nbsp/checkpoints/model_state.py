"""What a model's own file does not hold: the replay buffer, memories, random states, the running episodes, callbacks."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.checkpoints.callback_state import callback_states, restore_callbacks
from sb3_nbsp.checkpoints.env_state import env_state
from sb3_nbsp.checkpoints.memories import Written, memories_of, memory_state, restore_memory
from sb3_nbsp.checkpoints.random_states import random_states, restore_random_states
from sb3_nbsp.checkpoints.ring import blobs, restore_ring, ring_state
from sb3_nbsp.checkpoints.trees import flat, nested

RECENT = "rollout_buffer.recent"  # the current task's newest samples, of on-policy algorithms
ROLLOUT_COUNTERS = ("n_batches", "first_row_of_task")


def state_of(model: Any, callback: BaseCallback | None, written: Written) -> tuple[dict[str, Any], list[str]]:
    """
    :param model: one of ours, with nothing in flight
    :param callback: what ``learn()`` runs with
    :param written: what lies in the store; brought up to date
    :return: plain values and arrays, and the names of the blobs that belong to them
    """
    buffer = getattr(model, "replay_buffer", None)
    if is_mixed(buffer):
        written.keep_to(buffer)
    memories = {name: memory_state(name, memory, written) for name, memory in memories_of(model).items()}
    names = [blob for state in memories.values() for _, blob in state["tasks"]]
    state = {
        "random": random_states(model),
        "env": None if model.env is None else env_state(model.env),
        "callbacks": callback_states(callback, written.told),
        "memories": memories,
        "within_learn": model.is_learning,
        "started_at": model._num_timesteps_at_start,
        "elapsed": time.time_ns() - getattr(model, "start_time", time.time_ns()),
        "replay_buffer": None,
        "rollout_buffer": None,
    }
    if is_mixed(buffer):
        state["replay_buffer"], written.stretches = ring_state(buffer, written.stretches, written.store)
        names += blobs(written.stretches)
    recent = model._optional_states().get(RECENT)
    if recent is not None:
        counters = {name: getattr(model.rollout_buffer, name) for name in ROLLOUT_COUNTERS}
        state["rollout_buffer"] = {"recent": flat(recent.state_dict()), "counters": counters}
    return state, names


def restore_buffers(model: Any, state: Mapping[str, Any], written: Written) -> None:
    """Fill the buffers and memories of a model that was just loaded."""
    for name, memory in memories_of(model).items():
        restore_memory(name, memory, state["memories"][name], written)
    if state["replay_buffer"] is not None:
        written.stretches = restore_ring(model.replay_buffer, state["replay_buffer"], written.store)
        written.buffer, written.n_resets = model.replay_buffer, model.replay_buffer.n_resets
    if state["rollout_buffer"] is not None:
        arrays = {name: th.as_tensor(array) for name, array in state["rollout_buffer"]["recent"].items()}
        model._optional_states()[RECENT].load_state_dict(nested(arrays))
        model.rollout_buffer.__dict__.update(state["rollout_buffer"]["counters"])


def is_mixed(buffer: Any) -> bool:
    """Whether a replay buffer counts its rows, as ours do."""
    return hasattr(buffer, "n_added")


@contextmanager
def without_what_is_elsewhere(model: Any) -> Iterator[None]:
    """Inside the block a model's file is without its memories, which lie in the store."""
    model._kept_elsewhere = frozenset([*memories_of(model), RECENT])
    try:
        yield
    finally:
        del model._kept_elsewhere


class GoingOn:
    """
    What of a checkpoint can be put in place only when ``learn()`` has begun: it seeds, resets noise and starts callbacks.

    :param model: as it was loaded, with its env in place
    :param state: of the checkpoint
    """

    def __init__(self, model: Any, state: Mapping[str, Any]) -> None:
        self.state = state
        self.step = model.num_timesteps
        self._last_obs = model._last_obs
        self._noise = deepcopy(getattr(model, "action_noise", None))

    @property
    def within_learn(self) -> bool:
        """Whether the checkpoint was written within ``learn()``; else a ``learn()`` begins as any other. Earlier versions did
        not tell."""
        return bool(self.state.get("within_learn", True))

    def fits(self, model: Any) -> bool:
        """Whether the model still stands where the checkpoint left it: the same env, not reset, counted on."""
        return model.num_timesteps == self.step and model._last_obs is self._last_obs

    def complete(self, model: Any, callback: BaseCallback) -> None:
        """
        :param model: at the first safe point of its ``learn()``
        :param callback: what it runs with
        """
        if self.within_learn:
            if self._noise is not None:
                model.action_noise.__dict__.update(self._noise.__dict__)  # in place: the rollout has been given it already
            model._num_timesteps_at_start = self.state["started_at"]
            model.start_time = time.time_ns() - self.state["elapsed"]
            restore_callbacks(callback, self.state["callbacks"])
        restore_random_states(model, self.state["random"])
