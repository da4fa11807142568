"""Stable-Baselines3 agents that learn one task after another without forgetting."""

import sb3_nbsp.tasks  # noqa: F401  registers the sb3_nbsp/ environments
from sb3_nbsp.common.published import PUBLISHED, plain_settings
from sb3_nbsp.dqn import NBSPDQN
from sb3_nbsp.ppo import NBSPPPO
from sb3_nbsp.qrdqn import NBSPQRDQN
from sb3_nbsp.sac import NBSPSAC
from sb3_nbsp.tqc import NBSPTQC

__version__ = "0.1.0"

__all__ = ["NBSPDQN", "NBSPPPO", "NBSPQRDQN", "NBSPSAC", "NBSPTQC", "PUBLISHED", "__version__", "plain_settings"]
