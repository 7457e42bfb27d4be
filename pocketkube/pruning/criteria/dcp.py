"""The criterion dcp: discrimination-aware channel pruning (Zhuang et al., 2018).

Channels are chosen greedily by the gradient of what two losses say together: how far the next
layers' outputs are from the original network's, and an auxiliary head's loss further on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.linalg import cho_factor, cho_solve

from pocketkube.graph.bottleneck import mixing_calls
from pocketkube.pruning.auxiliary_heads import AuxiliaryHead, attach_heads, loss_at, tensors
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Reader, Selection
from pocketkube.pruning.criteria.taylor import Taylor
from pocketkube.pruning.reconstruction import Response, keep_where_better

STEPS = 4
LAMBDA = 1.0
LARGEST_MOVE = 0.1
SMALLEST_POWER = 1e-6
RIDGE = 1e-5
TINY = 1e-12


class DiscriminationAware(Taylor):
    """Taylor scores say how many units each group keeps, discrimination-aware selection says which."""

    name = "dcp"

    def selection(self, model: keras.Model, calibration: Calibration) -> Selection:
        """Trains auxiliary heads first, and the network a little with them."""
        return _DiscriminationAwareSelection(attach_heads(model, calibration), calibration)


class _DiscriminationAwareSelection(Selection):
    otherwise = "taylor"
    changes_weights = True

    def __init__(self, heads: Sequence[AuxiliaryHead], calibration: Calibration) -> None:
        self._heads, self._calibration = heads, calibration

    def choose(
        self, model: keras.Model, readers: Mapping[str, Reader], members: np.ndarray, count: int
    ) -> np.ndarray:
        return select_by_discrimination(model, self._heads, readers, members, count, self._calibration)

    def settle(self, readers: Mapping[str, Reader], keep: np.ndarray, *, enough: bool) -> None:
        for reader in readers.values():
            keep_where_better(reader.layer, reader.response, keep, fits=enough)


def select_by_discrimination(
    model: keras.Model,
    heads: Sequence[AuxiliaryHead],
    readers: Mapping[str, Reader],
    members: np.ndarray,
    count: int,
    calibration: Calibration,
) -> np.ndarray:
    """The `count` units of `members` that the greedy selection of Zhuang et al. takes.

    The layers that read the units begin without any of them. The units whose weights there have the
    largest gradient of `reconstruction + lambda * discrimination` (Frobenius norm) are taken, the
    weights of all that are taken are optimised for the same loss, and so on. Where the paper is
    silent, or is about one layer and not several that read the same channels:

    - A quarter of the units is taken by each gradient, not one: five passes over the examples.
    - Both terms are in parts of what they are without any of the units, so that lambda = 1 suits
      labels and layers of any scale.
    - Gradients are about inputs of unit power and weights of unit power in their layer, so that how a
      channel's size is split between one layer and the next does not count.
    - The discrimination term is of the first head that all layers which read the units come before;
      of the network's own loss if there is none.
    - Weights begin at the least-squares fit and move by one pass of Newton steps of the
      reconstruction's curvature, each of at most a tenth of the output.

    Args:
        model: The network so far; the layers that read the units are left with the weights found.
        heads: Its auxiliary heads.
        readers: The layers that read the units.
        members: The units to choose from.
        count: How many to keep.
        calibration: Examples.

    Returns:
        The importance of each member: the sooner it was taken, the higher; 0 if it was not.
    """
    readings = [_Reading(each.layer, each.response, members) for each in readers.values()]
    gradients = _gradients(model, _head_after(model, heads, list(readers)), calibration, readings)
    batches = tensors(calibration)
    steps = min(STEPS, count)
    taken, importance = np.zeros(len(members), bool), np.zeros(len(members))
    weight = 0.0
    for step in range(steps + 1):
        for reading in readings:
            reading.fit(taken)
        loss, sums = _one_pass(readings, gradients, batches, weight)
        if step == 0:
            weight = LAMBDA * len(readings) / 2 / max(loss, TINY)
        if step < steps:
            pairs = zip(readings, sums, strict=True)
            squares = np.sum([reading.squares(weight * total) for reading, total in pairs], axis=0)
            order = np.argsort(np.where(taken, np.inf, -squares), kind="stable")
            so_far = count * step // steps
            chosen = order[: count * (step + 1) // steps - so_far]
            taken[chosen] = True
            importance[chosen] = count - so_far - np.arange(len(chosen))
    return importance


def _head_after(
    model: keras.Model, heads: Sequence[AuxiliaryHead], paths: Sequence[str]
) -> AuxiliaryHead | None:
    places = mixing_calls(model)
    last = max(places[path] for path in paths)
    return next((head for head in heads if head.at.call > last), None)


def _one_pass(
    readings: Sequence["_Reading"],
    gradients: Callable[[Any, Any], tuple[float, list[np.ndarray]]],
    batches: Sequence[tuple[Any, Any]],
    weight: float,
) -> tuple[float, list[np.ndarray]]:
    """Moves the weights batch by batch.

    Returns:
        The discrimination loss and its gradient for each reading, mean over all examples.
    """
    sizes = [len(inputs[0]) for inputs, _ in batches]
    mean_loss, means = 0.0, [np.zeros_like(reading.matrix) for reading in readings]
    for number, (batch, size) in enumerate(zip(batches, sizes, strict=True), start=1):
        loss, found = gradients(*batch)
        mean_loss += loss * size / sum(sizes)
        for reading, mean, gradient in zip(readings, means, found, strict=True):
            mean += gradient * size / sum(sizes)
            # Falling steps: the end is the mean of all batches' wishes, not the last one's.
            reading.move(weight * gradient, 1 / number)
    return mean_loss, means


class _Reading:
    """The weights with which one layer reads the units, while they are chosen."""

    def __init__(self, layer: Any, response: Response, members: np.ndarray) -> None:
        position = {unit: i for i, unit in enumerate(members)}
        self._member = np.array([position.get(unit, -1) for unit in response.units])
        self._mine = np.flatnonzero(self._member >= 0)
        self._member = self._member[self._mine]
        others = np.setdiff1d(np.arange(len(response.units)), self._mine)
        self._layer, self._response, self._members = layer, response, len(members)
        self._start = response.matrix[self._mine]
        self._gram = response.gram[np.ix_(self._mine, self._mine)]
        by_others = response.gram[np.ix_(self._mine, others)] @ response.matrix[others]
        self._target = response.cross[self._mine] - by_others
        # What the units add to the output, as the network is now.
        self._energy = max(float((self._start * (self._gram @ self._start)).sum()), TINY)
        power = np.bincount(self._member, np.diag(self._gram), len(members))
        # Units that hardly ever change are not blown up.
        power = np.maximum(power, SMALLEST_POWER * power.max() + TINY)
        self._units_squared = self._energy / power
        self.matrix = np.zeros_like(self._start)
        self._rows = np.zeros(0, int)

    def fit(self, taken: np.ndarray) -> None:
        """The least-squares fit with only the units in the mask `taken`."""
        self._rows = np.flatnonzero(taken[self._member])
        self.matrix = np.zeros_like(self._start)
        if len(self._rows):
            gram = self._gram[np.ix_(self._rows, self._rows)]
            ridge = RIDGE * float(np.trace(gram)) / len(gram) + TINY
            gram = gram + ridge * np.eye(len(gram))
            self._factor = cho_factor(gram)
            right = self._target[self._rows] + ridge * self._start[self._rows]
            self.matrix[self._rows] = cho_solve(self._factor, right)
        self._write()

    def move(self, gradient: np.ndarray, rate: float) -> None:
        """A step against the joint gradient, of the discrimination term's gradient `gradient`."""
        if not len(self._rows):
            return
        joint = self._joint(gradient)[self._rows]
        step = rate * self._energy * cho_solve(self._factor, joint)
        gram = self._gram[np.ix_(self._rows, self._rows)]
        size = np.sqrt(max(float((step * (gram @ step)).sum()), TINY) / self._energy)
        self.matrix[self._rows] -= step * min(1.0, LARGEST_MOVE / size)
        self._write()

    def squares(self, gradient: np.ndarray) -> np.ndarray:
        """The squared Frobenius norm of the joint gradient for each of the units."""
        rows = np.square(self._joint(gradient)).sum(axis=1)
        return np.bincount(self._member, rows, self._members) * self._units_squared

    def gradient(self, kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """With respect to the weights of the units, where the bias keeps the output's mean."""
        rows = kernel.reshape(self._response.matrix.shape)[self._mine].astype(np.float64)
        if bias is not None:
            rows = rows - np.outer(self._response.input_mean[self._mine], bias)
        return rows

    @property
    def variables(self) -> list[tf.Variable]:
        """The layer's kernel and, where it has one, its bias."""
        layer = self._layer
        return [layer.kernel.value, *([layer.bias.value] if layer.use_bias else [])]

    def _joint(self, gradient: np.ndarray) -> np.ndarray:
        return (self._gram @ self.matrix - self._target) / self._energy + gradient

    def _write(self) -> None:
        whole = self._response.matrix.copy()
        whole[self._mine] = self.matrix
        self._layer.kernel.assign(whole.reshape(self._layer.kernel.shape))
        if self._layer.use_bias:
            self._layer.bias.assign(self._response.with_bias(whole).bias)


def _gradients(
    model: keras.Model,
    head: AuxiliaryHead | None,
    calibration: Calibration,
    readings: Sequence[_Reading],
) -> Callable[[Any, Any], tuple[float, list[np.ndarray]]]:
    """From a batch to the discrimination loss and its gradient for each reading."""
    sources = [reading.variables for reading in readings]

    @tf.function(autograph=False, reduce_retracing=True)
    def compute(inputs: Any, labels: Any) -> tuple[tf.Tensor, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variables in sources:
                tape.watch(variables)
            loss = loss_at(model, head, calibration, inputs, labels)
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(loss, sources, unconnected_gradients=zero)
        return loss, keras.tree.map_structure(tf.convert_to_tensor, found)

    def gradients(inputs: Any, labels: Any) -> tuple[float, list[np.ndarray]]:
        loss, found = compute(inputs, labels)
        return float(loss), [
            reading.gradient(kernel.numpy(), *([b.numpy() for b in bias] or [None]))
            for reading, (kernel, *bias) in zip(readings, found, strict=True)
        ]

    return gradients
