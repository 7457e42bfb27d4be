"""What the uncompressed network's layers read, summed up once, so that any cut is fitted in moments.

The pruner fits a layer to what it reads in the network as it is cut so far, which is measured anew for
each cut. Here it is what the layer reads in the uncompressed network, without the channels that go:
then the sums are the same for all trials, and a fit is linear algebra alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import consumers
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.reconstruction import (
    Moments,
    Response,
    inputs_of,
    measure,
    readers,
    write_fit,
)

# The sums of a layer of so many inputs take as many megabytes as a small network's all together.
MOST_INPUTS = 2304


@dataclass(frozen=True)
class Reading:
    """Sums over what a layer reads, as rows of patches.

    Attributes:
        gram: About the mean where the layer has a bias, else about zero, `[patch, patch]`.
        mean: Of the patches, `[patch]`; zeros where the layer has no bias.
        held_gram: `sum x xT` over examples held back, `[patch, patch]`.
        held_sum: `sum x` over them, `[patch]`.
        held_count: Rows of them.
    """

    gram: np.ndarray
    mean: np.ndarray
    held_gram: np.ndarray
    held_sum: np.ndarray
    held_count: int


def read_by_layers(
    model: keras.Model, graph: ChannelGraph, calibration: Calibration, seed: int
) -> dict[str, Reading]:
    """What the layers read that a cut of any group touches, by their paths.

    Args:
        model: The uncompressed network.
        graph: Its channel graph.
        calibration: Examples; one in four is held back.
        seed: Of the image positions that are looked at.
    """
    layers = {use.path: use.op for use in graph.uses}
    paths = list(dict.fromkeys(path for group in graph.groups for path in readers(graph, group)))
    paths = [path for path in paths if inputs_of(layers[path]) <= MOST_INPUTS]
    if not paths or not calibration.can_be_fitted_to:
        return {}
    rng = np.random.default_rng(seed)
    found = measure(model, model, graph, paths, calibration, rng)
    return {
        path: Reading(
            each.gram.astype(np.float32),
            each.input_mean.astype(np.float32),
            each.held_back.gram.astype(np.float32),
            each.held_back.inputs.astype(np.float32),
            each.held_back.count,
        )
        for path, each in found.items()
        if each.is_finite
    }


def fit_readers(
    graph: ChannelGraph, readings: Mapping[str, Reading], keep: np.ndarray
) -> list[tuple[keras.layers.Layer, Sequence[np.ndarray]]]:
    """Gives all layers that read a unit which goes the weights that make up for it; in place.

    Args:
        graph: Of the network whose weights are changed.
        readings: As `read_by_layers` gives them.
        keep: A mask of the units that are kept, `[units]`.

    Returns:
        The layers that were changed, each with the weights that it had.
    """
    layers = {use.path: use.op for use in graph.uses}
    changed: list[tuple[keras.layers.Layer, Sequence[np.ndarray]]] = []
    for side in consumers(graph):
        reading = readings.get(side.path)
        known = side.units >= 0
        if reading is None or keep[side.units[known]].all():
            continue
        layer = layers[side.path]
        changed.append((layer, layer.get_weights()))
        write_fit(layer, _response(layer, reading, side.units), keep)
    return changed


def _response(layer: keras.layers.Layer, reading: Reading, units: np.ndarray) -> Response:
    """What the pruner would have measured, where the network before the layer is whole."""
    kernel = np.asarray(layer.kernel, np.float64)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    gram, mean = reading.gram.astype(np.float64), reading.mean.astype(np.float64)
    held, held_sum = reading.held_gram.astype(np.float64), reading.held_sum.astype(np.float64)
    held_cross = held @ matrix
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else np.zeros(matrix.shape[1])
    return Response(
        gram,
        gram @ matrix,
        mean,
        mean @ matrix,
        np.tile(units, len(gram) // len(units)),
        matrix,
        bias,
        Moments(
            reading.held_count,
            held,
            held_cross,
            held_sum,
            held_sum @ matrix,
            float((held_cross * matrix).sum()),
        ),
        bool(layer.use_bias),
    )
