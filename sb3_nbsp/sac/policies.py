"""SAC policies with access to their neurons."""

from typing import Any

from stable_baselines3.sac.policies import CnnPolicy as SACCnnPolicy
from stable_baselines3.sac.policies import MultiInputPolicy as SACMultiInputPolicy
from stable_baselines3.sac.policies import SACPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPSACPolicy(NeuronAccess, SACPolicy):
    """SB3's ``SACPolicy`` plus ``networks()`` and ``record_activations()``."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """
        See torch. While they learn, parameters are views of a buffer, which may be that of many agents: those are copied here,
        since a file of a view holds the whole buffer.
        """
        state = super().state_dict(*args, **kwargs)
        if not kwargs.get("keep_vars", False):
            for name, tensor in state.items():
                if tensor.untyped_storage().nbytes() > tensor.nbytes:
                    state[name] = tensor.clone()
        return state


MlpPolicy = NBSPSACPolicy


class CnnPolicy(NeuronAccess, SACCnnPolicy):
    """SB3's SAC ``CnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, SACMultiInputPolicy):
    """SB3's SAC ``MultiInputPolicy`` plus ``networks()`` and ``record_activations()``."""
