"""Measures two LiteRT files side by side, on the machine that this runs on."""

from components.compression.benchmark_litert.component import benchmark_litert

__all__ = ["benchmark_litert"]
