"""The criterion taylor: how much the loss changes where a unit is zero."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import consumes, heads, states
from pocketkube.graph.recurrent import cells_of
from pocketkube.graph.replay import Tap, replay
from pocketkube.keras_private import masked_states
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion


class Taylor(Criterion):
    """Squared first-order change of the loss where a unit is zero, mean over examples."""

    name = "taylor"
    needs_data = True
    is_loss = True

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """In units of the squared loss; see `taylor_scores`."""
        assert calibration is not None
        return taylor_scores(model, graph, calibration)


def taylor_scores(model: keras.Model, graph: ChannelGraph, calibration: Calibration) -> np.ndarray:
    """Squared first-order change of the loss where a unit is zero, mean over examples, `[units]`.

    A unit's change is the sum of activation times gradient wherever it is mixed into other channels,
    at the next step of a recurrent layer too (Molchanov et al., 2019; squared for each example as in
    Theis et al., 2018). It is in units of the loss, so that groups compare without normalising. Of what
    only feeds outputs without a loss it says nothing.
    """
    count = graph.units.count
    ends = {
        use.path: graph.units.of(use.inputs[0])
        for use in graph.uses
        if consumes(use) and use.inputs[0] is not None
    }
    head_sides = list(heads(graph))
    units_of = {id(cell): units for _, cell, units in states(graph)}
    cells = [cell for _, cell, _ in states(graph)]
    scores = np.zeros(count)
    # Units that something reads, and those that the loss depends on.
    read, counted = np.zeros(count, bool), np.zeros(count, bool)
    for inputs, labels in calibration.batches():
        changes = np.zeros((len(inputs[0]), count))
        with tf.GradientTape() as tape:
            taps: list[tuple[str, tf.Tensor]] = []
            masks = _Masks(tape)
            with masked_states(cells, masks.make):
                outputs = replay(
                    model,
                    [tf.constant(x) for x in inputs],
                    _watch(tape, ends, taps),
                    in_training=lambda op: bool(cells_of(op)),
                )
            loss = tf.reduce_sum(calibration.loss(labels, outputs))
        weights = [getattr(side.weight, "value", side.weight) for side in head_sides]
        looked_at = [(ends[path], tensor) for path, tensor in taps]
        looked_at += [(units_of[id(cell)], mask) for cell, mask in masks.made]
        found = tape.gradient(loss, [*(tensor for _, tensor in looked_at), *weights])
        for (units, tensor), gradient in zip(looked_at, found, strict=False):
            known = np.flatnonzero(units >= 0)
            read[units[known]] = True
            if gradient is not None:
                counted[units[known]] = True
                product = (tensor * tf.convert_to_tensor(gradient)).numpy()
                by_channel = product.reshape(len(product), -1, product.shape[-1]).sum(axis=1)
                np.add.at(changes.T, units[known], by_channel[:, known].T)
        scores += (changes**2).sum(axis=0)
        for side, gradient in zip(head_sides, found[len(looked_at) :], strict=True):
            # Heads meet inside their layer: their change is known for the batch, not each example.
            units = side.units[side.units >= 0]
            read[units] = True
            if gradient is not None:
                counted[units] = True
                product = np.asarray(side.weight) * gradient.numpy()
                scores += side.sums(product, count) ** 2 / len(inputs[0])
    return np.where(read & ~counted, np.inf, scores / calibration.size)


class _Masks:
    """Masks of ones for the states of recurrent layers, which the tape watches."""

    def __init__(self, tape: tf.GradientTape) -> None:
        self._tape = tape
        self.made: list[tuple[Any, tf.Tensor]] = []

    def make(self, cell: Any, state: tf.Tensor) -> tf.Tensor:
        """One for a call of a layer."""
        mask = tf.ones_like(state)
        self._tape.watch(mask)
        self.made.append((cell, mask))
        return mask


def _watch(tape: tf.GradientTape, paths: Mapping[str, Any], taps: list[tuple[str, tf.Tensor]]) -> Tap:
    def tap(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if path not in paths:
            return tensors
        # A tensor of its own, so that its gradient is the change through this layer alone.
        own = tf.identity(tensors[0])
        tape.watch(own)
        # Of a layer that is called several times, each call adds to the change.
        taps.append((path, own))
        return [own, *tensors[1:]]

    return tap
