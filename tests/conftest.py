"""
One torch thread: the networks here are tiny, and the machine is shared. And the CPU, also where there is a GPU: only
``make test-gpu`` lets torch see it, by the variable ``TEST_GPU``.
"""

import os

if os.environ.get("TEST_GPU"):
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS may give other bits every time
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for the processes that tests start, too

import pytest
import torch as th
from helpers.sac_models import Counting

th.set_num_threads(1)


@pytest.fixture
def calls() -> list[tuple[str, int]]:
    Counting.calls.clear()
    return Counting.calls
