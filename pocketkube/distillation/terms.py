"""How far a student's features are from a teacher's, whatever their sizes."""

from typing import Any

import tensorflow as tf

from pocketkube.keras_private import mask_of
from pocketkube.training.losses import spread_mask

# Below this a feature map counts as zero, and is not scaled up to unit length.
_TINY = 1e-12


def feature_distance(
    student: tf.Tensor, teacher: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tf.Tensor:
    """Squared distance of features after a projection (FitNets, Romero et al., 2015).

    `‖ s / ‖s‖ - t / ‖t‖ ‖²` for each example, where `s` is the student's features times `kernel`
    plus `bias`, a 1x1 convolution, and `t` the teacher's. Both have unit length, so that the term
    lies within 0 and 4 whatever the layers' scales. Positions that Keras's masks leave out count as 0.

    Args:
        student: `[batch, ..., channels]`.
        teacher: `[batch, ..., teacher channels]`, as many axes; where it has more positions or
            fewer, the larger is averaged down to the smaller.
        kernel: `[channels, teacher channels]`.
        bias: `[teacher channels]`.

    Returns:
        `[batch]`.
    """
    axes = range(1, len(student.shape) - 1)
    masks = mask_of(student), mask_of(teacher)
    student, teacher = _float32(student), _float32(teacher)
    if all(mask is None for mask in masks):
        # At the smaller size, for less to project.
        student, teacher = _of_one_size(student, teacher, axes)
        return _distance(tf.tensordot(student, kernel, 1) + bias, teacher)
    student, teacher = _unmasked(tf.tensordot(student, kernel, 1) + bias, teacher, masks, axes)
    return _distance(*_of_one_size(student, teacher, axes))


def attention_distance(student: tf.Tensor, teacher: tf.Tensor) -> tf.Tensor:
    """Squared distance of attention maps (Zagoruyko & Komodakis, 2017).

    A map is the sum of squares over channels at each position, scaled to unit length; no map has
    negative entries, so that the term lies within 0 and 2. Positions that Keras's masks leave out count
    as 0.

    Args:
        student: `[batch, ..., channels]`.
        teacher: `[batch, ..., teacher channels]`, as many axes; where it has more positions or
            fewer, the larger map is averaged down to the smaller.

    Returns:
        `[batch]`.
    """
    axes = range(1, len(student.shape) - 1)
    ours, theirs = (tf.reduce_sum(tf.square(_float32(x)), axis=-1) for x in (student, teacher))
    ours, theirs = _unmasked(ours, theirs, (mask_of(student), mask_of(teacher)), axes)
    return _distance(*_of_one_size(ours, theirs, axes))


def _distance(student: tf.Tensor, teacher: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(_unit(student) - _unit(teacher)), axis=1)


def _unit(features: tf.Tensor) -> tf.Tensor:
    rows = tf.reshape(features, (tf.shape(features)[0], -1))
    return tf.math.l2_normalize(rows, axis=1, epsilon=_TINY)


def _unmasked(
    student: tf.Tensor, teacher: tf.Tensor, masks: tuple[Any, Any], axes: range
) -> tuple[tf.Tensor, tf.Tensor]:
    """Both with zeros where their masks leave positions out; of as many positions one mask does."""
    ours, theirs = masks
    if student.shape[1] is not None and student.shape[1] == teacher.shape[1]:
        ours, theirs = (theirs if ours is None else ours), (ours if theirs is None else theirs)
    return _zeroed(student, ours, axes), _zeroed(teacher, theirs, axes)


def _zeroed(values: tf.Tensor, mask: Any, axes: range) -> tf.Tensor:
    if mask is None or len(mask.shape) > len(axes) + 1:
        return values
    return values * spread_mask(mask, values)


def _of_one_size(student: tf.Tensor, teacher: tf.Tensor, axes: range) -> tuple[tf.Tensor, tf.Tensor]:
    for axis in axes:
        size = _smaller(student, teacher, axis)
        student, teacher = _averaged(student, axis, size), _averaged(teacher, axis, size)
    return student, teacher


def _smaller(student: tf.Tensor, teacher: tf.Tensor, axis: int) -> Any:
    """The lesser length of an axis, which may be known only when it is there."""
    lengths = student.shape[axis], teacher.shape[axis]
    if None in lengths:
        return tf.minimum(tf.shape(student)[axis], tf.shape(teacher)[axis])
    return min(lengths)


def _averaged(features: tf.Tensor, axis: int, size: Any) -> tf.Tensor:
    """Brings an axis down to `size`; each entry is the mean of the stretch that it stands for."""
    if isinstance(size, int) and features.shape[axis] == size:
        return features
    averages = _stretches(tf.shape(features)[axis], size)
    order = list(range(len(features.shape) - 1))
    order.insert(axis, len(order))
    return tf.transpose(tf.tensordot(features, averages, [[axis], [1]]), order)


def _stretches(entries: Any, size: Any) -> tf.Tensor:
    """Weights `[size, entries]` of averages over `size` stretches of equal length."""
    length = tf.cast(entries, tf.float64) / tf.cast(size, tf.float64)
    begin = tf.cast(tf.range(size), tf.float64)[:, None] * length
    place = tf.cast(tf.range(entries), tf.float64)[None]
    shared = tf.minimum(begin + length, place + 1) - tf.maximum(begin, place)
    return tf.cast(tf.maximum(shared, 0.0) / length, tf.float32)


def _float32(features: tf.Tensor) -> tf.Tensor:
    return tf.cast(features, tf.float32)
