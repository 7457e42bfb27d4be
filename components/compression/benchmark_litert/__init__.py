"""Measures two LiteRT files side by side, on the nodes that are asked for."""

from components.compression.benchmark_litert.component import benchmark_litert

__all__ = ["benchmark_litert"]
