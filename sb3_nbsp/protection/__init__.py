"""
What keeps a task's skill neurons as they are.

Masks (a factor per neuron and task), the optimizer wrapper that applies them to parameters, and task gates, which close a
task's neurons on all other tasks. It knows no formula of a score and no buffer, and works with any torch optimizer.
"""

from sb3_nbsp.protection.gates import TaskGates
from sb3_nbsp.protection.masks import NeuronMasks
from sb3_nbsp.protection.optimizer import MaskedOptimizer

__all__ = ["MaskedOptimizer", "NeuronMasks", "TaskGates"]
