"""Memories of tasks, each in a blob of its own: a finished task's samples are written once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch as th

from sb3_nbsp.checkpoints.ring import Stretch
from sb3_nbsp.checkpoints.store import Store
from sb3_nbsp.checkpoints.trees import flat, nested
from sb3_nbsp.rehearsal.memory import TaskMemory


@dataclass
class Written:
    """
    What of a model lies in a store already. Kept by the model in memory only: after a load it is what that checkpoint names.

    :param store: the store
    :param run: what the run is called, in whichever folders its checkpoints lie
    :param buffer: the replay buffer that the stretches are of
    :param n_resets: the buffer's, when they were written
    :param stretches: of its rows
    :param memories: samples and their blob, by the memory's name and the task
    :param told: callbacks' classes that a warning has named
    """

    store: Store
    run: str
    buffer: Any = None
    n_resets: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    memories: dict[tuple[str, int], tuple[Any, str]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def keep_to(self, buffer: Any) -> None:
        """
        Write all anew where rows that lie in the store were changed in place, or are another buffer's.

        :param buffer: the model's mixed replay buffer
        """
        if self.buffer is not buffer or self.n_resets != buffer.n_resets:
            self.stretches, self.memories = [], {}
        self.buffer, self.n_resets = buffer, buffer.n_resets


def memories_of(model: Any) -> dict[str, TaskMemory[Any]]:
    """
    :param model: one of ours
    :return: its memories, by their names in a model's file
    """
    return {name: part for name, part in model._optional_states().items() if isinstance(part, TaskMemory)}


def memory_state(name: str, memory: TaskMemory[Any], written: Written) -> dict[str, Any]:
    """
    Put the samples that are new into the store.

    :param name: the memory's
    :param memory: samples by task
    :param written: what lies there already
    :return: what a checkpoint holds of it
    """
    for task, samples in memory.tasks.items():
        # A task that is met again gets new samples in a new object; who changes them in place says so (`rows_changed`).
        if written.memories.get((name, task), (None, ""))[0] is not samples:
            written.memories[name, task] = samples, written.store.put(flat(samples.state_dict()))
    tasks = [[task, written.memories[name, task][1]] for task in memory.tasks]
    return {"current_task": memory.current_task, "tasks": tasks}


def restore_memory(name: str, memory: TaskMemory[Any], state: Mapping[str, Any], written: Written) -> None:
    """
    Fill a memory.

    :param name: the memory's
    :param memory: an empty one
    :param state: what a checkpoint holds of it
    :param written: is told what lies in the store
    """
    memory.load_state_dict({str(task): _tensors(written.store.get(blob)) for task, blob in state["tasks"]})
    memory.current_task = state["current_task"]
    for task, blob in state["tasks"]:
        written.memories[name, task] = memory.tasks[task], blob


def _tensors(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return nested({name: th.as_tensor(array) for name, array in arrays.items()})
