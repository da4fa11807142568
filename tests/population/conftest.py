"""Envs in worker processes, which may hang: tests fail then."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sb3_nbsp.population import MemberEnvs

LIMIT = 30  # seconds, of a machine that may be busy


@pytest.fixture
def made_envs() -> Iterator[Callable[..., MemberEnvs]]:
    """Forked, which is quick; closed at the end. Whatever takes too long fails."""
    made = []

    def make(*args: Any, **kwargs: Any) -> MemberEnvs:
        made.append(MemberEnvs(*args, start_method="fork", **kwargs))
        return made[-1]

    def fail(*_: Any) -> None:
        pytest.fail(f"took more than {LIMIT} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LIMIT)
    try:
        yield make
        for envs in made:
            envs.close()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
