"""Policies of one's own, as users write them: with other members than SB3's, functions without modules, streams."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn
from torch.nn import functional as F


class DuelingNet(QNetwork):
    """Trunk, value and advantages (Wang et al. 2016), without a member ``q_net``."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        del self.q_net
        self.trunk = nn.Linear(self.features_dim, 6)
        self.value_hidden, self.advantage_hidden = nn.Linear(6, 5), nn.Linear(6, 4)
        self.value, self.advantage = nn.Linear(5, 1), nn.Linear(4, int(self.action_space.n))

    def forward(self, obs: Any) -> th.Tensor:
        hidden = F.relu(self.trunk(self.extract_features(obs, self.features_extractor)))
        value = self.value(th.relu(self.value_hidden(hidden)))
        advantage = self.advantage(self.advantage_hidden(hidden).tanh())
        return value + advantage - advantage.mean(dim=1, keepdim=True)

    def _predict(self, observation: Any, deterministic: bool = True) -> th.Tensor:
        return self(observation).argmax(dim=1).reshape(-1)


class DuelingPolicy(DQNPolicy):
    def make_q_net(self) -> QNetwork:
        return DuelingNet(**self._update_features_extractor(self.net_args, features_extractor=None)).to(self.device)


class OwnExtractorNet(nn.Module):
    """A trunk that both use, then one layer each; no ``policy_net``, no ``value_net``; one activation module for all."""

    def __init__(self, n_in: int):
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 4, 3
        self.trunk, self.pi, self.vf = nn.Linear(n_in, 6), nn.Linear(6, 4), nn.Linear(6, 3)
        self.activation = nn.Tanh()

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        hidden = self.activation(self.trunk(features))
        return self.activation(self.pi(hidden)), F.silu(self.vf(hidden))

    def forward_actor(self, features: th.Tensor) -> th.Tensor:
        return self.forward(features)[0]

    def forward_critic(self, features: th.Tensor) -> th.Tensor:
        return self.forward(features)[1]


class OwnExtractorPolicy(ActorCriticPolicy):
    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = OwnExtractorNet(self.features_dim)  # type: ignore[assignment]


class Conv1dExtractor(BaseFeaturesExtractor):
    """A vector as a series of one channel."""

    def __init__(self, observation_space: spaces.Space, n_channels: int = 3):
        n = get_flattened_obs_dim(observation_space)
        super().__init__(observation_space, 2 * n_channels * (n - 3))
        self.first, self.second = nn.Conv1d(1, n_channels, 3), nn.Conv1d(n_channels, 2 * n_channels, 2)

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return F.relu(self.second(F.relu(self.first(observations.unsqueeze(1))))).flatten(1)


class SimBa(BaseFeaturesExtractor):
    """Residual blocks (Lee et al. 2024): x + W2 relu(W1 norm(x)), a last norm."""

    def __init__(self, observation_space: spaces.Space, width: int = 5, n_blocks: int = 2):
        super().__init__(observation_space, width)
        self.embed = nn.Linear(get_flattened_obs_dim(observation_space), width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(n_blocks))
        self.inner = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(n_blocks))
        self.outer = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(n_blocks))
        self.last = nn.LayerNorm(width)

    def forward(self, observations: th.Tensor) -> th.Tensor:
        stream = self.embed(observations)
        for norm, inner, outer in zip(self.norms, self.inner, self.outer, strict=True):
            stream = stream + outer(F.relu(inner(norm(stream))))
        return self.last(stream)


class WithLayer(FlattenExtractor):
    """A layer of a kind that is not understood stands between observations and networks."""

    def __init__(self, observation_space: spaces.Space, kind: str):
        super().__init__(observation_space)
        n = self.features_dim
        self.layer: Any = {
            "gru": lambda: nn.GRUCell(n, n),
            "bilinear": lambda: nn.Bilinear(n, n, n),
            "attention": lambda: nn.MultiheadAttention(n, 1, batch_first=True),
        }[kind]()
        self.kind = kind

    def forward(self, observations: th.Tensor) -> th.Tensor:
        x = super().forward(observations)
        if self.kind == "attention":
            return self.layer(x[:, None], x[:, None], x[:, None])[0][:, 0]
        return self.layer(x, x) if self.kind == "bilinear" else self.layer(x)
