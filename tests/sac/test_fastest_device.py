"""The rule behind ``device="fastest"``."""

import pytest
import torch as th
from gymnasium import spaces
from helpers import VECTOR, ToyEnv
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.sac.fastest_device import fastest_device
from sb3_nbsp.sac.policies import CnnPolicy, MlpPolicy

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
        ({"policy": MlpPolicy}, "cuda"),
        ({"policy": SACPolicy}, "cuda"),
        ({"policy": CnnPolicy}, "cuda"),
        ({"policy": type("Own", (MlpPolicy,), {"_predict": lambda *_: None})}, "cpu"),
        ({"policy": "NoPolicy"}, "cpu"),
        ({"policy_kwargs": {"activation_fn": nn.LeakyReLU, "net_arch": {"pi": [8], "qf": [8]}}}, "cuda"),
        ({"policy_kwargs": {"activation_fn": nn.Tanh}}, "cpu"),
        ({"policy_kwargs": {"net_arch": {"pi": [], "qf": [8]}}}, "cpu"),
        ({"policy_kwargs": {"optimizer_class": th.optim.AdamW}}, "cpu"),
        ({"policy_kwargs": {"optimizer_kwargs": {"eps": 1e-5}}}, "cuda"),
        ({"policy_kwargs": {"optimizer_kwargs": {"weight_decay": 0.1}}}, "cpu"),
        ({"clone_target": "skill_neurons"}, "cpu"),
        ({"env": ToyEnv(VECTOR)}, "cuda"),
        ({"env": ToyEnv(spaces.Discrete(3))}, "cpu"),
    ],
)
def test_where_there_is_a_gpu(change, device, monkeypatch):
    monkeypatch.setattr(th.cuda, "is_available", lambda: True)
    assert fastest_device({**ARGUMENTS, **change}) == device


def test_where_there_is_none():
    assert NBSPSAC("MlpPolicy", ToyEnv(VECTOR), device="fastest").device.type == "cpu"
