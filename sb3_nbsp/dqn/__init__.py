"""NBSP for DQN."""

from sb3_nbsp.dqn.dqn import NBSPDQN
from sb3_nbsp.dqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, NBSPDQNPolicy

__all__ = ["NBSPDQN", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "NBSPDQNPolicy"]
