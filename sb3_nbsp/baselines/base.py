"""
The one base of all baselines: it sees when a task ends, keeps what a method knows with the model, and puts it in force.

A method is a subclass of :class:`TaskBoundaryCallback` in a file of its own. What it may fill in:

=================================  ==========================================  ==============================================
name                               when                                        what it may do
=================================  ==========================================  ==============================================
``on_task_end(task)``, required    after a task's last transition is stored,   anything: read the replay buffer, change
                                   before the next task's first one is         parameters, train, write ``self.state``
``initial_state()``                once, before a model's first training with  read ``self.model``; return plain values
                                   the method                                  and CPU tensors
``hook()``                         when training starts, and after each task   hang hooks on parameters and optimizers as
                                   end in it                                   ``self.state`` says; yield what takes them off
SB3's events, e.g. ``_on_step()``  as SB3 calls them                           what SB3 allows; call ``super()``'s too
``before_consolidation``, a flag   when NBSP algorithms order callbacks        ``False``: needs no transitions of the ended
                                                                               task, and stands after consolidation
``acts_in_evaluation``, a flag     when training starts                        ``True``: has registered a context in which a
                                                                               model must play:
                                                                               :mod:`sb3_nbsp.evaluation.contexts`
=================================  ==========================================  ==============================================

At hand are ``self.model``, ``self.current_task`` and ``self.state``, in which the base keeps ``ended``, the names of the
ended tasks, ``learned``, the task that is being learned (``None`` from its end to the next step), ``steps``, the steps of each
sub-env in the current task, and ``updates_before``, the gradient steps before it.
"""

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.callbacks import SkillNeuronCallback, flat
from sb3_nbsp.common.env_util import count_together, is_task_sequence
from sb3_nbsp.evaluation.contexts import ACTS_IN_EVALUATION, module_of_context

BOUNDARY_SEED = 30_000  # what random numbers at task ends are drawn for


class Removable(Protocol):
    """What takes a hook off again, such as torch's ``RemovableHandle``."""

    def remove(self) -> None:
        """Take it off."""


# What each kind of baseline has hooked to a model. A training that was interrupted leaves its hooks behind; the next one,
# perhaps with a new callback, must not add its own to them.
_HOOKS: "WeakKeyDictionary[BaseAlgorithm, dict[str, list[Removable]]]" = WeakKeyDictionary()


