"""The criterion taylor: how much the loss changes where a unit is zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.matrices import consumes, heads, mixes, states
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
        """In units of the squared loss; see `taylor_scores`.

        Raises:
            UserError: If the loss has no gradient by any unit.
        """
        assert calibration is not None
        scores = taylor_scores(model, graph, calibration)
        if len(scores) and np.isinf(scores).all():
            raise UserError(
                f"The criterion {self.name} scores channels by the loss's gradients, and of "
                f"{model.name} there are none: no gradient goes through what gives its outputs, as "
                "argmax; use l1, l2, fpgm or lasso."
            )
        return scores


def taylor_scores(model: keras.Model, graph: ChannelGraph, calibration: Calibration) -> np.ndarray:
    """Squared first-order change of the loss where a unit is zero, mean over examples, `[units]`.

    A unit's change is the sum of activation times gradient wherever it ends: where it is mixed into
    other channels, multiplied with others or summed up, at the next step of a recurrent layer too
    (Molchanov et al., 2019; squared for each example as in Theis et al., 2018). It is in units of the
    loss, so that groups compare without normalising. What the loss does not depend on, as it feeds
    outputs without one alone, is infinite.
    """
    count = graph.units.count
    ends = _ends(graph)
    head_sides = list(heads(graph))
    units_of = {id(cell): units for _, cell, units in states(graph)}
    cells = [cell for _, cell, _ in states(graph)]
    scores = np.zeros(count)
    # Units that the loss depends on.
    counted = np.zeros(count, bool)
    for inputs, labels in calibration.batches():
        changes = np.zeros((len(inputs[0]), count))
        with tf.GradientTape() as tape:
            taps: list[tuple[End, tf.Tensor]] = []
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
        looked_at = [*taps, *((End(-1, units_of[id(cell)]), mask) for cell, mask in masks.made)]
        found = tape.gradient(loss, [*(tensor for _, tensor in looked_at), *weights])
        for (end, tensor), gradient in zip(looked_at, found, strict=False):
            known = np.flatnonzero(end.units >= 0)
            if gradient is not None:
                counted[end.units[known]] = True
                product = (tensor * tf.convert_to_tensor(gradient)).numpy()
                by_channel = _by_channel(np.moveaxis(product, end.axis, -1), len(changes))
                np.add.at(changes.T, end.units[known], by_channel[:, known].T)
        scores += (changes**2).sum(axis=0)
        for side, gradient in zip(head_sides, found[len(looked_at) :], strict=True):
            # Heads meet inside their layer: their change is known for the batch, not each example.
            if gradient is not None:
                counted[side.units[side.units >= 0]] = True
                product = np.asarray(side.weight) * gradient.numpy()
                scores += side.sums(product, count) ** 2 / len(inputs[0])
    return np.where(counted, scores / calibration.size, np.inf)


@dataclass(frozen=True)
class End:
    """An input of a layer or operation whose channels are in none of its outputs.

    Attributes:
        axis: The input's axis of channels, counted from the end.
        units: The unit of each channel, below 0 where it has none.
    """

    axis: int
    units: np.ndarray


def _ends(graph: ChannelGraph) -> dict[str, list[list[End | None]]]:
    """By path what ends in each call of it, one after the other: one of each input."""
    found: dict[str, list[list[End | None]]] = {}
    for use in graph.uses:
        for call in use.calls:
            found.setdefault(call.path, []).append(_ends_in(call, graph))
    return found


def _ends_in(use: Use, graph: ChannelGraph) -> list[End | None]:
    """Each input's end; None where it has no channels that may go, or they go on in an output."""
    given = [graph.units.of(channels) for channels in use.outputs if channels is not None]
    going_on = np.concatenate([np.empty(0, int), *given])
    found: list[End | None] = []
    for position, channels in enumerate(use.inputs):
        end = None if channels is None else End(channels.axis, graph.units.of(channels))
        if end is not None and not _is_mixed(use, position):
            known = end.units[end.units >= 0]
            end = None if np.isin(known, going_on).any() or not len(known) else end
        found.append(end)
    return found


def _is_mixed(use: Use, position: int) -> bool:
    """Whether a layer mixes what it is given there, even if a residual connection ties its outputs."""
    if position == 0:
        return consumes(use) or (mixes(use.op) and getattr(use.op, "depth_multiplier", 1) > 1)
    # States that a recurrent layer begins with go on in its own.
    return mixes(use.op) and not cells_of(use.op)


def _by_channel(values: np.ndarray, examples: int) -> np.ndarray:
    """Sums over all but examples and channels, `[examples, channels]`, of values `[..., channels]`."""
    channels = values.shape[-1]
    if values.size % (examples * channels):
        # What is the same for all examples, as places in a sequence are.
        whole = values.reshape(-1, channels).sum(axis=0) / examples
        return np.tile(whole, (examples, 1))
    return values.reshape(examples, -1, channels).sum(axis=1)


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


def _watch(
    tape: tf.GradientTape,
    ends: Mapping[str, list[list[End | None]]],
    taps: list[tuple[End, tf.Tensor]],
) -> Tap:
    calls = {path: iter(found) for path, found in ends.items()}

    def tap(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        # A tensor of its own, so that its gradient is the change through this call alone; the same
        # one wherever the call is given the same.
        own: dict[int, tf.Tensor] = {}
        for end, tensor in zip(next(calls[path]), tensors, strict=True):
            if end is not None and id(tensor) not in own:
                own[id(tensor)] = tf.identity(tensor)
                tape.watch(own[id(tensor)])
                # Of a layer that is called several times, each call adds to the change.
                taps.append((end, own[id(tensor)]))
        return [own.get(id(tensor), tensor) for tensor in tensors]

    return tap
