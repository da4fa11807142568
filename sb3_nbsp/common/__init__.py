"""The parts of NBSP, each usable alone with plain SB3 algorithms."""

from sb3_nbsp.common.activations import ActivationRecorder
from sb3_nbsp.common.buffers import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer
from sb3_nbsp.common.callbacks import SkillNeuronCallback
from sb3_nbsp.common.masks import NeuronMasks
from sb3_nbsp.common.neurons import Network, NeuronLayer, find_networks
from sb3_nbsp.common.optimizers import MaskedOptimizer
from sb3_nbsp.common.rollouts import MixedDictRolloutBuffer, MixedRolloutBuffer
from sb3_nbsp.common.skill_neurons import SkillNeurons

__all__ = [
    "ActivationRecorder",
    "MaskedOptimizer",
    "MixedDictReplayBuffer",
    "MixedDictRolloutBuffer",
    "MixedNStepReplayBuffer",
    "MixedReplayBuffer",
    "MixedRolloutBuffer",
    "Network",
    "NeuronLayer",
    "NeuronMasks",
    "SkillNeuronCallback",
    "SkillNeurons",
    "find_networks",
]
