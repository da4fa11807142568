"""Randomness that leaves training untouched."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch as th
from gymnasium import spaces


@contextmanager
def isolated_rng(seed: int | None = None, action_space: spaces.Space | None = None) -> Iterator[None]:
    """
    Save the global random states of Python, NumPy and torch and restore them on leaving.

    Scoring and evaluating draw random numbers. Inside this block they do so without changing what
    training draws next, so that a run is the same however often it was evaluated.

    :param seed: seed the generators inside the block; ``None`` leaves them as they stand
    :param action_space: a model's, if it acts inside the block: epsilon-greedy exploration and SB3's warm-up draw from the
        space, which has a generator of its own
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    space_state = None if action_space is None else deepcopy(action_space._np_random)
    with th.random.fork_rng():
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % 2**32)
                th.manual_seed(seed)
                if action_space is not None:
                    action_space.seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            if action_space is not None:
                action_space._np_random = space_state  # type: ignore[assignment]
