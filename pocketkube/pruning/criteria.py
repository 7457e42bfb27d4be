"""How important a unit is: what each criterion says of it."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import Side, consumers, consumes, heads, makers
from pocketkube.graph.replay import replay
from pocketkube.pruning.calibration import Calibration

NEED_DATA = ("taylor", "lasso", "dcp")


def score_units(
    model: keras.Model, graph: ChannelGraph, criterion: str, calibration: Calibration | None
) -> np.ndarray:
    """Scores every unit: the lower, the sooner it may go.

    Args:
        model: The model.
        graph: Its channel graph.
        criterion: One of l1, l2, bn_scale, fpgm, taylor, lasso, dcp.
        calibration: Examples; only taylor, lasso and dcp look at them.

    Returns:
        A score of at least 0 for each unit, comparable between groups. Infinite where the
        criterion says nothing of a unit, which then stays.

    Raises:
        UserError: If the criterion needs examples and there are none, or BatchNorm and none is there.
    """
    if criterion in NEED_DATA and calibration is None:
        raise UserError(
            f"The criterion {criterion} looks at examples: give a dataset, or use l1, l2, fpgm "
            "or bn_scale."
        )
    if criterion in ("taylor", "dcp"):
        # For dcp they say how many channels each group keeps; its selection then says which.
        assert calibration is not None
        return taylor_scores(model, graph, calibration)
    if criterion == "lasso":
        assert calibration is not None
        return normalise(energy_scores(model, graph, calibration), graph)
    return normalise(WEIGHT_CRITERIA[criterion](graph), graph)


def normalise(scores: np.ndarray, graph: ChannelGraph) -> np.ndarray:
    """Scores in parts of their group's mean, as DepGraph does (Fang et al., 2023)."""
    result = scores.copy()
    for group in graph.groups:
        mean = scores[group.units].mean()
        if mean > 0 and np.isfinite(mean):
            result[group.units] /= mean
    return result


def l1_scores(graph: ChannelGraph) -> np.ndarray:
    """Sums of magnitudes of all weights that a unit touches (Li et al., 2017; over all members)."""
    return _over_sides(graph, np.abs)


def l2_scores(graph: ChannelGraph) -> np.ndarray:
    """Euclidean norms of all weights that a unit touches (the group norm of Fang et al., 2023)."""
    return np.sqrt(_over_sides(graph, np.square))


def bn_scale_scores(graph: ChannelGraph) -> np.ndarray:
    """Magnitudes of the BatchNorm scales of a unit (Liu et al., Network Slimming, 2017).

    Raises:
        UserError: If the model has no BatchNorm with a scale on channels that may go.
    """
    count = graph.units.count
    sums, seen = np.zeros(count), np.zeros(count)
    for use in graph.uses:
        if isinstance(use.op, keras.layers.BatchNormalization) and use.op.scale and use.outputs[0]:
            side = Side(use.path, use.op.gamma, 0, graph.units.of(use.outputs[0]))
            gamma = np.abs(np.asarray(use.op.gamma))
            sums += side.sums(gamma, count)
            seen += side.sums(np.ones_like(gamma), count)
    if not seen.any():
        raise UserError(
            "The criterion bn_scale needs BatchNormalization layers with a scale, and this model has "
            "none on channels that may go: use l1, l2, fpgm or taylor."
        )
    return np.where(seen > 0, sums / np.maximum(seen, 1), np.inf)


def fpgm_scores(graph: ChannelGraph) -> np.ndarray:
    """Sums of distances to the layer's other filters (FPGM, He et al., 2019): the median goes first."""
    count = graph.units.count
    scores = np.zeros(count)
    for side in (*makers(graph), *heads(graph)):
        filters = np.moveaxis(np.asarray(side.weight, np.float64), side.axis, 0)
        filters = filters.reshape(len(filters), -1)
        squares = (filters**2).sum(axis=1)
        gaps = squares[:, None] + squares[None, :] - 2 * filters @ filters.T
        distances = np.sqrt(np.maximum(gaps, 0.0)).sum(axis=1)
        known = side.units >= 0
        scores += np.bincount(side.units[known], distances[known], count)
    return scores


