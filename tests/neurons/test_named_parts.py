"""What the warning names is what changes when all neurons are held, and nothing else does."""

import re
import warnings
from collections.abc import Callable

import pytest
import torch as th
from helpers.cases import SAC_CASE
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

FROZEN = {
    "select_among": "all",
    "mask_coef": 0.0,
    "mask_sides": "both",
    "mask_output_biases": True,
    "skill_fraction": 1.0,
    "score": "taylor",
}
N = 6  # of an observation with the task's id


class Extractor(BaseFeaturesExtractor):
    """Eight features, from parts and a forward."""

    def __init__(self, observation_space, parts: Callable[[], dict], forward: Callable[..., th.Tensor]):
        super().__init__(observation_space, 8)
        assert get_flattened_obs_dim(observation_space) == N
        for name, part in parts().items():
            setattr(self, name, part)
        self.written = forward

    def forward(self, observations):
        return self.written(self, observations)


def noisy(self, x):
    return F.relu(self.c(F.relu(F.linear(x, self.mu + self.sigma * th.randn_like(self.sigma)))))


def attention(self, x):
    q, k, v = (part(x)[:, None] for part in (self.q, self.k, self.v))
    return self.o((th.softmax(q @ k.transpose(1, 2), -1) @ v)[:, 0])


CASES: dict[str, tuple[Callable[[], dict], Callable[..., th.Tensor], set[str]]] = {
    "gated linear unit": (lambda: {"a": nn.Linear(N, 16)}, lambda self, x: F.glu(self.a(x)), set()),
    "used twice": (lambda: {"a": nn.Linear(N, 8)}, lambda self, x: F.relu(self.a(x)) + F.relu(self.a(-x)), set()),
    "batch norm of observations": (
        lambda: {"n": nn.BatchNorm1d(N), "a": nn.Linear(N, 8), "b": nn.BatchNorm1d(8)},
        lambda self, x: F.relu(self.b(self.a(self.n(x)))),
        {"n.weight", "n.bias"},
    ),
    "weight norm": (
        lambda: {"a": weight_norm(nn.Linear(N, 8)), "b": nn.Linear(8, 8)},
        lambda self, x: F.relu(self.b(F.relu(self.a(x)))),
        {"a.bias", "a.parametrizations.weight.original0", "a.parametrizations.weight.original1"},
    ),
    "noisy": (
        lambda: {"mu": nn.Parameter(th.randn(8, N)), "sigma": nn.Parameter(th.ones(8, N)), "c": nn.Linear(8, 8)},
        noisy,
        {"mu", "sigma"},
    ),
    "attention by hand": (lambda: {p: nn.Linear(N, 8) for p in "qkv"} | {"o": nn.Linear(8, 8)}, attention, set()),
    "transposed convolution": (
        lambda: {"a": nn.Linear(N, 8), "t": nn.ConvTranspose1d(1, 1, 1)},
        lambda self, x: self.t(F.relu(self.a(x))[:, None])[:, 0],
        {"t.weight", "t.bias"},
    ),
    "lstm": (
        lambda: {"a": nn.Linear(1, 4), "l": nn.LSTM(4, 8, batch_first=True)},
        lambda self, x: self.l(F.relu(self.a(x[..., None])))[0][:, -1],
        {"l.weight_ih_l0", "l.weight_hh_l0", "l.bias_ih_l0", "l.bias_hh_l0"},
    ),
    "compiled": (
        lambda: {"a": th.compile(nn.Sequential(nn.Linear(N, 8), nn.ReLU()), backend="eager")},
        lambda s, x: s.a(x),
        set(),
    ),
    "script": (
        lambda: {"a": th.jit.script(nn.Sequential(nn.Linear(N, 8), nn.ReLU()))},
        lambda self, x: self.a(x),
        {"a.0.weight", "a.0.bias"},
    ),
    "learned scale": (
        lambda: {"a": nn.Linear(N, 8), "scale": nn.Parameter(th.tensor(0.5))},
        lambda self, x: self.scale * F.relu(self.a(x)),
        {"scale"},
    ),
}


@pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:.*torch.jit")
@pytest.mark.parametrize("name", CASES)
def test_what_changes_is_what_is_named(name):
    parts, forward, free = CASES[name]
    policy_kwargs = {"features_extractor_class": Extractor, "features_extractor_kwargs": {"parts": parts, "forward": forward}}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = SAC_CASE.made(policy_kwargs=policy_kwargs, **FROZEN)
    texts = [str(w.message) for w in told if "neither scored nor protected" in str(w.message)]
    named = set(re.findall(r"actor\.features_extractor\.([a-z]+)", " ".join(texts)))
    assert len(texts) <= 1 and named - {"o"} == {part.split(".")[0] for part in free}
    assert ("the columns of actor.features_extractor.o.weight" in " ".join(texts)) == (name == "attention by hand")
    model.learn(80)
    prefix = "actor.features_extractor."
    before = {n: p.detach().clone() for n, p in model.policy.named_parameters() if n.startswith("actor.")}
    model.learn(80, reset_num_timesteps=False)
    assert model.learned_tasks == ["east", "west"]
    changed = {n for n, p in model.policy.named_parameters() if n in before and not th.equal(p, before[n])}
    assert changed == {prefix + part for part in free}
