"""A model's list of learned tasks, and what is noted of each, in step with its masks when other parameters come."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch as th


def fit_to_masks(model: Any, masks_before: Mapping[str, th.Tensor], exact_match: bool) -> None:
    """
    Bring names and masks to one number of tasks: the next task's place is behind both.

    :param model: an NBSP algorithm whose masks were just loaded
    :param masks_before: state dict of its masks before that
    :param exact_match: whether what was loaded is all that counts. The tasks that it does not know are forgotten then; else
        they keep the masks that they had.
    """
    masks, learned = model.neuron_masks, model.learned_tasks
    if masks.has_neurons and masks.n_tasks < len(learned):
        if exact_match:
            _forget(model, learned[masks.n_tasks :])
        else:
            masks.fill_up(masks_before)
    # A task that only its mask tells of needs a name: the next one must not take its place.
    model.learned_tasks = [*model.learned_tasks, *(f"task {i + 1}" for i in range(len(model.learned_tasks), masks.n_tasks))]
    noted = vars(model).get("log_ent_coefs", ())  # of SAC and TQC
    if len(noted) > len(model.learned_tasks):
        model.log_ent_coefs = list(noted[: len(model.learned_tasks)])


def _forget(model: Any, tasks: list[str]) -> None:
    model.learned_tasks = model.learned_tasks[: -len(tasks)]
    model.skill_neuron_records = {t: record for t, record in model.skill_neuron_records.items() if t not in tasks}
    warnings.warn(
        f"The parameters are of a time before {', '.join(tasks)}: the model forgets that it learned "
        f"{'it' if len(tasks) == 1 else 'them'}. exact_match=False keeps what the parameters do not tell of.",
        stacklevel=5,
    )
