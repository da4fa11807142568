"""What SAC and its relatives share: an entropy coefficient that is learned, for each task anew."""

from typing import Any

import numpy as np

from sb3_nbsp.common.task_bounds import TaskBounds


def note_ent_coef(model: Any, index: int) -> None:
    """
    Note what a visit to a task ended with. A fixed coefficient is not noted. Without an update since the last task's end the
    coefficient is the initial one again: what is known of the task stays.

    :param model: SAC or TQC
    :param index: of the task that ends
    """
    if model.log_ent_coef is None:
        return
    known = list(model.log_ent_coefs)
    known += [None] * (index + 1 - len(known))  # nothing was noted of tasks of older files, or of other models' parameters
    was_updated = model._n_updates > model.position.record.get("updates", -1)
    if was_updated or known[index] is None:
        known[index] = float(model.log_ent_coef.detach())
    model.log_ent_coefs = known


def reset_ent_coef(model: Any) -> None:
    """
    Set a learned entropy coefficient back to its initial value, with ``reset_ent_coef``; a fixed one stays.

    :param model: SAC or TQC
    """
    if not model.reset_ent_coef:
        return
    initial = float(str(model.ent_coef).partition("_")[2] or 1.0)  # "auto" or "auto_<initial value>"
    _begin_with(model, np.log(initial))
    model.begins_with_own_ent_coef = model.reset_ent_coef == "new_tasks"


def take_own_ent_coef(model: Any, task: str) -> None:
    """
    Let a task that is met again go on with the coefficient that its last visit ended with, once per visit. With the initial
    one, which is large beside a mastered task's rewards, the first hundred updates would unlearn it for entropy's sake.

    :param model: SAC or TQC
    :param task: the task that begins
    """
    noted = dict(zip(model.learned_tasks, model.log_ent_coefs, strict=False)).get(task)  # files of older versions have fewer
    if model.begins_with_own_ent_coef and noted is not None:
        _begin_with(model, noted)
    model.begins_with_own_ent_coef = False


def _begin_with(model: Any, log_ent_coef: float) -> None:
    if model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        model.log_ent_coef.data.fill_(log_ent_coef)
        model.ent_coef_optimizer.state.clear()


OWN_ENT_COEF = TaskBounds(begins=take_own_ent_coef, ends=note_ent_coef, next_is_prepared=reset_ent_coef)
