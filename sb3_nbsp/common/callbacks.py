"""The callback that ends tasks."""

from collections.abc import Callable, Iterator
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_nbsp.common.env_util import check_wrappers, count_together
from sb3_nbsp.common.success_check import check_success_is_told


class SkillNeuronCallback(BaseCallback):
    """
    Consolidate a task when the env of a task sequence says that it has ended.

    NBSP algorithms add it by themselves. The task's last transition is stored first (and learned from, where a
    rollout ends there): consolidation takes place before the next transition is stored, or at the end of training.
    What is pending is kept on the model, so a run that was stopped in between catches up when it goes on.

    :param verbose: 1 prints each switch
    """

    model: Any  # an NBSP algorithm

    def __init__(self, verbose: int = 0):
        super().__init__(verbose)

    def _on_training_start(self) -> None:
        env = self.training_env
        if not hasattr(self.model, "consolidate"):
            raise TypeError(
                f"SkillNeuronCallback needs an NBSP algorithm, such as NBSPSAC; got {type(self.model).__name__}, which has no "
                "consolidate()."
            )
        if not env.has_attr("task_sequence"):
            raise ValueError(
                "SkillNeuronCallback needs the env of a task sequence (it has an attribute task_sequence), e.g. "
                'gym.make("sb3_nbsp/PointGoal-v0"). For other envs call model.consolidate(env, task) yourself.'
            )
        check_wrappers(env)
        count_together(env)
        self.sequence = env.get_attr("task_sequence", 0)[0]
        self.model.position.moved_to(env.get_attr("sequence_steps", 0)[0])
        if self.model.goal_metric == "success":
            check_success_is_told(self.sequence, int(self.model.scoring_steps))
        if self.model.goes_on_exactly:  # what is pending follows in the first rollout, as it would have
            return
        self._consolidate_if_pending()
        self._begin_task()

    def _on_step(self) -> bool:
        # Called before the step's transition is stored. Where a rollout goes on over a switch, this is the moment at
        # which the old task's transitions are all stored and none of the new task's is.
        self._end_task()
        if self.model.position.task is None:  # it was consolidated by hand in the middle of its segment
            self._begin_task()
        info = self.locals["infos"][0]  # all sub-envs stand at the same step
        self.model.position.moved_to(info["sequence_steps"])
        self.model.position.learned()
        if info["task_done"]:
            self.model.position.task_ended(info["task_name"])
        return True

    def _on_rollout_start(self) -> None:
        self._end_task()

    def _on_training_end(self) -> None:
        self._consolidate_if_pending()
        position = self.model.position
        if self.model.goes_beyond and position.is_finished and not position.is_fresh:
            position.task_ended(self.sequence.segments[-1])
            self._consolidate_if_pending()

    def _end_task(self) -> None:
        if self.model.position.pending is not None:
            self._consolidate_if_pending()
            self._begin_task()

    def _begin_task(self) -> None:
        segment = self.sequence.segment_at(self.model.position.steps)
        self.model.begin_task(self.sequence.segments[segment])
        self.model.logger.record("nbsp/segment", segment)

    def _consolidate_if_pending(self) -> None:
        task = self.model.position.pending
        if task is None:
            return
        if self.verbose:
            print(f"Task {task} ended after {self.num_timesteps} env steps")
        self.model.consolidate(task=task)  # on an env of the task that it makes from the sequence


def with_skill_callback(callback: MaybeCallback) -> MaybeCallback:
    """
    :param callback: what a user gave to ``learn()`` on the env of a task sequence
    :return: the same with a :class:`SkillNeuronCallback`
    """
    if any(isinstance(c, SkillNeuronCallback) for c in flat(callback, lambda given: True)):
        return callback
    made = [c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in flat(callback, _holds_early)]
    # Early in the list: a checkpoint taken in the same step must know that a task has ended. Before it only what needs
    # the task's transitions, of which consolidation empties the replay buffer.
    early = [c for c in made if _is_early(c)]
    return [*early, SkillNeuronCallback(), *(c for c in made if c not in early)]


def _is_early(callback: Any) -> bool:
    return bool(getattr(callback, "before_consolidation", False))


def _is_plain(given: CallbackList) -> bool:
    """A class of a user's own may do more than call its callbacks."""
    return type(given) is CallbackList


def _holds_early(given: CallbackList) -> bool:
    """Any other list stays the object that the user gave."""
    return _is_plain(given) and any(map(_is_early, flat(given)))


def flat(callback: Any, opened: Callable[[CallbackList], bool] = _is_plain) -> Iterator[Any]:
    """
    :param callback: as ``learn()`` takes it: none, a callback or a function, or a list of these
    :param opened: of which ``CallbackList`` its callbacks are given instead of itself
    :return: the callbacks and functions, those within lists too, in the order in which they are called
    """
    if isinstance(callback, CallbackList) and opened(callback):
        callback = callback.callbacks
    if isinstance(callback, list):
        for part in callback:
            yield from flat(part, opened)
    elif callback is not None:
        yield callback
