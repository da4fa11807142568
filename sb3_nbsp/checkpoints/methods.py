"""What a model can do with checkpoints: functions that our algorithms take for their methods."""

import os
from pathlib import Path
from typing import Any

from sb3_nbsp.checkpoints import loading, saving

ATTRIBUTES = ("_written", "_going_on", "_kept_elsewhere", "_is_made")  # of a model, which no file of it holds


def steps_left(model: Any) -> int:
    """Env steps of the last ``learn()`` that are still to be taken: what a loaded checkpoint goes on for."""
    return max(getattr(model, "_total_timesteps", 0) - model.num_timesteps, 0)


def goes_on_exactly(model: Any) -> bool:
    """Whether ``learn()`` is beginning and goes on, to the bit, from within the one that wrote a checkpoint."""
    return model._going_on is not None and model._going_on.within_learn and model._going_on.fits(model)


def save_checkpoint(self: Any, folder: str | Path) -> Path:
    """
    Write all that training needs to go on to the bit. Between two ``learn()`` calls;
    within one, :class:`~sb3_nbsp.checkpoints.callback.RunCheckpoints` does it. The folder keeps the last two.

    :param folder: of this run's checkpoints, made if missing
    :return: the new checkpoint's folder
    :raises TypeError: if ``folder`` is no path
    :raises ValueError: if a parameter is not finite, or the folder holds another run's checkpoints
    :raises NotWritableError: if the env, a callback or an own class has a form that a checkpoint cannot hold
    """
    return saving.save(self, _path(folder))


def load_checkpoint(cls: Any, folder: str | Path, env: Any, **kwargs: Any) -> Any:
    """
    Go on from a run's newest whole checkpoint: ``learn(model.steps_left, reset_num_timesteps=False)`` gives, bit for bit,
    what the run would have given that was not stopped, on the same machine with the same number of threads.

    :param folder: a run's folder, its folder of checkpoints, or one of these
    :param env: made and wrapped as the one that the run was trained on
    :param kwargs: further arguments of ``load()``, e.g. ``trust``; ``device`` is by default the one that the run was on
    :raises ValueError: if there is no whole checkpoint, if another class wrote it, or if the env does not fit
    """
    return loading.load(cls, _path(folder), env, **kwargs)


def _path(folder: Any) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"Expected a folder's path; got {folder!r}.")
    return Path(folder)


def kept_in_file(model: Any) -> dict[str, Any]:
    """The optional states that a model's own file holds: not those that lie in a store beside it."""
    return {name: part for name, part in model._optional_states().items() if name not in model._kept_elsewhere}
