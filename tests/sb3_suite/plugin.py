"""
Pytest plugin that puts our classes in the place of SB3's and sb3-contrib's, for running their own test suites on them.

Use: ``make test-sb3``, which fetches the source distributions (they contain the tests) and runs them with ``-p plugin``.
"""

import sb3_contrib
import stable_baselines3

from sb3_nbsp import NBSPDQN, NBSPPPO, NBSPQRDQN, NBSPSAC, NBSPTQC

stable_baselines3.SAC = NBSPSAC
stable_baselines3.DQN = NBSPDQN
stable_baselines3.PPO = NBSPPPO
sb3_contrib.TQC = NBSPTQC
sb3_contrib.QRDQN = NBSPQRDQN
