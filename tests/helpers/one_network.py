"""A module's map without an algorithm."""

import torch as th
from gymnasium import spaces
from torch import nn

from sb3_nbsp.neurons import Network, find_networks


class OneNetwork(nn.Module):
    """The least that is read as a policy: a Q-network and its observations, like those that are given."""

    def __init__(self, net: nn.Module, seen: th.Tensor):
        super().__init__()
        self.q_net, self.device = net, seen.device
        self.observation_space = spaces.Box(-1.0, 1.0, tuple(seen.shape[1:]))


def network_of(net: nn.Module, seen: th.Tensor) -> Network:
    """Its layers' names begin with ``q_net``."""
    (network,) = find_networks(OneNetwork(net, seen))
    return network
