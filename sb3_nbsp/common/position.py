"""Where a model stands in what it learns: which task sequence, how far, what is still to be consolidated."""

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

# What models of commit 2a43d91 and before have in their files instead of a record.
OLDER_NAMES = ("sequence_steps", "segment_steps", "task_to_consolidate", "consolidated_at", "current_task")


class FollowedSequence(Protocol):
    """What is asked of a task sequence; :class:`~sb3_nbsp.tasks.TaskSequence` has it."""

    task_id: bool

    @property
    def task_names(self) -> Sequence[str]: ...

    @property
    def segments(self) -> Sequence[str]: ...

    @property
    def segment_steps(self) -> Sequence[int]: ...


class SequencePosition:
    """
    A view of the record that is saved with a model: a dictionary of plain values, which ends up as JSON in the file.

    - ``visits``: name of the task and env steps of each segment, ``[[task, steps], ...]``; empty where tasks are given by
      hand. A model of an older file does not know the names (``None``) until it meets an env.
    - ``id_width``: length of the one-hot task id in the observations, 0 without one
    - ``steps``: env steps taken in the sequence, over all sub-envs
    - ``task``: the task that is learned now, if it was said
    - ``pending``: a task that has ended and is not consolidated yet
    - ``consolidated_at``: the model's ``num_timesteps`` at the last consolidation

    :param record: see :meth:`new_record`; changed in place
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record

    @staticmethod
    def new_record() -> dict[str, Any]:
        """The record of a model that has learned nothing."""
        return {"visits": [], "id_width": 0, "steps": 0, "task": None, "pending": None, "consolidated_at": 0}

    @classmethod
    def record_of_older(cls, attributes: dict[str, Any]) -> dict[str, Any] | None:
        """
        Take what an older file says of the place out of a model's attributes.

        :param attributes: the model's ``__dict__``; changed in place
        :return: the record; ``None`` where the model is not from an older file
        """
        found = {name: attributes.pop(name) for name in OLDER_NAMES if name in attributes}
        if not found:
            return None
        record = cls.new_record()
        record["visits"] = [[None, steps] for steps in found.get("segment_steps") or []]
        names = {"steps": "sequence_steps", "task": "current_task", "pending": "task_to_consolidate"}
        return (
            record
            | {new: found[old] for new, old in names.items() if old in found}
            | {"consolidated_at": found.get("consolidated_at", 0)}
        )

    # Reading

    @property
    def steps(self) -> int:
        """Env steps taken in the sequence, over all sub-envs."""
        return self.record["steps"]

    @property
    def task(self) -> str | None:
        """The task that is learned now; ``None`` where nobody said which."""
        return self.record["task"]

    @property
    def pending(self) -> str | None:
        """The task that has ended and is not consolidated yet."""
        return self.record["pending"]

    @property
    def consolidated_at(self) -> int:
        """The model's ``num_timesteps`` at the last consolidation."""
        return self.record["consolidated_at"]

    @property
    def segment_steps(self) -> list[int]:
        """Env steps of each segment; empty where tasks are given by hand."""
        return [steps for _, steps in self.record["visits"]]

    @property
    def is_at_switch(self) -> bool:
        """Whether a segment has just ended."""
        return self.steps in accumulate(self.segment_steps)

    def progress_remaining(self) -> float | None:
        """
        :return: 1 at the beginning of the running segment, 0 at its end; ``None`` where tasks are given by hand
        """
        lengths = self.segment_steps
        if not lengths:
            return None
        ends = list(accumulate(lengths))
        segment = min(bisect_right(ends, self.steps), len(ends) - 1)
        return max((ends[segment] - self.steps) / lengths[segment], 0.0)

    def warn_of_unconsolidated(self, num_timesteps: int) -> None:
        """
        Warn where steps were taken since the last consolidation.

        :param num_timesteps: the model's
        """
        if num_timesteps > self.consolidated_at:
            warnings.warn(
                f"The last {num_timesteps - self.consolidated_at} env steps were not consolidated: nothing of what they "
                "taught will be held or rehearsed. If the new env is another task, call consolidate() before set_env().",
                stacklevel=3,
            )

    # Writing

    def follow(self, sequence: FollowedSequence) -> None:
        """Note which sequence is learned from now on."""
        self.record["visits"] = [list(visit) for visit in zip(sequence.segments, sequence.segment_steps, strict=True)]
        self.record["id_width"] = len(sequence.task_names) if sequence.task_id else 0

    def leave_sequence(self) -> None:
        """Tasks are given by hand from now on."""
        self.record["visits"], self.record["id_width"] = [], 0

    def moved_to(self, steps: int) -> None:
        """Note the env steps taken in the sequence."""
        self.record["steps"] = steps

    def task_begins(self, task: str) -> None:
        """Note which task is learned."""
        self.record["task"] = task

    def task_ended(self, task: str) -> None:
        """Note that a task is to be consolidated."""
        self.record["pending"] = task

    def consolidated(self, num_timesteps: int) -> None:
        """Note that the task that ended was consolidated."""
        self.record |= {"pending": None, "task": None, "consolidated_at": num_timesteps}

    def count_from_zero(self) -> None:
        """SB3 counts the model's steps anew."""
        self.record["consolidated_at"] = 0
