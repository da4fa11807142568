"""One torch thread: the networks here are tiny, and the machine is shared."""

import pytest
import torch as th
from helpers.sac_models import Counting

th.set_num_threads(1)


@pytest.fixture
def calls() -> list[tuple[str, int]]:
    Counting.calls.clear()
    return Counting.calls
