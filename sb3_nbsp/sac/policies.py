"""SAC policies with access to their neurons."""

import torch as th
from stable_baselines3.sac.policies import CnnPolicy as SACCnnPolicy
from stable_baselines3.sac.policies import MultiInputPolicy as SACMultiInputPolicy
from stable_baselines3.sac.policies import SACPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPSACPolicy(NeuronAccess, SACPolicy):
    """SB3's ``SACPolicy`` plus ``networks()`` and ``record_activations()``."""

    def save(self, path: str) -> None:
        """
        See SB3. While they learn, parameters are views of a buffer, which may be that of many agents: a file of a view would
        hold the whole buffer, so it gets copies.
        """
        state = self.state_dict()
        for name, tensor in state.items():
            state[name] = tensor.clone()
        th.save({"state_dict": state, "data": self._get_constructor_parameters()}, path)


MlpPolicy = NBSPSACPolicy


class CnnPolicy(NeuronAccess, SACCnnPolicy):
    """SB3's SAC ``CnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, SACMultiInputPolicy):
    """SB3's SAC ``MultiInputPolicy`` plus ``networks()`` and ``record_activations()``."""
