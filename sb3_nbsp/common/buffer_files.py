"""Replay buffers in files of their own: which task their transitions belong to, and that the memory is the model's."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_nbsp.common import plain_buffers
from sb3_nbsp.common.buffer_choice import OF_STEPS
from sb3_nbsp.common.file_checks import NO_BUFFER, naming_damage
from sb3_nbsp.common.older_files import moved_modules
from sb3_nbsp.common.save_util import File, whole_file
from sb3_nbsp.rehearsal.memory import TaskMemory, Transitions
from sb3_nbsp.rehearsal.replay_buffers import COUNTERS, MEMORY_ARGUMENTS, MixedBuffer

# What a MixedBuffer has beside SB3's.
ADDED = (*MEMORY_ARGUMENTS, "memory", *COUNTERS)


def write(path: File, model: Any) -> None:
    """
    :param path: where to; with the suffix ``.npz`` without pickle
    :param model: an off-policy NBSP model, whose buffer is written without the memory
    :raises ValueError: for ``.npz`` and a buffer that keeps more than arrays
    """
    if plain_buffers.is_plain(path):
        plain_buffers.write_buffer(path, model.replay_buffer, model)
        return
    with whole_file(path, ".pkl") as target, without_memory(model.replay_buffer):
        OffPolicyAlgorithm.save_replay_buffer(model, target)


def read(path: File, model: Any, truncate_last_traj: bool, trust: bool) -> ReplayBuffer:
    """
    :param path: a replay buffer's file
    :param model: an off-policy NBSP model, which keeps its own buffer
    :param truncate_last_traj: see SB3
    :param trust: whether code in the file may run
    :return: what the file holds
    :raises ValueError: for a pickle without trust, or a damaged file without pickle
    """
    if plain_buffers.is_plain(path):
        return plain_buffers.read_buffer(path, model)
    if not trust:
        raise ValueError(
            f"{path} holds a pickle, which can run code when it is read: trust=False takes files that were saved with the "
            "suffix .npz. If you trust where it comes from, load it without trust=False."
        )
    before = getattr(model, "replay_buffer", None)  # some delete it first, to make room
    try:
        with moved_modules(), naming_damage(path, "a replay buffer's file", *NO_BUFFER):
            OffPolicyAlgorithm.load_replay_buffer(model, path, truncate_last_traj)
        loaded: ReplayBuffer = model.replay_buffer
    finally:
        model.replay_buffer = before
    return loaded


@contextmanager
def without_memory(buffer: ReplayBuffer | None) -> Iterator[None]:
    """
    Inside the block a buffer holds no memory, for what is pickled there: it is in the model's file.

    :param buffer: any replay buffer
    """
    if not isinstance(buffer, MixedBuffer):
        yield
        return
    memory, buffer.memory = buffer.memory, TaskMemory(Transitions)
    try:
        yield
    finally:
        buffer.memory = memory


def check_spaces(buffer: ReplayBuffer, model: Any, path: Any) -> None:
    """
    :param buffer: as it was read from a file
    :param model: an off-policy NBSP model
    :param path: the file, for the message
    :raises ValueError: if it was filled on an env with other spaces, or with another number of sub-envs
    """
    for what in ("observation_space", "action_space"):
        ours, theirs = getattr(model, what), getattr(buffer, what)
        if ours != theirs:  # as SB3 compares an env's with the model's
            raise ValueError(f"{path} was filled on another env: its {what} is {theirs}, the model's {ours}. Leave it out.")
    if buffer.n_envs != model.n_envs:
        raise ValueError(
            f"{path} was filled by {buffer.n_envs} sub-envs, the model has {model.n_envs}. Use as many as before, or go on "
            "without the buffer."
        )


def taken_over(buffer: ReplayBuffer | None, model: Any, of_task: bool) -> ReplayBuffer | None:
    """
    :param buffer: SB3's, ours or a user's
    :param model: an off-policy NBSP model that takes its transitions over
    :param of_task: whether they count for the current task
    :return: the buffer with the model's own memory and settings of it; where its class is SB3's or ours, of the class and over
        as many steps as the model's own
    :raises ValueError: if it was filled by another number of sub-envs
    """
    if buffer is not None and buffer.n_envs != model.n_envs:
        raise ValueError(
            f"The replay buffer was filled by {buffer.n_envs} sub-envs, the model has {model.n_envs}. Use as many as "
            "before, or go on without the buffer."
        )
    if type(buffer) in (*model.mixed_buffers, *model.mixed_buffers.values()):
        buffer = _of_models_class(buffer, model)
    if isinstance(buffer, MixedBuffer):
        memory = TaskMemory(Transitions) if model.memory is None else model.memory
        settings = model.memory_arguments()
        counted = {} if of_task else {"n_rows_of_task": 0}
        buffer.__dict__.update(settings, memory=memory, n_task_ends=model.n_task_ends, **counted)
    return buffer


def _of_models_class(buffer: Any, model: Any) -> ReplayBuffer:
    """Rows are single steps in all of these classes: how many a transition goes over is decided when it is sampled."""
    own, plain = model.replay_buffer, type(buffer) in model.mixed_buffers
    like = buffer
    if type(own) in model.mixed_buffers.values() and own.optimize_memory_usage == buffer.optimize_memory_usage:
        like = own
    mixed_class = model.mixed_buffers.get(type(like), type(like))
    mixed: ReplayBuffer = mixed_class.__new__(mixed_class)
    mixed.__dict__.update({name: value for name, value in vars(buffer).items() if name not in OF_STEPS})
    mixed.__dict__.update({name: vars(like)[name] for name in OF_STEPS if name in vars(like)})
    if plain:
        mixed.__dict__.update(n_batches=0, n_rows_of_task=buffer.size())
    return mixed


def without_additions(buffer: Any, mixed_buffers: Mapping[Any, Any]) -> Any:
    """
    :param buffer: a replay buffer
    :param mixed_buffers: our class by SB3's
    :return: SB3's buffer with the same transitions (the arrays are shared), where it is one of ours, else the buffer
    """
    for plain_class, mixed_class in mixed_buffers.items():
        if type(buffer) is mixed_class:
            plain = plain_class.__new__(plain_class)
            plain.__dict__.update({name: value for name, value in vars(buffer).items() if name not in ADDED})
            return plain
    return buffer


def is_of_current_task(buffer: ReplayBuffer, model: Any) -> bool:
    """
    :param buffer: as it was read from a file
    :param model: an off-policy NBSP model
    :return: whether its newest transitions belong to the task that the model learns now. A buffer that does not count the
        tasks that have ended is told by the memory in it (ours of commit 2a43d91 and before); from one of the SB3 parent it
        is assumed only while no task has ended.
    """
    if model.memory is None:  # a user's own buffer, which tells no tasks apart
        return True
    counted = vars(buffer).get("n_task_ends")
    if counted is not None or not isinstance(buffer, MixedBuffer):
        return (counted or 0) == model.n_task_ends
    return _equal(buffer.memory, model.memory)


def is_left_out(buffer: ReplayBuffer, model: Any, path: str) -> bool:
    """
    Warn that the transitions of a file are not the current task's.

    :param buffer: as it was read from a file
    :param model: an off-policy NBSP model
    :param path: the file, for the warning
    :return: whether they shall not be used at all
    """
    left_out = bool(model.reset_replay_buffer) and isinstance(buffer, MixedBuffer)
    if isinstance(buffer, MixedBuffer):
        reason = f"{path} was saved while another task was learned than the one that the model learns now."
    else:
        reason = f"{path} does not say when it was saved, and the model has consolidated a task since it began."
    what = (
        "Its transitions are left out, as after every task switch (reset_replay_buffer=True)."
        if left_out
        else "Its transitions are learned from, but none of them will enter the memory of the current task."
    )
    warnings.warn(f"{reason} {what} The memory of old tasks stays the model's.", stacklevel=3)
    return left_out


def _equal(first: TaskMemory[Any], second: TaskMemory[Any]) -> bool:
    """Whether two memories hold the same samples (told by their actions)."""
    if set(first.tasks) != set(second.tasks):
        return False
    return all(np.array_equal(samples.actions, second.tasks[task].actions) for task, samples in first.tasks.items())
