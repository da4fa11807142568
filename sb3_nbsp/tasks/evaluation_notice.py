"""What SB3's evaluation sees of a task sequence, said to whoever evaluates on one."""

import sys
import warnings

from stable_baselines3.common.evaluation import evaluate_policy

from sb3_nbsp.tasks.place import Place


def is_evaluating() -> bool:
    """Whether SB3's ``evaluate_policy`` (``EvalCallback`` calls it) is what steps the env, in this process."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is evaluate_policy.__code__:
            return True
    return False


class EvaluationNotice:
    """
    What an evaluation on the env of a sequence sees, told once.

    :param place: where the env stands
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._is_told = False

    def take(self) -> str | None:
        """
        :return: a text the first time, ``None`` afterwards
        """
        if self._is_told:
            return None
        self._is_told = True
        return notice(self._place)

    def warn_if_evaluating(self) -> None:
        """Call this in the env's ``reset()``."""
        if not self._is_told and is_evaluating():
            warnings.warn(str(self.take()), stacklevel=3)


def notice(place: Place) -> str:
    """
    :param place: where the env of a sequence stands
    :return: what an evaluation on it sees, and how to see every task
    """
    steps, n_tasks = place.sequence.segment_steps[place.segment], len(place.sequence.task_names)
    return (
        f"evaluate_policy() and EvalCallback see the task where the env of a sequence stands, here {place.task!r}, and go on "
        f"to the next only when its {steps} steps are used up, which on a training env are then missing. To see every task: "
        'SequenceEvalCallback while training; or an env made with gym.make(..., switch_on="episode"), which takes the tasks '
        f"in turns, with n_eval_episodes a multiple of the number of tasks, {n_tasks}, times that of the env's sub-envs: each "
        "of them takes turns of its own."
    )
