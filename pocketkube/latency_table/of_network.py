"""The latency table of a Keras model, in floats and in 8 bits, and how right it is."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from pocketkube.deploy.convert import convert_litert
from pocketkube.latency_table.measuring import ROUNDS, TimedNetwork, measure_table
from pocketkube.latency_table.prunings import Write, held_out_prunings, random_prunings
from pocketkube.latency_table.table import LatencyTable
from pocketkube.number_formats import NumberFormat
from pocketkube.pruning.pruner import Pruner

FORMATS: tuple[NumberFormat, ...] = ("float32", "int8")
_CALIBRATION_EXAMPLES = 2


def measure_network(
    model: keras.Model,
    file: Path,
    *,
    threads: int = 1,
    formats: Sequence[NumberFormat] = FORMATS,
    rounds: int = ROUNDS,
) -> LatencyTable:
    """Measures the latency table of a network on this machine.

    Half a dozen prunings to speed-ups, which nothing is fitted on, are predicted and measured, too.

    Args:
        model: The network; it is pruned by the size of its weights, and neither trained nor changed.
        file: Where the table is written; one that was interrupted is gone on with.
        threads: With how many threads.
        formats: In which numbers.
        rounds: How often all is measured.

    Returns:
        The table.

    Raises:
        UserError: If the model has no channels to cut, cannot be converted, or consists of operations
            that cannot be measured by themselves.
    """
    return measure_table(networks_to_time(model, formats), file, threads=threads, rounds=rounds)


def networks_to_time(
    model: keras.Model, formats: Sequence[NumberFormat] = FORMATS
) -> list[TimedNetwork]:
    """The files that a network's latency table is measured on; for any device.

    Args:
        model: See `measure_network`.
        formats: In which numbers.

    Raises:
        UserError: If the model has no channels to cut, or cannot be converted.
    """
    pruners = {scope: Pruner(model, scope=scope) for scope in ("global", "uniform")}
    networks: list[TimedNetwork] = []
    for number_format in formats:
        write = writer(number_format)
        networks += random_prunings(pruners["global"], number_format, write).networks
        networks += held_out_prunings(pruners, number_format, write)
    return networks


def writer(number_format: NumberFormat) -> Write:
    """Times do not depend on values: any examples serve to find ranges."""

    def write(model: keras.Model) -> bytes:
        rng = np.random.default_rng(0)
        examples = tuple(
            rng.normal(size=(_CALIBRATION_EXAMPLES, *tensor.shape[1:])).astype(tensor.dtype)
            for tensor in model.inputs
        )
        return convert_litert(
            model, number_format, calibration=examples if number_format == "int8" else None
        )

    return write
