"""Measures LiteRT files on the device this runs on: latency, memory, size and score.

It needs neither TensorFlow nor Keras, so that it runs on a phone-class board as it does here.
"""

from pocketkube.benchmarking.environment import Environment, environment
from pocketkube.benchmarking.latency import measure_latencies
from pocketkube.benchmarking.rendering import render_table
from pocketkube.benchmarking.results import BenchmarkReport, FileFigures, Percentiles
from pocketkube.benchmarking.side_by_side import benchmark

__all__ = [
    "BenchmarkReport",
    "Environment",
    "FileFigures",
    "Percentiles",
    "benchmark",
    "environment",
    "measure_latencies",
    "render_table",
]
