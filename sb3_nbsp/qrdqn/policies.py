"""QRDQN policies with access to their neurons."""

from sb3_contrib.qrdqn.policies import CnnPolicy as QRDQNCnnPolicy
from sb3_contrib.qrdqn.policies import MultiInputPolicy as QRDQNMultiInputPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPQRDQNPolicy(NeuronAccess, QRDQNPolicy):
    """The parent's ``QRDQNPolicy`` plus ``networks()`` and ``record_activations()``."""


MlpPolicy = NBSPQRDQNPolicy


class CnnPolicy(NeuronAccess, QRDQNCnnPolicy):
    """The parent's ``CnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, QRDQNMultiInputPolicy):
    """The parent's ``MultiInputPolicy`` plus ``networks()`` and ``record_activations()``."""
