"""Where an environment stands in a task sequence."""

from typing import Any

from sb3_nbsp.base.arguments import Whole
from sb3_nbsp.tasks.sequence import TaskSequence


class Place:
    """
    Counts the steps of sub-environments that go through a sequence together.

    :param sequence: the tasks, in learning order
    :param n_envs: sub-environments that step together: each of their steps counts as so many
    :raises TypeError: if ``sequence`` is something else
    :raises ValueError: if a segment is shorter than one step of all sub-environments
    """

    def __init__(self, sequence: TaskSequence, n_envs: int = 1) -> None:
        if not isinstance(sequence, TaskSequence):
            raise TypeError(f"sequence must be a sb3_nbsp.tasks.TaskSequence, got {sequence!r}.")
        self.sequence = sequence
        self.steps = 0
        self.segment = 0
        self._switch_steps = sequence.switch_steps  # made anew at each look, and looked at in every step
        self._over = False  # the segment's last step was taken, and the next one is not entered yet
        self.set_n_envs(n_envs)

    def set_n_envs(self, n_envs: int) -> None:
        """
        :param n_envs: sub-environments that step together from now on
        :raises ValueError: if ``n_envs`` is below 1, or one step of all would overrun the shortest segment
        """
        shortest = min(self.sequence.segment_steps)
        if not Whole(1, "sub-envs", shortest).allows(n_envs):
            raise ValueError(
                f"n_envs must lie between 1 and the shortest segment's {shortest} steps, got {n_envs!r}. "
                "Use fewer sub-environments or a larger steps_per_task."
            )
        self.n_envs = int(n_envs)

    def go_to(self, steps: int) -> None:
        """
        :param steps: environment steps already taken, over all sub-environments. From the sequence's end on it counts as
            finished: the last task, and no more switches.
        :raises ValueError: if ``steps`` is no number of steps
        """
        if not Whole(0, "env steps").allows(steps):
            raise ValueError(f"fast_forward() takes the steps already taken, 0 or more, got {steps!r}.")
        self.steps = int(steps)
        self.segment = self.sequence.segment_at(steps)
        self._over = steps >= self.sequence.total_steps

    def enter(self) -> None:
        """Go on to the next segment, if the last step ended one and there is a next one."""
        if self._over and self.segment + 1 < len(self.sequence.segments):
            self.segment += 1
            self._over = False

    def step(self) -> bool:
        """
        Count one step of all sub-environments.

        :return: whether it ends the segment
        """
        self.steps += self.n_envs
        if self._over or self.steps < self._switch_steps[self.segment]:
            return False
        self._over = True
        return True

    @property
    def task(self) -> str:
        """Name of the segment's task."""
        return self.sequence.segments[self.segment]

    @property
    def task_index(self) -> int:
        """The task's place among the sequence's tasks."""
        return self.sequence.task_names.index(self.task)

    def state(self) -> dict[str, Any]:
        """
        What another place in the same sequence needs to be this one.

        :return: plain values
        """
        return {"steps": self.steps, "segment": self.segment, "over": self._over}

    def restore(self, state: dict[str, Any]) -> None:
        """
        :param state: another one's :meth:`state`
        """
        self.steps, self.segment, self._over = state["steps"], state["segment"], state["over"]
