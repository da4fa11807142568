"""
Other methods of continual learning, to compare NBSP with. Most are SB3 callbacks, for plain SB3 algorithms and for ours with
``skill_fraction=0`` and ``memory_size=0``. In rl-zoo3's settings:

    callback:
      - sb3_nbsp.baselines.EWC:
          coef: 10000

Two need none, since SB3 has a place for them: CReLU is an activation function, UPGD an optimizer.

    policy_kwargs: "dict(activation_fn=sb3_nbsp.baselines.CReLU)"
    policy_kwargs: "dict(optimizer_class=sb3_nbsp.baselines.UPGD)"
"""

from sb3_nbsp.baselines.agem import AGEM
from sb3_nbsp.baselines.ancl import ANCL
from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.behavioural_cloning import BehaviouralCloning
from sb3_nbsp.baselines.continual_backprop import ContinualBackprop
from sb3_nbsp.baselines.crelu import CReLU
from sb3_nbsp.baselines.ewc import EWC
from sb3_nbsp.baselines.l2 import L2
from sb3_nbsp.baselines.learning_rate import LowerLearningRate
from sb3_nbsp.baselines.mas import MAS
from sb3_nbsp.baselines.npc import NPC
from sb3_nbsp.baselines.packnet import PackNet, subnetwork
from sb3_nbsp.baselines.plasticity_injection import PlasticityInjection, injected
from sb3_nbsp.baselines.redo import ReDo
from sb3_nbsp.baselines.resets import Resets
from sb3_nbsp.baselines.saved_copies import SavedCopies
from sb3_nbsp.baselines.upgd import UPGD

__all__ = [
    "AGEM",
    "ANCL",
    "EWC",
    "L2",
    "MAS",
    "NPC",
    "UPGD",
    "BehaviouralCloning",
    "CReLU",
    "ContinualBackprop",
    "LowerLearningRate",
    "PackNet",
    "PlasticityInjection",
    "ReDo",
    "Resets",
    "SavedCopies",
    "TaskBoundaryCallback",
    "injected",
    "subnetwork",
]
