"""SB3's ``EvalCallback`` on the env of a task sequence is told what it will see, before training."""

import warnings

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EventCallback


def warn_of_first_task_only(callback: BaseCallback) -> None:
    """
    :param callback: all callbacks of a training
    """
    if isinstance(callback, CallbackList):
        for part in callback.callbacks:
            warn_of_first_task_only(part)
    elif isinstance(callback, EvalCallback) and callback.eval_env.has_attr("task_sequence"):
        for text in dict.fromkeys(callback.eval_env.env_method("evaluation_notice")):
            if text is not None:
                warnings.warn(text, stacklevel=2)
    elif isinstance(callback, EventCallback) and callback.callback is not None:
        warn_of_first_task_only(callback.callback)
