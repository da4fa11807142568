"""
Which neurons carry a task's skill.

A map of the policy (its layers, what feeds and reads a neuron), a recorder of activations, the steps of the policy on a task,
the scores, and the choice. It knows no optimizer and no algorithm class, and works with any SB3 model.
"""

from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.networks import Network, NeuronLayer, find_networks
from sb3_nbsp.neurons.scores import SCORES, ScoringData
from sb3_nbsp.neurons.skill_neurons import SkillNeurons, select_top

__all__ = [
    "SCORES",
    "ActivationRecorder",
    "Network",
    "NeuronLayer",
    "ScoringData",
    "SkillNeurons",
    "find_networks",
    "select_top",
]
