"""The rule behind ``device="fastest"``."""

import pytest
import torch as th
from helpers import VECTOR, ToyEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.sac.fastest_device import fastest_device

ARGUMENTS = {"policy": "MlpPolicy", "fast_update": "auto", "use_sde": False}


@pytest.mark.parametrize(
    ("change", "device"),
    [
        ({}, "cuda"),
        ({"fast_update": True}, "cuda"),
        ({"policy": "CnnPolicy"}, "cuda"),
        ({"fast_update": False}, "cpu"),
        ({"use_sde": True}, "cpu"),
        ({"policy": "MultiInputPolicy"}, "cpu"),
    ],
)
def test_where_there_is_a_gpu(change, device, monkeypatch):
    monkeypatch.setattr(th.cuda, "is_available", lambda: True)
    assert fastest_device({**ARGUMENTS, **change}) == device


def test_where_there_is_none():
    assert NBSPSAC("MlpPolicy", ToyEnv(VECTOR), device="fastest").device.type == "cpu"
