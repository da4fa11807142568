"""Where a model stands in what it learns: which task sequence, how far, what is still to be consolidated."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

# What models of commit 2a43d91 and before have in their files instead of a record.
OLDER_NAMES = ("sequence_steps", "segment_steps", "task_to_consolidate", "consolidated_at", "current_task")
Visit = tuple[str | None, int]  # a task and the env steps of one visit to it; older files do not know the task


class FollowedSequence(Protocol):
    """What is asked of a task sequence; :class:`~sb3_nbsp.tasks.TaskSequence` has it."""

    @property
    def id_width(self) -> int: ...

    @property
    def task_names(self) -> Sequence[str]: ...

    @property
    def segments(self) -> Sequence[str]: ...

    @property
    def segment_steps(self) -> Sequence[int]: ...


def visits_of(sequence: FollowedSequence) -> list[Visit]:
    """Task and env steps of each segment."""
    return list(zip(sequence.segments, sequence.segment_steps, strict=True))


def ended_segment(segment_steps: Sequence[int], steps: int, n_envs: int) -> int | None:
    """
    :param segment_steps: env steps of each segment, over all sub-envs
    :param steps: env steps taken
    :param n_envs: sub-envs that step together: where their number does not divide a segment, it ends a little later
    :return: index of the segment that the last step ended, if it ended one
    """
    ends = enumerate(accumulate(segment_steps))
    return next((segment for segment, end in ends if end <= steps < end + n_envs), None)


def check_task_name(task: Any) -> None:
    """
    :param task: what shall be a task's name
    :raises ValueError: if it is none
    """
    if not isinstance(task, str) or not task:
        raise ValueError(f"task must be a name, a text that is not empty; got {task!r}.")


class SequencePosition:
    """
    A view of the record that is saved with a model: a dictionary of plain values, which ends up as JSON in the file.

    - ``visits``: name of the task and env steps of each segment, ``[[task, steps], ...]``; empty where tasks are given by
      hand. A model of an older file does not know the names (``None``) until it meets an env.
    - ``id_width``: length of the one-hot task id in the observations, 0 without one
    - ``steps``: env steps taken in the sequence, over all sub-envs
    - ``task``: the task that is learned now, if it was said
    - ``pending``: a task that has ended and is not consolidated yet
    - ``fresh``: whether nothing was learned since the last consolidation
    - ``consolidated_at``: the model's ``num_timesteps`` at the last consolidation, and ``carried``: env steps since then that
      SB3 counted before it began at 0 again
    - ``updates``: the model's updates at the last consolidation
    - ``given``: whether parameters that were learned elsewhere were given since then; missing where none ever were
    - ``ended_at``: ``steps`` where a segment ended last, which may be beyond its end: see :meth:`is_at_switch`

    :param record: see :meth:`new_record`; changed in place
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record

    @staticmethod
    def new_record() -> dict[str, Any]:
        """The record of a model that has learned nothing."""
        return {
            "visits": [], "id_width": 0, "steps": 0, "task": None, "pending": None, "fresh": True, "consolidated_at": 0,
            "carried": 0, "updates": 0, "ended_at": None,
        }  # fmt: skip

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
        names = {
            "steps": "sequence_steps", "task": "current_task", "pending": "task_to_consolidate",
            "consolidated_at": "consolidated_at",
        }  # fmt: skip
        record = cls.new_record() | {new: found[old] for new, old in names.items() if old in found}
        record["visits"] = [[None, steps] for steps in found.get("segment_steps") or []]
        record["updates"] = -1  # not known
        record["fresh"] = record["task"] is None and record["pending"] is None
        return record

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
    def is_fresh(self) -> bool:
        """Whether nothing was learned since the last consolidation."""
        return self.record["fresh"]

    @property
    def id_width(self) -> int:
        """Length of the one-hot task id in the observations, 0 without one."""
        return self.record["id_width"]

    @property
    def visits(self) -> list[Visit]:
        """Task and env steps of each segment; empty where tasks are given by hand."""
        return [(task, steps) for task, steps in self.record["visits"]]

    @property
    def segment_steps(self) -> list[int]:
        """Env steps of each segment; empty where tasks are given by hand."""
        return [steps for _, steps in self.visits]

    @property
    def total_steps(self) -> int:
        """Env steps of the whole sequence."""
        return sum(self.segment_steps)

    @property
    def n_completed(self) -> int:
        """Number of segments that have ended."""
        return bisect_right(list(accumulate(self.segment_steps)), self.steps)

    @property
    def steps_in_segment(self) -> int:
        """Env steps taken in the running segment."""
        return self.steps - sum(self.segment_steps[: self.n_completed])

    @property
    def is_at_switch(self) -> bool:
        """
        Whether no step was taken since a segment ended. Where the number of sub-envs does not divide it, their last step goes
        beyond its end, and yet nothing of the next one was seen.
        """
        return self.steps > 0 and self.record.get("ended_at") == self.steps  # older files do not know

    def has_just_switched(self, n_envs: int) -> bool:
        """
        :param n_envs: sub-envs that step together
        :return: whether their last step ended a segment
        """
        return ended_segment(self.segment_steps, self.steps, n_envs) is not None

    @property
    def is_finished(self) -> bool:
        """Whether the sequence has come to its end."""
        return bool(self.visits) and self.n_completed == len(self.visits)

    @property
    def is_inside(self) -> bool:
        """Whether a segment has begun, has not ended, and was learned on since the last consolidation."""
        begun = not self.is_finished and self.steps_in_segment > 0 and not self.is_at_switch
        return begun and not self.is_fresh

    def steps_by_hand(self, num_timesteps: int) -> int:
        """
        :param num_timesteps: the model's
        :return: env steps since the last consolidation, however often SB3 began to count anew
        """
        return self.record.get("carried", 0) + num_timesteps - self.record["consolidated_at"]

    def is_untrained(self, n_updates: int) -> bool:
        """
        :param n_updates: the model's
        :return: whether a task has ended without a single update since the last consolidation
        """
        return self.pending is not None and n_updates <= self.record.get("updates", -1)

    def is_unlearned(self, num_timesteps: int, n_updates: int) -> bool:
        """
        Whether nothing tells that a task which ends by hand was learned. Tasks that are learned at once are consolidated one
        after the other, with no step between.

        :param num_timesteps: the model's
        :param n_updates: the model's
        """
        if n_updates > self.record.get("updates", -1) or self.record.get("given", False):
            return False
        learned_before = n_updates > 0 or "given" in self.record
        return not learned_before or self.steps_by_hand(num_timesteps) > 0

    def steps_left(self) -> int | None:
        """Env steps until the running segment ends; ``None`` at the sequence's end, or where tasks are given by hand."""
        return None if self.n_completed >= len(self.visits) else self.segment_steps[self.n_completed] - self.steps_in_segment

    def progress_remaining(self) -> float | None:
        """
        :return: 1 at the beginning of the running segment, 0 at its end; ``None`` where tasks are given by hand
        """
        if not self.visits:
            return None
        left = self.steps_left()
        return 0.0 if left is None else left / self.segment_steps[self.n_completed]

    # Writing

    def follow(self, sequence: FollowedSequence) -> None:
        """Note which sequence is learned from now on."""
        self.record["visits"] = [list(visit) for visit in visits_of(sequence)]
        self.record["id_width"] = id_width_of(sequence)

    def leave_sequence(self) -> None:
        """Tasks are given by hand from now on."""
        self.record |= {"visits": [], "id_width": 0, "steps": 0, "ended_at": None}

    def moved_to(self, steps: int) -> None:
        """Note the env steps taken in the sequence."""
        self.record["steps"] = steps

    def learned(self) -> None:
        """Note that the task is learned on."""
        self.record["fresh"] = False

    def given_parameters(self) -> None:
        """Note that parameters came which were learned elsewhere."""
        self.record["given"] = True

    def task_begins(self, task: str) -> None:
        """Note which task is learned."""
        check_task_name(task)
        self.record["task"] = task

    def task_ended(self, task: str) -> None:
        """Note that a task has ended here, and is to be consolidated."""
        self.record |= {"pending": task, "ended_at": self.steps}

    def consolidated(self, num_timesteps: int, n_updates: int = 0) -> None:
        """
        Note that the task that ended was consolidated, or is no longer to be.

        :param num_timesteps: the model's
        :param n_updates: the model's updates so far
        """
        self.record |= {"pending": None, "task": None, "fresh": True, "consolidated_at": num_timesteps, "carried": 0}
        self.record["updates"] = n_updates
        if "given" in self.record:
            self.record["given"] = False

    def count_from_zero(self, num_timesteps: int) -> None:
        """
        SB3 counts the model's steps anew.

        :param num_timesteps: what it had counted
        """
        self.record |= {"carried": self.steps_by_hand(num_timesteps), "consolidated_at": 0}


def id_width_of(sequence: FollowedSequence) -> int:
    """Length of the one-hot task id in a sequence's observations, 0 without one."""
    return int(sequence.id_width)
