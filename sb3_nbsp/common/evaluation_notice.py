"""SB3's ``EvalCallback`` and ``evaluate_policy`` on the env of a task sequence: their user is told what they see."""

import warnings
from types import FrameType
from weakref import WeakSet

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EventCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

_ASKED: WeakSet[VecEnv] = WeakSet()  # envs that have told what an evaluation sees, or have nothing to tell


def warn_of_first_task_only(callback: BaseCallback) -> None:
    """
    :param callback: all callbacks of a training
    """
    if isinstance(callback, CallbackList):
        for part in callback.callbacks:
            warn_of_first_task_only(part)
    elif isinstance(callback, EvalCallback):
        _warn_of(callback.eval_env)
    elif isinstance(callback, EventCallback) and callback.callback is not None:
        warn_of_first_task_only(callback.callback)


def warn_of_evaluation(caller: FrameType) -> None:
    """
    Warn where ``evaluate_policy`` plays. An env of this process says it by itself; one in another process does not know.

    :param caller: of a model's ``predict()``
    """
    if caller.f_code is evaluate_policy.__code__ and isinstance(env := caller.f_locals.get("env"), VecEnv):
        _warn_of(env)


def _warn_of(env: VecEnv) -> None:
    if env in _ASKED:
        return
    _ASKED.add(env)
    if env.has_attr("task_sequence"):
        for text in dict.fromkeys(env.env_method("evaluation_notice")):
            if text is not None:
                warnings.warn(text, stacklevel=4)
