"""NBSP for PPO."""

from sb3_nbsp.ppo.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, NBSPPPOPolicy
from sb3_nbsp.ppo.ppo import NBSPPPO

__all__ = ["NBSPPPO", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "NBSPPPOPolicy"]
