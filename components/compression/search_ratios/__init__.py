"""Finds each layer's kept channels, sparsity or bits under the target, for the stages that follow."""

from components.compression.search_ratios.component import search_ratios

__all__ = ["search_ratios"]
