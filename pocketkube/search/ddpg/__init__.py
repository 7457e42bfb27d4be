"""The DDPG sampler."""

from pocketkube.search.ddpg.sampler import DDPG

__all__ = ["DDPG", "SAMPLER"]

SAMPLER = DDPG()
