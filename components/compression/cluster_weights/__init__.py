"""Gives each kernel of a network a few values that are learnt."""

from components.compression.cluster_weights.component import cluster_weights

__all__ = ["cluster_weights"]
