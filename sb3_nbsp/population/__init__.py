"""Many agents of one shape, trained in lock-step as one batched program."""

from sb3_nbsp.population.agreement import packs
from sb3_nbsp.population.population import Population

__all__ = ["Population", "packs"]
