"""Losses of each example: Keras's own before they are reduced, and that of landmarks."""

from functools import reduce
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from pocketkube.keras_private import apply_mask, mask_of
from pocketkube.measures.points import Normalizer, as_points, normalizers

TINY = 1e-7
# The reduction that divides by the sum of the weights, not by how many examples there are.
WEIGHTED_MEAN = "mean_with_sample_weight"
# Errors beneath this part of the normaliser count squared. The best models are off by some three
# times as much on 300-W: there, all points pull alike.
SQUARED_BELOW = 0.01


def loss_of_each(
    loss: keras.losses.Loss,
    labels: Any,
    outputs: Any,
    counted: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """The loss of each example, whose mean over a batch is what Keras gives for the batch.

    Args:
        loss: The loss.
        labels: `[batch, ...]` in the form that it takes.
        outputs: `[batch, ...]`.
        counted: `[batch, ...]`: which positions count; all if None.
        weights: `[batch, ...]`: what each position's loss is multiplied by, over their mean where the
            loss is reduced to a `WEIGHTED_MEAN`.

    Returns:
        `[batch]`. Where a loss gives one number for the whole batch, each example's is that number;
        where it is reduced to a sum, each example's is the sum of its own times the batch's size.
    """
    masks = [counted, mask_of(outputs)]
    labels, outputs = (ops.convert_to_tensor(each, loss.dtype) for each in (labels, outputs))
    values = loss.call(labels, outputs)
    masks = [mask for mask in (*masks, mask_of(values)) if mask is not None]
    values = ops.convert_to_tensor(values, loss.dtype)
    is_of_batch = not values.shape.rank
    if is_of_batch:
        values = tf.fill([tf.shape(outputs)[0]], values)
        # A loss that sees all positions at once has none of each to leave out.
        masks = []
    mask = reduce(tf.logical_and, masks) if masks else None
    if weights is not None:
        weights = of_rank(tf.cast(weights, values.dtype), values.shape.rank)
        if loss.reduction == WEIGHTED_MEAN:
            weights = over_mean(weights, mask)
        values *= weights
    if mask is not None:
        # Without weights a mean with weights is one.
        reduction = "mean" if loss.reduction in (None, WEIGHTED_MEAN) else loss.reduction
        values *= apply_mask(None, mask, values.dtype, reduction)
    if loss.reduction == "sum" and not is_of_batch:
        return sum_of_each(values)
    return tf.reduce_mean(values, axis=list(range(1, len(values.shape))))


def rank_of_loss(loss: keras.losses.Loss, labels: Any, outputs: Any) -> int:
    """How many axes a loss has before it is reduced: 0 of the whole batch, 1 of each example, or more.

    Args:
        loss: The loss.
        labels: As `loss_of_each` takes them.
        outputs: Likewise.
    """
    labels, outputs = (ops.convert_to_tensor(each, loss.dtype) for each in (labels, outputs))
    return len(ops.convert_to_tensor(loss.call(labels, outputs)).shape)


def sum_of_each(values: tf.Tensor) -> tf.Tensor:
    """`[batch]` of `[batch, …]`: sums, times the batch's size, so that their mean is the sum of all."""
    batch = tf.cast(tf.shape(values)[0], values.dtype)
    return tf.reduce_sum(values, axis=list(range(1, len(values.shape)))) * batch


def of_rank(values: tf.Tensor, rank: int) -> tf.Tensor:
    """Values of positions as values of what a loss gives one number for: means over the last axes."""
    return tf.reduce_mean(values, axis=list(range(rank, len(values.shape))))


def over_mean(weights: tf.Tensor, counted: tf.Tensor | None = None) -> tf.Tensor:
    """Weights of which the mean is 1, as the sum of theirs is what Keras divides by.

    Args:
        weights: `[batch, ...]`.
        counted: Of the same shape: which of them count, or to which part; all alike if None.
    """
    counted = tf.ones_like(weights) if counted is None else tf.cast(counted, weights.dtype)
    total = tf.reduce_sum(weights * counted)
    return tf.math.divide_no_nan(weights * tf.reduce_sum(counted), total)


def mask_weights(
    outputs: Any, values: tf.Tensor, counted: tf.Tensor | None = None, *, are_summed: bool = False
) -> tf.Tensor:
    """What values are multiplied by, so that positions that Keras's mask leaves out do not count.

    Args:
        outputs: `[batch, ...]`, which may have a mask.
        values: Those of its positions, `[batch, ...]`, with as many axes as the mask or more.
        counted: Of which the mean over the batch is one: 1.0 for positions that count, `[batch, ...]`;
            all if None.
        are_summed: Whether the sum of the values is wanted, not their mean.

    Returns:
        1.0, or what can be multiplied by `values`: the mean over the batch is then one over what the
        mask lets through, as that of a loss of Keras's is.
    """
    mask = mask_of(outputs)
    if mask is None or len(mask.shape) > len(values.shape):
        return tf.ones((), values.dtype)
    through = spread_mask(mask, values)
    if are_summed:
        return through
    every = tf.ones_like(through) if counted is None else tf.cast(counted, values.dtype)
    both = tf.reduce_sum(every * through)
    return through * tf.math.divide_no_nan(tf.reduce_sum(every), both)


def spread_mask(mask: Any, values: tf.Tensor) -> tf.Tensor:
    """A mask `[batch, ...]` as factors of values, which have its axes and may have more behind them."""
    shape = tf.concat([tf.shape(mask), [1] * (len(values.shape) - len(mask.shape))], axis=0)
    return tf.reshape(tf.cast(mask, values.dtype), shape)


@keras.saving.register_keras_serializable("pocketkube")
class LandmarkLoss(keras.losses.Loss):
    """Smooth L1 (Girshick, 2015) of the points' errors over the normaliser, the mean over coordinates.

    Squared errors leave the small ones, which the NME is made of in the end, without a pull (Feng et
    al., 2018). Over the normaliser, the loss is the same in pixels and in parts of the image.

    Args:
        normalize_by: See `Points`.
        name: What to call it.
        reduction: How Keras reduces it.
        dtype: Of its computations.
    """

    def __init__(
        self,
        normalize_by: Normalizer,
        name: str = "smooth_l1",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        # JSON has lists alone.
        self.normalize_by = tuple(normalize_by) if isinstance(normalize_by, list) else normalize_by

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each example, `[batch]`."""
        points, found = as_points(y_true, ops), as_points(y_pred, ops)
        # A label's normaliser was seen to have a length; that of a teacher's points is not known to.
        lengths = ops.maximum(normalizers(points, self.normalize_by, ops), TINY)
        errors = ops.abs(found - points) / lengths[:, None, None]
        squared = ops.square(errors) / (2 * SQUARED_BELOW)
        smooth = ops.where(errors < SQUARED_BELOW, squared, errors - SQUARED_BELOW / 2)
        return ops.mean(smooth, axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {**super().get_config(), "normalize_by": self.normalize_by}
