"""Reading what older versions saved: files name classes by the modules that held them then, and lack arguments of today."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from sb3_nbsp.common.buffer_choice import OF_STEPS
from sb3_nbsp.common.position import FollowedSequence, SequencePosition

# Where the classes stood that pickles of commit 2a43d91 and before name, and where they stand now.
MOVED = {
    "sb3_nbsp.common.activations": "sb3_nbsp.neurons.activations",
    "sb3_nbsp.common.buffers": "sb3_nbsp.rehearsal.replay_buffers",
    "sb3_nbsp.common.gates": "sb3_nbsp.protection.gates",
    "sb3_nbsp.common.masks": "sb3_nbsp.protection.masks",
    "sb3_nbsp.common.memory": "sb3_nbsp.rehearsal.memory",
    "sb3_nbsp.common.neurons": "sb3_nbsp.neurons.networks",
    "sb3_nbsp.common.optimizers": "sb3_nbsp.protection.optimizer",
    "sb3_nbsp.common.rollouts": "sb3_nbsp.rehearsal.rollout_buffers",
    "sb3_nbsp.common.skill_neurons": "sb3_nbsp.neurons.skill_neurons",
}

# What an argument stands for in files from before it existed, where its default of today says something else.
BEFORE = {"rehearsal": "replay"}
OUR_BUFFERS = ("sb3_nbsp.common.buffers", "sb3_nbsp.rehearsal.replay_buffers")


def values_before(in_file: Mapping[str, Any]) -> dict[str, Any]:
    """
    :param in_file: the attributes that a model's file holds, as they stand in its JSON
    :return: values of the arguments that it lacks, as they were without them
    """
    return {name: value for name, value in BEFORE.items() if in_file and name not in in_file}


def without_its_steps(in_file: Mapping[str, Any]) -> dict[str, Any]:
    """
    What a file says of its replay buffer where ``load()`` is given another ``n_steps``: ours is chosen anew, and the arguments
    that SB3 made of ``n_steps`` (older files keep them) are left out.

    :param in_file: see :func:`values_before`
    :return: attributes by name; none where the buffer is a class of the user's, or the model's transitions are single steps
    """
    given, n_steps = in_file.get("replay_buffer_class"), in_file.get("n_steps")
    ours = isinstance(given, Mapping) and given.get("__module__") in OUR_BUFFERS
    if not ours or not isinstance(n_steps, int) or n_steps <= 1:
        return {}
    kwargs = in_file.get("replay_buffer_kwargs")
    if not isinstance(kwargs, Mapping) or kwargs.get("n_steps") != n_steps:
        return {"replay_buffer_class": None}
    left = {name: value for name, value in kwargs.items() if name not in OF_STEPS}
    return {"replay_buffer_class": None, "replay_buffer_kwargs": left}


@contextmanager
def moved_modules() -> Iterator[None]:
    """
    Inside the block old module paths lead to the modules of today, for what is unpickled there. Elsewhere they are gone.
    """
    missing = [old for old in MOVED if old not in sys.modules]
    sys.modules.update({old: import_module(MOVED[old]) for old in missing})
    try:
        yield
    finally:
        for old in missing:
            sys.modules.pop(old, None)


def say_whose_lengths_fit(position: SequencePosition, sequence: FollowedSequence) -> None:
    """
    Warn where a model of an older file goes on in a sequence of which it knows how long the tasks are, not which they are.

    :param position: where the model stands
    :param sequence: that it goes on in
    """
    if position.visits and position.visits[0][0] is None:
        warnings.warn(
            f"The model's file is of an older version and names no tasks, but their lengths are those of this env: it goes on "
            f"at step {position.steps} of {', '.join(sequence.task_names)}. If it learned other tasks, call "
            "restart_sequence() before learn().",
            stacklevel=5,
        )
