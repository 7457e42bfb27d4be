"""The criterion lasso: which channels the next layers' outputs can be made of (He et al., 2017)."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import consumers, consumes, inner_consumers
from pocketkube.graph.replay import replay
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion, Reader, Selection
from pocketkube.pruning.criteria.normalising import normalise
from pocketkube.pruning.reconstruction import Response


class Lasso(Criterion):
    """Energies say how many units each group keeps, LASSO regression says which."""

    name = "lasso"
    needs_data = True
    always_fits = True

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """Energies in parts of each group's mean; see `energy_scores`."""
        assert calibration is not None
        return normalise(energy_scores(model, graph, calibration), graph)

    def selection(self, model: keras.Model, calibration: Calibration) -> Selection:
        """LASSO over all layers that read a group."""
        return _LassoSelection()


class _LassoSelection(Selection):
    otherwise = "energy"
    changes_weights = False

    def choose(
        self, model: keras.Model, readers: Mapping[str, Reader], members: np.ndarray, count: int
    ) -> np.ndarray:
        return select_by_lasso([reader.response for reader in readers.values()], members, count)

    def settle(self, readers: Mapping[str, Reader], keep: np.ndarray, *, enough: bool) -> None:
        """Nothing: the weights are fitted in any case."""


def energy_scores(model: keras.Model, graph: ChannelGraph, calibration: Calibration) -> np.ndarray:
    """Mean square of what a unit adds to the layers it is mixed into, channels taken as independent."""
    count = graph.units.count
    axes = {use.path: use.inputs[0].axis for use in graph.uses if consumes(use) and use.inputs[0]}
    squares: dict[str, np.ndarray] = {}

    def tap(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if path in axes:
            x = np.moveaxis(tensors[0].numpy(), axes[path], -1)
            mean = np.square(x, dtype=np.float64).reshape(-1, x.shape[-1]).mean(axis=0) * len(x)
            squares[path] = squares.get(path, 0.0) + mean
        return tensors

    for inputs, _ in calibration.batches():
        replay(model, [tf.constant(x) for x in inputs], tap)
    scores = np.zeros(count)
    for side in consumers(graph):
        weight = np.asarray(side.weight, np.float64) ** 2
        shape = [1] * weight.ndim
        shape[side.axis] = -1
        # Groups of a convolution share the axis: their channels' squares are added.
        square = squares[side.path].reshape(-1, len(side.units)).sum(axis=0)
        scores += side.sums(weight * square.reshape(shape), count)
    for side in inner_consumers(graph):
        scores += side.sums(np.asarray(side.weight, np.float64) ** 2, count)
    return scores


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
