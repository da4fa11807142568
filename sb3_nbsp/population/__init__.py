"""Many agents of one shape, trained in lock-step as one batched program."""

from sb3_nbsp.population.agreement import packs
from sb3_nbsp.population.member_envs import MemberEnvs, workers_for
from sb3_nbsp.population.population import Population

__all__ = ["MemberEnvs", "Population", "packs", "workers_for"]