class TaskBoundaryCallback(BaseCallback):
    """
    Sees in ``info["task_done"]`` that a task ends, and calls :meth:`on_task_end` once all its transitions are stored.

    SB3 calls ``on_step`` before the step's transition is stored, and nothing after the gradient step. The end is noted in
    ``on_step`` and takes place before the next transition is stored: at the next ``on_rollout_start``, or in the next
    ``on_step`` where a rollout goes on over the switch, or at the end of training.

    What it knows is kept on the model, in ``model.baseline_states[<class name>]`` (plain values and CPU tensors), which SB3
    saves into the model's zip with everything else. So a checkpoint is complete, also between a task's last step and its
    end, and a run that was killed goes on where its checkpoint stood: with the same callback in the list.

    Without a task sequence tasks are ended by hand: ``callback.end_task("A")`` between two ``learn()``, and before
    ``model.consolidate()`` where there is one, since that empties the replay buffer.

    What a subclass fills in stands in a table at the top of ``sb3_nbsp/baselines/base.py``.

    :param verbose: 1 prints each task end
    :raises ValueError: if a :class:`~sb3_nbsp.common.SkillNeuronCallback`, which empties the replay buffer at a task's end,
        or another callback of the same class stands before it in the list of callbacks; or if it acts in evaluations and no
        context is registered under its name
    """

    model: Any
    state: dict[str, Any]

    # What the table at the top says of them.
    before_consolidation = True
    acts_in_evaluation = False

    def __init__(self, verbose: int = 0):
        super().__init__(verbose)
        self.current_task: str | None = None
        self._is_training = False

    # For subclasses

    def initial_state(self) -> dict[str, Any]:
        """What is known before any task has ended."""
        return {}

    @abstractmethod
    def on_task_end(self, task: str) -> None:
        """
        Do what is to be done at the end of a task. Random numbers drawn here do not change training's.

        :param task: the task's name
        """

    def hook(self) -> Iterator[Removable]:
        """
        Put in force what the state says, by hooks on parameters and optimizers.

        :return: for each hook what takes it off again. They are taken off before this is called anew, and when training ends.
        """
        return iter(())

    # Task ends

    def end_task(self, task: str) -> None:
        """
        End a task. On a task sequence this happens by itself.

        :param task: the task's name
        :raises ValueError: before the first ``learn()`` with this callback
        """
        if not hasattr(self, "state"):
            raise ValueError("end_task() ends the task of a learn() that this callback was given to; there was none yet.")
        self.state["learned"] = None
        with self.own_rng():
            self.on_task_end(task)
        self.model.policy.set_training_mode(False)  # a rollout may be going on
        self.state["ended"].append(task)
        self.state.update(task_to_end=None, steps=0, updates_before=self.model._n_updates)
        if self._is_training:
            self._put_in_force()
        else:
            self._withdraw()
        if self.verbose:
            print(f"{type(self).__name__}: task {task} ended after {self.model.num_timesteps} env steps")

    def own_rng(self, purpose: int = BOUNDARY_SEED) -> AbstractContextManager[None]:
        """
        :param purpose: what the random numbers are for
        :return: inside it random numbers are those of the model's seed, the number of ended tasks and the purpose, and of no
            other seed or number; training's stand still
        """
        parts = purpose, self.model.seed or 0, len(self.state["ended"])
        return isolated_rng(int(np.random.SeedSequence(parts).generate_state(1)[0]), self.model.action_space)

    def period_is_over(self, count: int, period: int | None) -> bool:
        """
        :param count: env steps or gradient steps so far; always the same of a method
        :param period: of what is counted; ``None``: it is never over
        :return: whether a multiple of the period was reached since the last call. The last call's count is in ``self.state``:
            where a checkpoint is gone on from, what happened right after it is looked for again. A count may begin anew.
        """
        before, self.state["counted"] = min(self.state.get("counted", count), count), count
        return period is not None and count // period > before // period

    def _end_if_pending(self) -> None:
        if self.state["task_to_end"] is not None:
            self.end_task(self.state["task_to_end"])

    # SB3's events

    def _init_callback(self) -> None:
        name = type(self).__name__
        mark = {ACTS_IN_EVALUATION: module_of_context(name)} if self.acts_in_evaluation else {}
        states = self.model.__dict__.setdefault("baseline_states", {})
        common = {"ended": [], "learned": None, "task_to_end": None, "steps": 0, "updates_before": self.model._n_updates}
        self.state = states.setdefault(name, {**common, **self.initial_state()})
        self.state.update(mark)  # also where a file of before there were marks goes on

    def _on_training_start(self) -> None:
        self._check_place()
        self._is_training = True
        if is_task_sequence(self.training_env):
            count_together(self.training_env)  # with plain SB3 too
            self._check_position()
        self._end_if_pending()
        self._put_in_force()

    def _on_rollout_start(self) -> None:
        self._end_if_pending()

    def _on_step(self) -> bool:
        self._end_if_pending()
        self.state["steps"] += 1
        info = self.locals["infos"][0]  # all sub-envs stand at the same step
        self.current_task = self.state["learned"] = info.get("task_name")
        if info.get("task_done", False):
            self.state["task_to_end"] = info["task_name"]
        return True

    def _on_training_end(self) -> None:
        self._is_training = False
        self._end_if_pending()
        self._withdraw()

    def _check_place(self) -> None:
        callbacks = list(flat(self.locals.get("callback")))
        before = callbacks[: callbacks.index(self)] if self in callbacks else []
        name = type(self).__name__
        if any(type(other) is type(self) for other in before):
            raise ValueError(f"{name} stands twice in the list of callbacks. Give it once.")
        if self.before_consolidation and any(isinstance(other, SkillNeuronCallback) for other in before):
            raise ValueError(
                f"{name} must come before SkillNeuronCallback, which empties the replay buffer at a task's end. Put it first, "
                "or leave SkillNeuronCallback out: NBSP algorithms add it in the right place."
            )

    def _check_position(self) -> None:
        """The env of a plain SB3 model that was loaded stands where it was made; that of an NBSP algorithm is taken on."""
        task, stands = self.state["learned"], self.training_env.get_attr("sequence_steps", 0)[0]
        if task is not None and stands == 0 and not hasattr(self.model, "position"):
            warnings.warn(
                f"The model was learning {task!r}, and its env stands at the beginning of the sequence, which begins anew. To "
                "go on where the model was, call env_method('fast_forward', model.num_timesteps) of the model's VecEnv before "
                f"learn(), or train NBSP{type(self.model).__name__} with its protection off, which knows its place.",
                stacklevel=2,
            )

    # Hooks

    def _put_in_force(self) -> None:
        self._withdraw()
        _HOOKS.setdefault(self.model, {})[type(self).__name__] = list(self.hook())

    def _withdraw(self) -> None:
        for handle in _HOOKS.get(self.model, {}).pop(type(self).__name__, []):
            handle.remove()


def is_in_force(model: BaseAlgorithm, name: str) -> bool:
    """
    :param model: any model
    :param name: of a method's class
    :return: whether the method has hooks on the model now, which is so in trainings with it
    """
    return bool(_HOOKS.get(model, {}).get(name))
