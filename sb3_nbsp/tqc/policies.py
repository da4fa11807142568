"""TQC policies with access to their neurons."""

from sb3_contrib.tqc.policies import CnnPolicy as TQCCnnPolicy
from sb3_contrib.tqc.policies import MultiInputPolicy as TQCMultiInputPolicy
from sb3_contrib.tqc.policies import TQCPolicy

from sb3_nbsp.common.policies import NeuronAccess


class NBSPTQCPolicy(NeuronAccess, TQCPolicy):
    """The parent's ``TQCPolicy`` plus ``networks()`` and ``record_activations()``."""


MlpPolicy = NBSPTQCPolicy


class CnnPolicy(NeuronAccess, TQCCnnPolicy):
    """The parent's ``CnnPolicy`` plus ``networks()`` and ``record_activations()``."""


class MultiInputPolicy(NeuronAccess, TQCMultiInputPolicy):
    """The parent's ``MultiInputPolicy`` plus ``networks()`` and ``record_activations()``."""
