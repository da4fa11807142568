"""What SB3's evaluation sees of a task sequence, said to whoever evaluates on one."""

import sys

from stable_baselines3.common.evaluation import evaluate_policy

from sb3_nbsp.tasks.sequence import TaskSequence


def is_evaluating() -> bool:
    """Whether SB3's ``evaluate_policy`` (``EvalCallback`` calls it) is what steps the env, in this process."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is evaluate_policy.__code__:
            return True
    return False


def notice(sequence: TaskSequence, segment: int) -> str:
    """
    :param sequence: what the env goes through
    :param segment: where it stands
    :return: what an evaluation on it sees, and how to see every task
    """
    task, steps, n_tasks = sequence.segments[segment], sequence.segment_steps[segment], len(sequence.task_names)
    return (
        f"evaluate_policy() and EvalCallback see the task where the env of a sequence stands, here {task!r}, and go on to the "
        f"next only when its {steps} steps are used up, which on a training env are then missing. To see every task: "
        'SequenceEvalCallback while training; or an env made with gym.make(..., switch_on="episode"), which takes the tasks '
        f"in turns, with n_eval_episodes a multiple of their number, {n_tasks}."
    )
