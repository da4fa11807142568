"""The device of the tests that need a GPU."""

import os
from collections.abc import Iterator

import pytest
import torch as th

DEVICE = os.environ.get("TEST_GPU_DEVICE", "cuda")  # "cpu": to try the tests themselves where there is no GPU


@pytest.fixture
def device() -> Iterator[str]:
    """With arithmetic that gives the same bits every time."""
    if DEVICE == "cuda" and not th.cuda.is_available():
        pytest.skip("torch sees no CUDA device: run `make test-gpu` where there is one")
    before = th.are_deterministic_algorithms_enabled(), th.is_deterministic_algorithms_warn_only_enabled()
    th.use_deterministic_algorithms(True, warn_only=True)
    yield DEVICE
    th.use_deterministic_algorithms(before[0], warn_only=before[1])
