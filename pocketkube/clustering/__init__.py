"""Non-uniform quantisation: each weight becomes one of a few values that are learnt."""

from pocketkube.clustering.codebooks import Clustering

__all__ = ["Clustering"]
