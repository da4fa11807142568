"""
What must act while a model plays a task: found by the states that methods save on the model.

A method of continual learning keeps what it knows in ``model.baseline_states[<name>]``, which is saved with the model. Some
methods play each task with other weights, such as PackNet with the task's subnetwork: they register here, under that name, a
context that every evaluation enters. So evaluations know no method, and a new one needs no change of them:

.. code-block:: python

    class Snapshots(TaskBoundaryCallback):
        \"\"\"Plays each task with the actor that it ended with.\"\"\"

        acts_in_evaluation = True

        def on_task_end(self, task):
            self.state[task] = copy.deepcopy(self.model.actor.state_dict())


    @contextmanager
    def snapshot(model, task):
        now, then = copy.deepcopy(model.actor.state_dict()), model.baseline_states["Snapshots"].get(task)
        try:
            model.actor.load_state_dict(then or now)
            yield
        finally:
            model.actor.load_state_dict(now)


    register_context("Snapshots", snapshot, module=__name__)

``acts_in_evaluation`` has the state say that it needs its context. Where such a model is evaluated and nothing is registered,
because the module was not imported, that is an error which names the import; states that do not say so need none.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

Context = Callable[[BaseAlgorithm, str], AbstractContextManager[None]]  # (model, the task's name)

# Where a state says that it needs a context: under this key, the module whose import registers it.
ACTS_IN_EVALUATION = "acts_in_evaluation"
# Names of those whose states did not say so yet, up to commit 2a43d91.
BEFORE_STATES_SAID_SO = {"PackNet": "sb3_nbsp.baselines"}


@dataclass(frozen=True)
class _Registered:
    context: Context
    module: str


_REGISTERED: dict[str, _Registered] = {}


def register_context(name: str, context: Context, module: str) -> None:
    """
    Have a context entered wherever a model that has a method's state plays a task. A later one replaces an earlier one.

    :param name: under which the method keeps its state in ``model.baseline_states``: its class's name
    :param context: of a model and a task's name; leaves the model as it was. It is also entered for tasks that the state does
        not know, which are then to be played with the model as it is.
    :param module: whose import registers it, for the error message where it is missing; mostly ``__name__``
    """
    if not (isinstance(name, str) and callable(context) and isinstance(module, str)):
        raise TypeError(f"name and module must be text, and context a function, got {name!r}, {module!r} and {context!r}.")
    _REGISTERED[name] = _Registered(context, module)


def module_of_context(name: str) -> str:
    """
    :param name: of a method
    :return: the module whose import registers its context: what its state says under ``ACTS_IN_EVALUATION``
    :raises ValueError: if none is registered
    """
    if name not in _REGISTERED:
        raise ValueError(
            f"{name} says that it acts in evaluations (acts_in_evaluation), but no context is registered under this name. "
            f"Call sb3_nbsp.evaluation.register_context({name!r}, context, module=__name__) beside the class."
        )
    return _REGISTERED[name].module


@contextmanager
def playing(model: BaseAlgorithm, task: str) -> Iterator[None]:
    """
    Inside the block a model plays a task as the methods that it was trained with want it to. Others are left as they are.

    :param model: any model, also one that was loaded from a file
    :param task: the task's name
    :raises ValueError: if the model has the state of a method that must act here, and its context is not registered
    """
    with ExitStack() as entered:
        for context in contexts_of(model):
            entered.enter_context(context(model, task))
        yield


def play_by_task(model: BaseAlgorithm, env: VecEnv) -> None:
    """
    From here on let ``model.predict`` act inside :func:`playing`, in each sub-env for the task that it is at. For a model that
    is loaded to be watched.

    :param model: any model; one without such states is left as it is
    :param env: of a task sequence, whose observations ``predict`` is given
    :raises ValueError: see :func:`playing`
    """
    if not contexts_of(model):
        return
    predict = model.predict

    def predict_by_task(*args: Any, **kwargs: Any) -> Any:
        # A VecEnv has already begun the next episode when one ended: the last reset tells the task.
        tasks = np.array([info["task_name"] for info in env.unwrapped.reset_infos])
        actions, state = None, None
        for task in dict.fromkeys(tasks.tolist()):
            with playing(model, task):
                found, state = predict(*args, **kwargs)
            actions = found if actions is None else np.where(_rows(tasks == task, found), found, actions)
        return actions, state

    model.predict = predict_by_task  # type: ignore[method-assign]


@contextmanager
def playing_by_task(model: BaseAlgorithm, env: VecEnv) -> Iterator[None]:
    """
    The same as :func:`play_by_task`, inside the block. For a model that is judged and then goes on learning.

    :param model: any model
    :param env: of a task sequence
    :raises ValueError: see :func:`playing`
    """
    before = vars(model).get("predict")
    play_by_task(model, env)
    try:
        yield
    finally:
        model.__dict__.pop("predict", None)
        if before is not None:
            model.predict = before  # type: ignore[method-assign]


def _rows(chosen: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """A mask over sub-envs, [n_envs], as one over their actions, [n_envs, ...]."""
    return chosen.reshape(-1, *[1] * (actions.ndim - 1))


def contexts_of(model: BaseAlgorithm) -> list[Context]:
    """
    :param model: any model
    :return: the contexts that its saved states ask for
    :raises ValueError: if one of them is not registered
    """
    states: Mapping[str, Mapping[str, Any]] = getattr(model, "baseline_states", {})
    for name, state in states.items():
        module = state.get(ACTS_IN_EVALUATION, BEFORE_STATES_SAID_SO.get(name))
        if name not in _REGISTERED and module is not None:
            by_hand = "It was defined in a script or notebook: run its register_context() first."
            raise ValueError(
                f"This model was trained with {name}, which must act while a task is played, but nothing is registered that "
                f"does so. {by_hand if module == '__main__' else f'Import it first: import {module}'}"
            )
    return [_REGISTERED[name].context for name in states if name in _REGISTERED]
