"""
Pytest plugin that puts our classes in the place of SB3's and sb3-contrib's, for running their own test suites on them.

Use: ``make test-sb3``, which fetches the source distributions (they contain the tests) and runs them with ``-p plugin``. With
``CONSOLIDATE=1`` every ``learn()`` ends in ``consolidate()``, as the end of a task does. What then must fail, because of what
the end of a task does or refuses, stands in ``documented.py``; a test that is listed there and passes is a failure too.
"""

import os
from functools import wraps
from typing import Any

import pytest
import sb3_contrib
import stable_baselines3
from documented import EFFECTS, NOT_OURS, REFUSALS, WARNS_OF_ITS_CLASS

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC

stable_baselines3.SAC = NBSPSAC
stable_baselines3.DQN = NBSPDQN
stable_baselines3.PPO = NBSPPPO
sb3_contrib.TQC = NBSPTQC
sb3_contrib.QRDQN = NBSPQRDQN

CONSOLIDATES = bool(os.environ.get("CONSOLIDATE"))


def ending_in_consolidate(learn: Any) -> Any:
    """``learn()``, and the end of a task after it, scored on a few steps."""

    @wraps(learn)
    def learn_and_consolidate(self: Any, *args: Any, **kwargs: Any) -> Any:
        learned = learn(self, *args, **kwargs)
        self.scoring_steps = 60
        try:
            self.consolidate()
        except ValueError as error:
            if str(error).startswith(REFUSALS):
                pytest.xfail(f"refused, as documented: {error}")
            raise
        return learned

    return learn_and_consolidate


if CONSOLIDATES:
    for algorithm in (NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC):
        algorithm.learn = ending_in_consolidate(algorithm.learn)  # type: ignore[method-assign]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of other classes, and expect what is documented to fail."""
    left_out = [item for item in items if _is_of_others(item) or item.name in WARNS_OF_ITS_CLASS]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        package = item.path.parents[1].name.rpartition("-")[0]
        reason = EFFECTS.get(f"{package}/{item.path.stem}::{item.name}") if CONSOLIDATES else None
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def _is_of_others(item: pytest.Item) -> bool:
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    names = {value.__name__ for value in parameters if isinstance(value, type)}
    return bool(names & NOT_OURS) and not any(name.startswith("NBSP") for name in names)
