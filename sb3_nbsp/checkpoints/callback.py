"""The callback that writes checkpoints while a model learns."""

import os
import warnings
from pathlib import Path
from typing import Annotated, Any

from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.base.arguments import Is, Whole, check_values
from sb3_nbsp.base.interruption import Stopped, stop_is_requested
from sb3_nbsp.checkpoints.saving import NotWritableError, save

ARGUMENTS = {
    "folder": Annotated[str, Is("the path of a folder", lambda value: isinstance(value, str | os.PathLike))],
    "freq": Annotated[int, Whole(0, "env steps")],
}


class RunCheckpoints(BaseCallback):
    """
    Write a checkpoint at the beginning, every ``freq`` env steps and at every task switch, always between two rollouts.
    ``load_checkpoint()`` goes on from the newest.

    On a full disk, and with an env that no checkpoint can hold, training goes on; that is said once, and the next checkpoint
    is tried when it is due.

    :param folder: of the run's checkpoints, which no other run uses
    :param freq: env steps over all sub-envs between checkpoints; 0 writes them at switches only
    :param verbose: 1 prints each checkpoint
    :raises ValueError: for a folder that is no path, or a frequency that is no number of steps
    """

    model: Any  # one of ours

    def __init__(self, folder: str | os.PathLike[str], freq: int = 10_000, verbose: int = 0) -> None:
        super().__init__(verbose)
        check_values(ARGUMENTS, {"folder": folder, "freq": freq})
        self.folder = Path(folder)
        self.freq = freq
        self._at: tuple[int, int] | None = None  # env steps and completed tasks at the last checkpoint
        self._has_warned = False

    def _on_training_start(self) -> None:
        if not hasattr(self.model, "save_checkpoint"):
            raise TypeError(f"RunCheckpoints needs an NBSP algorithm, such as NBSPSAC; got {type(self.model).__name__}.")
        # Going on from a checkpoint, there is one of this very step.
        self._at = self._place() if self.model.goes_on_exactly else None

    def _on_step(self) -> bool:
        return True

    def _place(self) -> tuple[int, int]:
        return self.model.num_timesteps, self.model.position.n_completed

    def on_safe_point(self, callback: BaseCallback) -> None:
        """
        :param callback: what ``learn()`` runs with
        :raises Stopped: after a last checkpoint, where someone asked for a stop
        """
        steps, completed = self._place()
        if stop_is_requested():
            self.write(callback)
            raise Stopped
        if self._at is None or completed != self._at[1] or (self.freq > 0 and steps - self._at[0] >= self.freq):
            self.write(callback)

    def write(self, callback: BaseCallback) -> bool:
        """
        Write a checkpoint now.

        :param callback: what ``learn()`` runs with
        :return: whether it was written
        """
        self._at = self._place()  # also if it fails: it is tried again when the next one is due
        try:
            path = save(self.model, self.folder, callback)
        except (OSError, NotWritableError) as error:
            if not self._has_warned:
                warnings.warn(
                    f"No checkpoint could be written in {self.folder} ({error}). Training goes on, and what was written "
                    "before stays; the next checkpoint is tried when it is due.",
                    stacklevel=2,
                )
            self._has_warned = True
            return False
        if self.verbose:
            print(f"Checkpoint {path}")
        return True

    def _on_training_end(self) -> None:
        self._at = None
