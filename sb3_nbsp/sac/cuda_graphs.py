"""A function of fixed operations, captured in CUDA graphs by hand."""

from collections.abc import Callable, Hashable
from typing import Any

import torch as th

WARM_UP = 3  # calls before the first capture: libraries make their workspaces in them


class CapturedFunction:
    """
    A function without arguments or results, whose operations on a CUDA device are recorded once and launched as one from then
    on. It reads and writes tensors that stay where they are; whatever else decides what it does must be in the key.

    What was captured shares its memory: nothing in it outlives a call, and no two calls run at once.

    Nothing is run for the sake of capturing: the first calls are ordinary ones, and a capture executes nothing. Where
    capturing fails, every call is an ordinary one.

    :param tell: is told why, in one line, where capturing fails
    """

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._graphs: dict[Hashable, th.cuda.CUDAGraph] = {}
        self._pool: Any = None  # memory of what is computed on the way
        self._n_calls = 0
        self.n_captured = 0
        self.has_failed = False

    def run(self, function: Callable[[], None], key: Hashable) -> None:
        """
        :param function: what is to be done
        :param key: calls with the same key do the same operations
        """
        self._n_calls += 1
        if self.has_failed or self._n_calls <= WARM_UP:
            function()
            return
        if key not in self._graphs and not self._capture(function, key):
            function()
            return
        self._graphs[key].replay()

    def _capture(self, function: Callable[[], None], key: Hashable) -> bool:
        graph = th.cuda.CUDAGraph()
        th.cuda.synchronize()
        try:
            self._pool = self._pool or th.cuda.graph_pool_handle()
            with th.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                function()
        except RuntimeError as error:
            self.has_failed = True
            th.cuda.synchronize()
            self._tell(str(error).splitlines()[0])
            return False
        self._graphs[key] = graph
        self.n_captured += 1
        return True

    def forget(self) -> None:
        """Drop what was captured: the tensors are others now."""
        self._graphs.clear()
        self._pool = None  # it ends with the last graph
