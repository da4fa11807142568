"""
Pytest plugin that puts our classes in the place of SB3's, for running SB3's own test suite on them.

Use: ``make test-sb3``, which fetches SB3's source distribution (it contains the tests) and runs it with ``-p plugin``.
"""

import stable_baselines3

from sb3_nbsp import NBSPDQN, NBSPSAC

stable_baselines3.SAC = NBSPSAC
stable_baselines3.DQN = NBSPDQN
