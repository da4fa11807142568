"""Logs of the training command that a full disk does not turn into the end of a training."""

from functools import wraps
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

from sb3_nbsp.base.spare_files import may_fail


class LogsMayFail(BaseCallback):
    """Text, CSV and TensorBoard logs that cannot be written are told in a warning; training goes on without these lines."""

    def _init_callback(self) -> None:
        for output in self.logger.output_formats:
            where = self.logger.get_dir() or type(output).__name__
            output.write = _allowed_to_fail(output.write, where)  # type: ignore[method-assign]

    def _on_step(self) -> bool:
        return True


class MonitorMayFail(Monitor):
    """SB3's Monitor, whose file of episodes may miss some where it cannot be written."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        writer = self.results_writer
        if writer is not None:
            path = writer.file_handler.name
            writer.write_row = _allowed_to_fail(writer.write_row, path)  # type: ignore[method-assign]
            writer.close = _allowed_to_fail(writer.close, path)  # type: ignore[method-assign]


# By its name a wrapper is known where it lives in another process.
MonitorMayFail.__name__ = Monitor.__name__


def _allowed_to_fail(write: Any, path: str) -> Any:
    if hasattr(write, "__wrapped__"):
        return write

    @wraps(write)
    def written(*args: Any, **kwargs: Any) -> None:
        with may_fail(path):
            write(*args, **kwargs)

    return written
