"""NBSP for QRDQN."""

from sb3_nbsp.qrdqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, NBSPQRDQNPolicy
from sb3_nbsp.qrdqn.qrdqn import NBSPQRDQN

__all__ = ["NBSPQRDQN", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "NBSPQRDQNPolicy"]
