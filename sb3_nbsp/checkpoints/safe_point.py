"""The moment before a rollout begins: every step is stored and learned from, nothing is in flight."""

import warnings
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.checkpoints.callback_state import every_callback, note_beginning


def safe_point(model: Any, callback: BaseCallback) -> None:
    """
    Put in place what a checkpoint left for this moment, and tell the callbacks that have an ``on_safe_point``.

    :param model: at the top of its ``collect_rollouts()``
    :param callback: what its ``learn()`` runs with
    """
    parts = list(every_callback(callback))
    for part in parts:
        note_beginning(part)
    going_on, model._going_on = model._going_on, None
    if going_on is not None and going_on.fits(model):
        going_on.complete(model, callback)
    elif going_on is not None:
        warnings.warn(
            "The model was loaded from a checkpoint, but does not go on from it: the env was exchanged or reset, or SB3 began "
            "to count anew. To go on to the bit: learn(model.steps_left, reset_num_timesteps=False) on the env that "
            "load_checkpoint() was given.",
            stacklevel=2,
        )
    for part in parts:
        reached = getattr(part, "on_safe_point", None)
        if reached is not None:
            reached(callback)
