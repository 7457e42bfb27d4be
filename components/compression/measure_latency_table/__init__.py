"""Measures how long the layers of a network take at any channels, on a node that is asked for."""

from components.compression.measure_latency_table.component import measure_latency_table

__all__ = ["measure_latency_table"]
