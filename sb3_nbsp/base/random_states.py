"""Randomness that leaves training untouched."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch as th


@contextmanager
def isolated_rng(seed: int | None = None) -> Iterator[None]:
    """
    Save the global random states of Python, NumPy and torch and restore them on leaving.

    Scoring and evaluating draw random numbers. Inside this block they do so without changing what
    training draws next, so that a run is the same however often it was evaluated.

    :param seed: seed the three generators inside the block; ``None`` leaves them as they stand
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with th.random.fork_rng():
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % 2**32)
                th.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
