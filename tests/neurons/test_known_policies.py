"""
The maps of SB3's own policies are what they always were: masks, gates and scores in files are found by these names.

``known_policies.json`` was written by commit 8656417, which walked the tree of modules.
"""

import json
import warnings
from itertools import product
from pathlib import Path

import pytest
from helpers import CHANNEL_FIRST_IMAGE, VECTOR
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from test_neurons import CNN, COMBINED, IMAGE_AND_VECTORS, DiscreteToyEnv, ToyEnv, policy_of
from torch import nn

from sb3_nbsp.neurons import find_networks

KNOWN = json.loads((Path(__file__).parent / "known_policies.json").read_text())
KINDS = {
    "MlpPolicy": (VECTOR, {}),
    "CnnPolicy": (CHANNEL_FIRST_IMAGE, CNN),
    "MultiInputPolicy": (IMAGE_AND_VECTORS, COMBINED),
}


def case(cls, kind, **kwargs):
    space, own = KINDS[kind]
    env = DiscreteToyEnv if cls in (DQN, QRDQN) else ToyEnv
    return lambda: policy_of(cls, space, kind, env, **{**own, **kwargs})


CASES = {
    **{f"{cls.__name__} MlpPolicy": case(cls, "MlpPolicy") for cls in (SAC, TQC, TD3, DDPG, DQN, QRDQN, PPO, A2C)},
    **{f"{cls.__name__} {kind}": case(cls, kind) for cls, kind in product((SAC, DQN), ("CnnPolicy", "MultiInputPolicy"))},
    **{
        f"{cls.__name__} {kind} share={share}": case(cls, kind, share_features_extractor=share)
        for (cls, kind), share in product(((PPO, "CnnPolicy"), (PPO, "MultiInputPolicy"), (TD3, "CnnPolicy")), (True, False))
    },
    **{f"{cls.__name__} gSDE": case(cls, "MlpPolicy", use_sde=True) for cls in (SAC, TQC, PPO)},
    **{f"{cls.__name__} linear MlpPolicy": case(cls, "MlpPolicy", net_arch=[]) for cls in (SAC, DQN, PPO)},
    "PPO linear CnnPolicy": case(PPO, "CnnPolicy", net_arch=[]),
    "SAC tanh": case(SAC, "MlpPolicy", activation_fn=nn.Tanh),
    "SAC three critics": case(SAC, "MlpPolicy", n_critics=3, net_arch={"pi": [5], "qf": [3, 2, 4]}),
    "PPO linear actor": case(PPO, "MlpPolicy", net_arch={"pi": [], "vf": [3, 2]}),
}


def described(policy, networks):
    names = {}
    for name, part in [*policy.named_parameters(), *policy.named_modules()]:
        names.setdefault(id(part), name)
    return [
        [
            network.name,
            network.part,
            [
                [
                    layer.name,
                    names[id(layer.activation)],
                    layer.n_neurons,
                    [names[id(p)] for p in layer.own],
                    [[names[id(r.parameter)], r.dim, r.start, r.span] for r in layer.readers],
                ]
                for layer in network.layers
            ],
            [names[id(p)] for p in network.output_biases],
        ]
        for network in networks
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_map_of_a_known_policy(name):
    policy = CASES[name]()
    with warnings.catch_warnings():
        if "linear" not in name:
            warnings.simplefilter("error")
        assert described(policy, find_networks(policy)) == KNOWN[name]
