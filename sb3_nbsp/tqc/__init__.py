"""NBSP for TQC."""

from sb3_nbsp.tqc.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, NBSPTQCPolicy
from sb3_nbsp.tqc.tqc import NBSPTQC

__all__ = ["NBSPTQC", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "NBSPTQCPolicy"]
