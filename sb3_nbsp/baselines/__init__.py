"""
Other methods of continual learning, to compare NBSP with. Each is an SB3 callback, for plain SB3 algorithms and for ours with
``skill_fraction=0`` and ``memory_size=0``. In rl-zoo3's settings:

    callback:
      - sb3_nbsp.baselines.EWC:
          coef: 10000
"""

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.behavioural_cloning import BehaviouralCloning
from sb3_nbsp.baselines.ewc import EWC
from sb3_nbsp.baselines.l2 import L2
from sb3_nbsp.baselines.learning_rate import LowerLearningRate
from sb3_nbsp.baselines.mas import MAS
from sb3_nbsp.baselines.packnet import PackNet, subnetwork
from sb3_nbsp.baselines.redo import ReDo
from sb3_nbsp.baselines.resets import Resets

__all__ = [
    "EWC",
    "L2",
    "MAS",
    "BehaviouralCloning",
    "LowerLearningRate",
    "PackNet",
    "ReDo",
    "Resets",
    "TaskBoundaryCallback",
    "subnetwork",
]
