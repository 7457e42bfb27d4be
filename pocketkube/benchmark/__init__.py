"""Measures LiteRT files on the device this runs on: latency, memory, size and score.

It needs neither TensorFlow nor Keras, so that it runs on a phone-class board as it does here.
"""

from pocketkube.benchmark.environment import Environment, environment
from pocketkube.benchmark.latency import measure_latencies
from pocketkube.benchmark.measure import benchmark
from pocketkube.benchmark.rendering import render_table
from pocketkube.benchmark.results import BenchmarkReport, FileFigures, Percentiles

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
