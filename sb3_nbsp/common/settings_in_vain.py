"""Settings that are allowed and yet take from the method, or from learning, what it is there for: a warning says which."""

import warnings
from typing import Any


def warn_of_settings(model: Any) -> None:
    """
    Not where a model is loaded, as it may only be looked at: rl-zoo3's ``enjoy`` loads with ``learning_rate=0``.

    :param model: an NBSP algorithm that was made
    """
    for reason in _reasons(model):
        warnings.warn(reason, stacklevel=4)


def _reasons(model: Any) -> list[str]:
    value = vars(model).get
    found = []
    if value("learning_rate") == 0:
        found.append("learning_rate=0: nothing will be learned.")
    if value("gradient_steps") == 0:
        found.append("gradient_steps=0: the networks will never be updated.")
    every_neuron = value("skill_fraction") == 1 and value("select_among") == "all"  # the silent ones, too
    if every_neuron and (value("mask_coef") == 0 or value("task_gates")):
        found.append(
            "skill_fraction=1 holds every neuron completely after the first task: the next tasks cannot be learned. Use a "
            "smaller skill_fraction, or a mask_coef above 0."
        )
    if value("task_gates") and value("skill_fraction") == 0:
        found.append(
            "task_gates=True with skill_fraction=0 gives no task any neurons: nothing is held. Use a skill_fraction above "
            "0, or task_gates=False."
        )
    if value("memory_size") and value("rehearsal") in (None, "clip", "replay", "both"):
        found += _of_replay(value)
    return found


def _of_replay(value: Any) -> list[str]:
    found = []
    if value("replay_mode") == "interval" and value("replay_interval") == 1:
        found.append(
            "replay_interval=1 takes every batch from the memory of old tasks: from the second task on nothing is learned of "
            "the new one. Use 2 or more."
        )
    if value("replay_mode") == "share" and value("old_task_fraction") == 1:
        found.append(
            "old_task_fraction=1 fills every batch with old tasks: from the second task on nothing is learned of the new one. "
            "Use less than 1."
        )
    return found
