"""NBSP for SAC."""

from sb3_nbsp.sac.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, NBSPSACPolicy
from sb3_nbsp.sac.sac import NBSPSAC

__all__ = ["NBSPSAC", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "NBSPSACPolicy"]
