"""
What is rehearsed of earlier tasks.

A bounded memory of every task, SB3's replay and rollout buffers that mix it in, and the cloning of what the policy did. It
knows no network's inside; the buffers work in any SB3 algorithm.
"""

from sb3_nbsp.rehearsal.memory import TaskMemory
from sb3_nbsp.rehearsal.replay_buffers import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer
from sb3_nbsp.rehearsal.rollout_buffers import MixedDictRolloutBuffer, MixedRolloutBuffer

__all__ = [
    "MixedDictReplayBuffer",
    "MixedDictRolloutBuffer",
    "MixedNStepReplayBuffer",
    "MixedReplayBuffer",
    "MixedRolloutBuffer",
    "TaskMemory",
]
