"""
What the NBSP algorithms share: their base classes, the place in a task sequence, saving, environments beside the training env.

It stands above the three wings (neurons, protection, rehearsal), puts them together, and knows no command line.
"""

from sb3_nbsp.common.callbacks import SkillNeuronCallback

__all__ = ["SkillNeuronCallback"]
