"""
Pytest plugin that puts our classes in the place of SB3's and sb3-contrib's, for running their own test suites on them.

Use: ``make test-sb3``, which fetches the source distributions (they contain the tests) and runs them with ``-p plugin``. With
``CONSOLIDATE=1`` every ``learn()`` ends in ``consolidate()``, as the end of a task does.
"""

import os
from functools import wraps
from typing import Any

import sb3_contrib
import stable_baselines3

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC

stable_baselines3.SAC = NBSPSAC
stable_baselines3.DQN = NBSPDQN
stable_baselines3.PPO = NBSPPPO
sb3_contrib.TQC = NBSPTQC
sb3_contrib.QRDQN = NBSPQRDQN


def ending_in_consolidate(learn: Any) -> Any:
    """``learn()``, and the end of a task after it, scored on a few steps."""

    @wraps(learn)
    def learn_and_consolidate(self: Any, *args: Any, **kwargs: Any) -> Any:
        learned = learn(self, *args, **kwargs)
        self.scoring_steps = 60
        self.consolidate()
        return learned

    return learn_and_consolidate


if os.environ.get("CONSOLIDATE"):
    for algorithm in (NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC):
        algorithm.learn = ending_in_consolidate(algorithm.learn)  # type: ignore[method-assign]
