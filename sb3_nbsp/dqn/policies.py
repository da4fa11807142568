"""DQN policies with access to their neurons."""

from stable_baselines3.dqn.policies import CnnPolicy as DQNCnnPolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.dqn.policies import MultiInputPolicy as DQNMultiInputPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPDQNPolicy(NeuronAccess, DQNPolicy):
    """The parent's ``DQNPolicy`` plus ``networks()`` and ``record_activations()``."""


MlpPolicy = NBSPDQNPolicy


class CnnPolicy(NeuronAccess, DQNCnnPolicy):
    """The parent's ``CnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, DQNMultiInputPolicy):
    """The parent's ``MultiInputPolicy`` plus ``networks()`` and ``record_activations()``."""
