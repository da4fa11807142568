"""Where the curves of many members go that have one place for them, TensorBoard's, when their training goes on."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import configure_logger


@contextmanager
def own_log(model: Any, models: Sequence[Any], tb_log_name: str, reset_num_timesteps: bool) -> Iterator[None]:
    """
    Inside the block ``_setup_learn`` of a model that goes on has its curves go on in the folder that they are in. SB3 takes
    the newest folder under the name, which is one and the same for all that log to one place. Where the model's own folder is
    not known, since it was loaded, it begins another. Everything else is as in SB3.

    :param model: a member
    :param models: all members
    :param tb_log_name: as for ``learn()``
    :param reset_num_timesteps: as for ``learn()``; ``False``: it goes on
    """
    has_place_for_itself = [_place(other) for other in models].count(_place(model)) == 1
    if reset_num_timesteps or model._custom_logger or model.tensorboard_log is None or has_place_for_itself:
        yield
        return
    folder = _folder(model, tb_log_name)
    if folder is None:
        model._logger = configure_logger(model.verbose, model.tensorboard_log, tb_log_name, reset_num_timesteps=True)
    else:
        model._logger = configure(folder, ["stdout", "tensorboard"] if model.verbose >= 1 else ["tensorboard"])
    model._custom_logger = True
    try:
        yield
    finally:
        model._custom_logger = False


def _place(model: Any) -> str | None:
    return None if model.tensorboard_log is None else os.path.abspath(model.tensorboard_log)


def _folder(model: Any, tb_log_name: str) -> str | None:
    """The folder of the model's last curves, if they were under this name and in the place that it has now."""
    if not hasattr(model, "_logger") or model.logger.get_dir() is None:
        return None
    folder = Path(model.logger.get_dir()).absolute()
    name, _, number = folder.name.rpartition("_")
    fits = str(folder.parent) == _place(model) and name == tb_log_name and number.isdigit()
    return str(folder) if fits else None