def taylor_scores(model: keras.Model, graph: ChannelGraph, calibration: Calibration) -> np.ndarray:
    """Squared first-order change of the loss where a unit is zero, mean over examples.

    A unit's change is the sum of activation times gradient wherever it is mixed into other channels
    (Molchanov et al., 2019; squared for each example as in Theis et al., 2018). It is in units of
    the loss, so that groups compare without normalising. Of what only feeds outputs without a loss it
    says nothing.
    """
    count = graph.units.count
    ends = {use.path: use.inputs[0] for use in graph.uses if consumes(use)}
    head_sides = list(heads(graph))
    scores = np.zeros(count)
    # Units that something reads, and those that the loss depends on.
    read, counted = np.zeros(count, bool), np.zeros(count, bool)
    for inputs, labels in calibration.batches():
        changes = np.zeros((len(inputs[0]), count))
        with tf.GradientTape() as tape:
            taps: dict[str, tf.Tensor] = {}
            outputs = replay(model, [tf.constant(x) for x in inputs], _watch(tape, ends, taps))
            loss = tf.reduce_sum(calibration.loss(labels, outputs))
        weights = [getattr(side.weight, "value", side.weight) for side in head_sides]
        found = tape.gradient(loss, [*taps.values(), *weights])
        for (path, tensor), gradient in zip(taps.items(), found, strict=False):
            units = graph.units.of(ends[path])  # type: ignore[arg-type]
            known = np.flatnonzero(units >= 0)
            read[units[known]] = True
            if gradient is not None:
                counted[units[known]] = True
                product = (tensor * tf.convert_to_tensor(gradient)).numpy()
                by_channel = product.reshape(len(product), -1, product.shape[-1]).sum(axis=1)
                np.add.at(changes.T, units[known], by_channel[:, known].T)
        scores += (changes**2).sum(axis=0)
        for side, gradient in zip(head_sides, found[len(taps) :], strict=True):
            # Heads meet inside their layer: their change is known for the batch, not each example.
            units = side.units[side.units >= 0]
            read[units] = True
            if gradient is not None:
                counted[units] = True
                product = np.asarray(side.weight) * gradient.numpy()
                scores += side.sums(product, count) ** 2 / len(inputs[0])
    return np.where(read & ~counted, np.inf, scores / calibration.size)


def energy_scores(model: keras.Model, graph: ChannelGraph, calibration: Calibration) -> np.ndarray:
    """Mean square of what a unit adds to the layers it is mixed into, channels taken as independent.

    Says how many channels each group keeps where LASSO then says which.
    """
    count = graph.units.count
    ends = {use.path for use in graph.uses if consumes(use)}
    squares: dict[str, np.ndarray] = {}

    def tap(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if path in ends:
            x = tensors[0].numpy()
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
    for side in heads(graph):
        scores += side.sums(np.asarray(side.weight, np.float64) ** 2, count)
    return scores


def _over_sides(graph: ChannelGraph, value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    sides = (*makers(graph), *consumers(graph), *heads(graph))
    count = graph.units.count
    totals = [side.sums(value(np.asarray(side.weight, np.float64)), count) for side in sides]
    return np.sum(totals, axis=0) if totals else np.zeros(count)


def _watch(tape: tf.GradientTape, paths: dict, taps: dict[str, tf.Tensor]) -> Callable:
    def tap(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if path not in paths:
            return tensors
        # A tensor of its own, so that its gradient is the change through this layer alone.
        own = tf.identity(tensors[0])
        tape.watch(own)
        # Of a layer that is called several times, the last call speaks for all.
        taps[path] = own
        return [own, *tensors[1:]]

    return tap


WEIGHT_CRITERIA: dict[str, Callable[[ChannelGraph], np.ndarray]] = {
    "l1": l1_scores,
    "l2": l2_scores,
    "bn_scale": bn_scale_scores,
    "fpgm": fpgm_scores,
}
