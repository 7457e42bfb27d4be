"""Fits the next layers' weights to what they gave before channels went, in closed form.

Channel selection by LASSO and least-squares reconstruction (He et al., 2017), as PocketFlow does
them: layer by layer, inputs from the already pruned network, targets from the original one. Where
channels are coupled, one selection serves all layers that read them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.dependency import ChannelGraph, Group
from pocketkube.graph.matrices import consumers, heads
from pocketkube.graph.replay import replay
from pocketkube.pruning.calibration import Calibration

POSITIONS = 64
RIDGE = 1e-5


@dataclass(frozen=True)
class Response:
    """What a layer reads and what it should give, as sums over examples: of fixed size.

    A bias makes up for means: where the layer has one, all is about the mean, else about zero.

    Attributes:
        gram: Of the layer's inputs as rows of patches, `[patch, patch]`.
        cross: Of these with the wanted outputs, bias left out, `[patch, outputs]`.
        input_mean: Of the patches, `[patch]`.
        output_mean: Of the wanted outputs, `[outputs]`.
        units: Unit of each patch entry, or -1.
        matrix: The layer's kernel as it is, `[patch, outputs]`.
        bias: The original layer's, `[outputs]`; zeros where it has none.
    """

    gram: np.ndarray
    cross: np.ndarray
    input_mean: np.ndarray
    output_mean: np.ndarray
    units: np.ndarray
    matrix: np.ndarray
    bias: np.ndarray

    def contributions(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gram of what the units `members` add to the output, and its products with the target.

        The target is what the layer should give, less what it gets from all other channels.
        """
        position = {unit: i for i, unit in enumerate(members)}
        which = np.array([position.get(unit, -1) for unit in self.units])
        mine, others = which >= 0, which < 0
        wanted = self.cross - self.gram[:, others] @ self.matrix[others]
        sums = np.zeros((len(members), int(mine.sum())))
        sums[which[mine], np.arange(int(mine.sum()))] = 1.0
        products = self.gram[np.ix_(mine, mine)] * (self.matrix[mine] @ self.matrix[mine].T)
        return sums @ products @ sums.T, sums @ (wanted[mine] * self.matrix[mine]).sum(axis=1)

    def fitted(self, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The kernel that is best in the least-squares sense with only the patch entries `keep`.

        Returns:
            The kernel, `[patch, outputs]`, and the bias, `[outputs]`.
        """
        gram, ridge = with_ridge(self.gram[np.ix_(keep, keep)])
        matrix = np.zeros_like(self.matrix)
        # Towards the weights as they are, not towards zero, where the inputs say nothing.
        matrix[keep] = np.linalg.solve(gram, self.cross[keep] + ridge * self.matrix[keep])
        return matrix, self.bias_with(matrix)

    def bias_with(self, matrix: np.ndarray) -> np.ndarray:
        """The bias with which the kernel `matrix` gives the wanted mean, `[outputs]`."""
        return self.bias + self.output_mean - self.input_mean @ matrix


def with_ridge(gram: np.ndarray) -> tuple[np.ndarray, float]:
    """A Gram matrix that can be solved with, and what was added to its diagonal."""
    ridge = RIDGE * float(np.trace(gram)) / max(len(gram), 1) + 1e-12
    return gram + ridge * np.eye(len(gram)), ridge


def readers(graph: ChannelGraph, group: Group) -> list[str]:
    """Paths of the convolutions and dense layers that read a group and can be fitted."""
    layers = {use.path: use.op for use in graph.uses}
    return [
        side.path
        for side in consumers(graph)
        if type(layers[side.path]) in (keras.layers.Conv2D, keras.layers.Dense)
        and getattr(layers[side.path], "groups", 1) == 1
        and np.isin(side.units, group.units).any()
    ]


def measure(
    pruned: keras.Model,
    original: keras.Model,
    graph: ChannelGraph,
    paths: Sequence[str],
    calibration: Calibration,
    rng: np.random.Generator,
) -> dict[str, Response]:
    """Runs both networks over the examples and sums up what the layers at `paths` read.

    Args:
        pruned: The network so far, with all its channels; those that went add nothing.
        original: The network as it was.
        graph: The channel graph of `pruned`.
        paths: Layers to measure.
        calibration: Examples.
        rng: Draws the image positions that are looked at.

    Returns:
        A response for each path.
    """
    now = {use.path: use.op for use in graph.uses}
    units = {side.path: side.units for side in consumers(graph)}
    totals: dict[str, list[Any]] = {}
    for inputs, _ in calibration.batches():
        tensors = [tf.constant(x) for x in inputs]
        before, after = _Inputs(paths), _Inputs(paths)
        for network, seen in ((original, before), (pruned, after)):
            with suppress(_AllSeenError):
                replay(network, tensors, seen)
        for path in paths:
            rows = _patches(now[path], after.seen[path])
            wanted = _patches(before.layers[path], before.seen[path])
            rows, wanted = _sample(rows, wanted, rng)
            wanted = wanted @ _matrix(before.layers[path])
            sums = (rows.T @ rows, rows.T @ wanted, rows.sum(axis=0), wanted.sum(axis=0), len(rows))
            so_far = totals.get(path, [0.0] * len(sums))
            totals[path] = [a + b for a, b in zip(so_far, sums, strict=True)]
    return {
        path: _response(now[path], before.layers[path], totals[path], units[path]) for path in paths
    }


def _response(layer: Any, original: Any, totals: Sequence[Any], units: np.ndarray) -> Response:
    gram, cross, inputs, outputs, count = totals
    free = float(layer.use_bias)
    input_mean, output_mean = free * inputs / count, free * outputs / count
    return Response(
        gram - count * np.outer(input_mean, input_mean),
        cross - count * np.outer(input_mean, output_mean),
        input_mean,
        output_mean,
        np.tile(units, len(gram) // len(units)),
        _matrix(layer),
        np.array(original.bias) if original.use_bias else np.zeros(len(outputs)),
    )


def select_by_lasso(responses: Sequence[Response], members: np.ndarray, count: int) -> np.ndarray:
    """The `count` units of `members` that LASSO leaves.

    Minimises `||Y - sum_j b_j X_j W_j||^2 / 2 + lambda |b|_1` over `b`, the layers that read the
    units summed, lambda searched by bisection until `count` entries are left.

    Args:
        responses: The layers that read these units.
        members: The units to choose from.
        count: How many to keep.

    Returns:
        The importance of each member, of which the largest `count` are to be kept.
    """
    parts = [response.contributions(members) for response in responses]
    gram = np.sum([part[0] for part in parts], axis=0)
    target = np.sum([part[1] for part in parts], axis=0)
    low, high = 0.0, float(np.abs(target).max())
    found = beta = np.ones(len(members))
    for _ in range(30):
        middle = (low + high) / 2
        beta = _coordinate_descent(gram, target, middle, beta)
        left = int((beta != 0).sum())
        if left >= count:
            low, found = middle, beta
        if left == count:
            break
        if left < count:
            high = middle
    return np.abs(found)


def _coordinate_descent(
    gram: np.ndarray, target: np.ndarray, penalty: float, start: np.ndarray
) -> np.ndarray:
    beta = start.copy()
    residual = target - gram @ beta
    diagonal = np.maximum(np.diag(gram), 1e-12)
    for _ in range(100):
        largest = 0.0
        for j in range(len(beta)):
            wish = residual[j] + diagonal[j] * beta[j]
            new = np.sign(wish) * max(abs(wish) - penalty, 0.0) / diagonal[j]
            change = new - beta[j]
            if change:
                residual -= gram[:, j] * change
                beta[j] = new
                largest = max(largest, abs(change))
        if largest < 1e-4:
            break
    return beta


def write_fit(layer: Any, response: Response, keep_units: np.ndarray) -> None:
    """Gives `layer` the weights that fit best with only the units in the mask `keep_units`."""
    keep = (response.units < 0) | keep_units[response.units]
    matrix, bias = response.fitted(keep)
    layer.kernel.assign(matrix.reshape(layer.kernel.shape))
    if layer.use_bias:
        layer.bias.assign(bias)


def silence(graph: ChannelGraph, gone: np.ndarray) -> None:
    """Sets the weights that read the units in the mask `gone` to zero, as if they were cut."""
    for side in (*consumers(graph), *heads(graph)):
        out = np.flatnonzero((side.units >= 0) & gone[side.units])
        if len(out):
            weight = np.moveaxis(np.array(side.weight), side.axis, 0)
            weight[out] = 0.0
            side.weight.assign(np.moveaxis(weight, 0, side.axis))


class _AllSeenError(Exception):
    """Ends a pass where nothing that follows is looked at."""


class _Inputs:
    """A tap that remembers what goes into some layers, and stops at the last of them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = set(paths)
        self.seen: dict[str, tf.Tensor] = {}
        self.layers: dict[str, Any] = {}

    def __call__(self, path: str, op: Any, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if path in self._paths:
            self.seen[path], self.layers[path] = tensors[0], op
            if len(self.seen) == len(self._paths):
                raise _AllSeenError
        return tensors


def _patches(layer: Any, x: tf.Tensor) -> np.ndarray:
    """What each output position of a layer reads: `[batch, positions, patch]`."""
    if isinstance(layer, keras.layers.Dense):
        return np.asarray(x, np.float64).reshape(len(x), -1, x.shape[-1])
    patches = tf.image.extract_patches(
        x,
        [1, *layer.kernel_size, 1],
        [1, *layer.strides, 1],
        [1, *layer.dilation_rate, 1],
        layer.padding.upper(),
    )
    return np.asarray(patches).reshape(len(x), -1, patches.shape[-1])


def _sample(
    rows: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    positions = rows.shape[1]
    if positions > POSITIONS:
        chosen = rng.choice(positions, POSITIONS, replace=False)
        rows, wanted = rows[:, chosen], wanted[:, chosen]
    return (
        rows.reshape(-1, rows.shape[-1]).astype(np.float64),
        wanted.reshape(-1, wanted.shape[-1]).astype(np.float64),
    )


def _matrix(layer: Any) -> np.ndarray:
    kernel = np.asarray(layer.kernel, np.float64)
    return kernel.reshape(-1, kernel.shape[-1])
