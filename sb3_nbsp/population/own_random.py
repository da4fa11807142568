"""Random numbers of each member's own, and the blocks in which they are the process's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any

from sb3_nbsp.base.interruption import WORKER_GONE
from sb3_nbsp.base.random_states import ProcessStreams, RandomStates, RandomStreams, fresh_states
from sb3_nbsp.common.finite_checks import explained


def give_own_action_spaces(models: Sequence[Any]) -> None:
    """
    A space has a generator, from which warm-ups draw, and which every scoring and evaluation seeds and puts back. Where envs
    share one object as their space (a class has it, say), each model gets a copy, which begins as its seed has it begin.
    """
    spaces = [model.action_space for model in models]
    for model, shared in zip(models, spaces, strict=True):
        if sum(space is shared for space in spaces) > 1:
            own = deepcopy(shared)
            own.seed(model.seed)
            for holder in (model, model.replay_buffer, *model.policy.modules()):
                if getattr(holder, "action_space", None) is shared:
                    holder.action_space = own


@contextmanager
def own_streams(models: Sequence[Any]) -> Iterator[Sequence[ProcessStreams]]:
    """
    Each model's random numbers, which go on where they were when it was made, or last learned; at the block's end they are
    kept with the model. One model alone has the process's, put to that place for the time of the block.
    """
    before = RandomStates()
    starts = [model.random_states if model.seed is not None else fresh_states() for model in models]
    if len(models) == 1:
        starts[0].restore()
        try:
            yield [models[0].streams]
        finally:
            models[0].random_states = RandomStates()
            before.restore()
        return
    streams = [RandomStreams(start) for start in starts]
    for model, own in zip(models, streams, strict=True):
        model.streams = own
    try:
        yield streams
    finally:
        for model, own in zip(models, streams, strict=True):
            model.random_states, model.streams = own.states(), ProcessStreams()
        before.restore()


class OwnBlock(AbstractContextManager[None, bool]):
    """
    Inside, the process's random numbers are a member's, and an error, of its env or a callback, or one that tells of its
    divergence, ends the block only. (As a generator it would take as long again as random numbers are exchanged in.) That a
    worker process is gone is nobody's own: it may hold several members' envs, and may have been told to stop.

    :param model: the member's
    :param streams: its random numbers
    :param leave: is called with the error
    """

    def __init__(self, model: Any, streams: ProcessStreams, leave: Callable[[Exception], None]):
        self._model, self._in_use, self._leave = model, streams.in_use(), leave

    def __enter__(self) -> None:
        self._in_use.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        self._in_use.__exit__(kind, error, traceback)
        if not isinstance(error, Exception) or isinstance(error, WORKER_GONE):
            return False
        try:
            with explained(self._model):
                raise error
        except Exception as reason:
            self._leave(reason)
        return True
