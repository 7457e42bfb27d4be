"""Estimates BatchNorm's statistics anew after channels went."""

import keras
import numpy as np
import tensorflow as tf
from keras.layers import BatchNormalization as Normalization

from pocketkube.graph.layer_rules import known_as
from pocketkube.graph.replay import replay
from pocketkube.keras_private import flat_layers
from pocketkube.pruning.calibration import Calibration

# A channel whose variance is less than this part of what it was, or of its mean squared, is constant.
CONSTANT = 1e-10
# Statistics are taken back where the loss is so many times what it was, and more than chance explains:
# of a network that is far off its loss says little.
CLEARLY_WORSE = 1.1
STANDARD_ERRORS = 2.0


def recalibrate(model: keras.Model, calibration: Calibration) -> None:
    """Sets BatchNorms' moving statistics to those of all calibration examples together.

    Each layer sees what those before it make of a batch in training mode. Of a channel that is the
    same in all of them, the examples do not tell the variance, which stays as it was. A frozen one
    keeps its statistics.

    Args:
        model: The model; changed in place.
        calibration: Examples; the labels are not looked at.
    """
    found = {id(norm): Statistics(norm) for norm in norms_of(model)}
    if not found:
        return

    def look(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if id(op) in found:
            found[id(op)].add(*tensors)
        return tensors

    for inputs, _ in calibration.batches():
        replay(model, [tf.constant(x) for x in inputs], look, in_training=normalises)
    for each in found.values():
        each.write()


def recalibrate_where_better(model: keras.Model, calibration: Calibration) -> list[str]:
    """The same, unless the loss is clearly lower with the statistics as they are.

    They are estimated on some examples and held against the others.

    Args:
        model: The model; changed in place.
        calibration: Examples, labels and the loss.

    Returns:
        A sentence for the user where the statistics stay as they are.
    """
    norms = norms_of(model)
    if not norms:
        return []
    if not calibration.can_be_fitted_to:
        return [
            f"BatchNorm's statistics stay as they were: {calibration.size} calibration_examples are "
            "too few to estimate them anew."
        ]
    before = [(np.array(norm.moving_mean), np.array(norm.moving_variance)) for norm in norms]
    held_back = calibration.held_back
    as_they_were = losses_of(model, held_back)
    recalibrate(model, calibration.others)
    anew = losses_of(model, held_back)
    if not is_clearly_worse(as_they_were, anew):
        return []
    for norm, (mean, variance) in zip(norms, before, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
    return [kept_note(as_they_were, anew)]


def kept_note(as_they_were: np.ndarray, anew: np.ndarray) -> str:
    """A sentence for the user about statistics that stay, from the losses of examples held back."""
    return (
        "BatchNorm's statistics stay as they were: estimated anew, they make the loss of "
        f"{len(anew)} examples held back {anew.mean():.4g} instead of {as_they_were.mean():.4g}."
    )


class Statistics:
    """Mean and variance of all that goes into a BatchNorm, joined batch by batch.

    Of a channel that is the same in all of it, it does not tell the variance, which stays as it was.
    """

    def __init__(self, norm: Normalization) -> None:
        self._norm = norm
        self._before = np.array(norm.moving_variance, np.float64)
        # Values, their mean, and the sum of their squared distances from it.
        self._count, self._mean, self._spread = 0, np.zeros(()), np.zeros(())

    def add(self, x: tf.Tensor, mask: tf.Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            x: `[b, …]`.
            mask: Which steps count, `[b, steps]`; all if None.
        """
        axis = self._norm.axis % len(x.shape)
        if mask is not None:
            # As Keras, which knows masks where channels lie along the last axis.
            x, axis = tf.boolean_mask(x, tf.cast(mask, bool)), axis - len(mask.shape) + 1
            if not len(x):
                return
        others = [each for each in range(len(x.shape)) if each != axis]
        moments = tf.nn.moments(tf.cast(x, tf.float32), others)
        mean, variance = (np.asarray(each, np.float64) for each in moments)
        count = int(np.prod([x.shape[each] for each in others]))
        total = self._count + count
        off = mean - self._mean
        self._spread = self._spread + variance * count + off**2 * (self._count * count / total)
        self._mean = self._mean + off * (count / total)
        self._count = total

    def write(self) -> None:
        """Gives the layer the statistics of all batches together."""
        variance = self._spread / self._count
        changes = variance > CONSTANT * np.maximum(self._before, self._mean**2)
        self._norm.moving_mean.assign(self._mean)
        self._norm.moving_variance.assign(np.where(changes, variance, self._before))


def norms_of(model: keras.Model) -> list[Normalization]:
    """Every BatchNorm of a model whose statistics may change, those of nested models included.

    A frozen one's need not be those of the examples: what reads it was trained with them as they are.
    """
    return [layer for layer in flat_layers(model) if normalises(layer) and layer.trainable]


def normalises(op: object) -> bool:
    """Whether a layer is a BatchNorm that computes as Keras's do.

    What others mean by their statistics nobody knows.
    """
    return known_as(op) is Normalization


def is_clearly_worse(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the losses of the same examples, `[examples]`, are clearly higher than they were."""
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return bool(np.isfinite(before).all())
    more = after - before
    noise = STANDARD_ERRORS * more.std() / np.sqrt(len(more))
    return bool(after.mean() > CLEARLY_WORSE * before.mean() and more.mean() > noise)


def losses_of(model: keras.Model, calibration: Calibration) -> np.ndarray:
    """The loss of each example, `[examples]`."""
    losses = [
        np.asarray(calibration.loss(labels, replay(model, [tf.constant(x) for x in inputs], _pass)))
        for inputs, labels in calibration.batches()
    ]
    return np.concatenate(losses).astype(np.float64)


def _pass(path: str, op: object, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    return tensors
