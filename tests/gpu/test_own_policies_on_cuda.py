"""Policies of one's own on a GPU: read, scored and held there as on the CPU."""

import pytest
import torch as th
from helpers.cases import DQN_CASE, PPO_CASE, SAC_CASE
from helpers.own_policies import Conv1dExtractor, DuelingPolicy, OwnExtractorPolicy, SimBa

from sb3_nbsp.neurons import find_networks

FROZEN = {"select_among": "all", "mask_coef": 0.0, "mask_sides": "both", "mask_output_biases": True, "skill_fraction": 1.0}
OWN = {
    "dueling": (DQN_CASE, DuelingPolicy, {}),
    "own-mlp-extractor": (PPO_CASE, OwnExtractorPolicy, {}),
    "conv1d": (DQN_CASE, "MlpPolicy", {"features_extractor_class": Conv1dExtractor}),
    "simba": (SAC_CASE, "MlpPolicy", {"features_extractor_class": SimBa}),
}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings(
        r"ignore:The goal metric q\(t\)",
        "ignore:You have specified a mini-batch size",
        "ignore:You are trying to run PPO on the GPU",
    ),
]


def map_of(model):
    names = {id(p): name for name, p in model.policy.named_parameters()}
    return {
        layer.name: [(names[id(r.parameter)], r.dim, r.start, r.span) for r in layer.readers]
        for network in find_networks(model.policy)
        for layer in network.layers
    }


@pytest.mark.parametrize("name", OWN)
def test_an_own_policy_is_held(name, device):
    case, policy, policy_kwargs = OWN[name]
    kwargs = {"policy": policy, "policy_kwargs": policy_kwargs, "score": "taylor", **FROZEN}
    model = case.made(device=device, **kwargs)
    state = th.cuda.get_rng_state() if device == "cuda" else th.get_rng_state()
    assert map_of(model) == map_of(case.made(device="cpu", **kwargs))
    if device == "cuda":
        assert th.equal(th.cuda.get_rng_state(), state)
    model.learn(80)
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters() if "target" not in n and n != "log_std"}
    model.learn(80, reset_num_timesteps=False)
    parameters = dict(model.policy.named_parameters())
    assert model.learned_tasks == ["east", "west"]
    assert [n for n, p in before.items() if not th.equal(parameters[n], p)] == []
