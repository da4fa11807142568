"""What goes wrong beside something that is worth more is told, kept until that is done, and raised then."""

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback


class Errors:
    """What went wrong with some of many things: the others are done all the same."""

    def __init__(self) -> None:
        self.found: list[Exception] = []

    def of(self, where: Any, work: Callable[[], None]) -> bool:
        """
        :param where: what is told beside an error, e.g. the run's folder
        :param work: is done; an error in it is kept
        :return: whether there was none
        """
        try:
            work()
        except Exception as error:
            self.keep(where, error)
            return False
        return True

    def keep(self, where: Any, error: Exception) -> None:
        """
        :param where: what is told beside it
        :param error: that was raised
        """
        print(f"{where}: {error!r}", flush=True)
        cause: BaseException | None = error
        seen: list[BaseException] = []
        while cause is not None and cause not in seen:  # an error may be its own cause
            traceback.clear_frames(cause.__traceback__)  # they hold models
            seen.append(cause)
            cause = cause.__cause__ or cause.__context__
        self.found.append(error)

    def raise_first(self) -> None:
        """
        :raises Exception: the first of them, if there is any
        """
        if self.found:
            raise self.found[0]


class CallbackEnds(Errors):
    """
    Has each callback of a training end once, however often SB3, rl-zoo3 and we say so. What one of them raises then is kept,
    since SB3 ends callbacks before the model can be saved.

    :param callbacks: before the training begins
    """

    def __init__(self, callbacks: Sequence[BaseCallback] = ()):
        super().__init__()
        self._left: list[Callable[[], Any]] = []
        for callback in callbacks:
            end: Callable[[], Any] = partial(self.of, f"End of {type(callback).__name__}", callback.on_training_end)
            self._left.append(end)
            callback.on_training_end = self._once(end)  # type: ignore[method-assign]

    def _once(self, end: Callable[[], Any]) -> Callable[[], None]:
        def ended() -> None:  # a function: checkpoints know that it counts nothing
            if end in self._left:
                self._left.remove(end)
                end()

        return ended

    def end_the_rest(self) -> None:
        """End those that ``learn()`` has left by an exception."""
        while self._left:
            self._left.pop(0)()
