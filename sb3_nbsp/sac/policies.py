"""SAC policies with access to their neurons."""

from stable_baselines3.sac.policies import CnnPolicy as SACCnnPolicy
from stable_baselines3.sac.policies import MultiInputPolicy as SACMultiInputPolicy
from stable_baselines3.sac.policies import SACPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPSACPolicy(NeuronAccess, SACPolicy):
    """SB3's ``SACPolicy`` plus ``networks()`` and ``record_activations()``."""


MlpPolicy = NBSPSACPolicy


class CnnPolicy(NeuronAccess, SACCnnPolicy):
    """SB3's SAC ``CnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, SACMultiInputPolicy):
    """SB3's SAC ``MultiInputPolicy`` plus ``networks()`` and ``record_activations()``."""
