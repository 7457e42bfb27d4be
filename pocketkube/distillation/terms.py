"""How far a student's features are from a teacher's, whatever their sizes."""

import numpy as np
import tensorflow as tf

# Below this a feature map counts as zero, and is not scaled up to unit length.
_TINY = 1e-12


def feature_distance(
    student: tf.Tensor, teacher: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tf.Tensor:
    """Squared distance of features after a projection (FitNets, Romero et al., 2015).

    `‖ s / ‖s‖ - t / ‖t‖ ‖²` for each example, where `s` is the student's features times `kernel`
    plus `bias`, a 1x1 convolution, and `t` the teacher's. Both have unit length, so that the term
    lies within 0 and 4 whatever the layers' scales.

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
    student, teacher = _of_one_size(_float32(student), _float32(teacher), axes)
    projected = tf.tensordot(student, kernel, 1) + bias
    return _distance(projected, teacher)


def attention_distance(student: tf.Tensor, teacher: tf.Tensor) -> tf.Tensor:
    """Squared distance of attention maps (Zagoruyko & Komodakis, 2017).

    A map is the sum of squares over channels at each position, scaled to unit length; no map has
    negative entries, so that the term lies within 0 and 2.

    Args:
        student: `[batch, ..., channels]`.
        teacher: `[batch, ..., teacher channels]`, as many axes; where it has more positions or
            fewer, the larger map is averaged down to the smaller.

    Returns:
        `[batch]`.
    """
    axes = range(1, len(student.shape) - 1)
    maps = [tf.reduce_sum(tf.square(_float32(x)), axis=-1) for x in (student, teacher)]
    return _distance(*_of_one_size(maps[0], maps[1], axes))


def _distance(student: tf.Tensor, teacher: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(_unit(student) - _unit(teacher)), axis=1)


def _unit(features: tf.Tensor) -> tf.Tensor:
    rows = tf.reshape(features, (tf.shape(features)[0], -1))
    return tf.math.l2_normalize(rows, axis=1, epsilon=_TINY)


def _of_one_size(student: tf.Tensor, teacher: tf.Tensor, axes: range) -> tuple[tf.Tensor, tf.Tensor]:
    for axis in axes:
        size = min(student.shape[axis], teacher.shape[axis])
        student, teacher = _averaged(student, axis, size), _averaged(teacher, axis, size)
    return student, teacher


def _averaged(features: tf.Tensor, axis: int, size: int) -> tf.Tensor:
    """Brings an axis down to `size`; each entry is the mean of the stretch that it stands for."""
    if features.shape[axis] == size:
        return features
    averages = tf.constant(_stretches(features.shape[axis], size), tf.float32)
    order = list(range(len(features.shape) - 1))
    order.insert(axis, len(order))
    return tf.transpose(tf.tensordot(features, averages, [[axis], [1]]), order)


def _stretches(entries: int, size: int) -> np.ndarray:
    """Weights `[size, entries]` of averages over `size` stretches of equal length."""
    length = entries / size
    begin = np.arange(size)[:, None] * length
    place = np.arange(entries)[None]
    shared = np.minimum(begin + length, place + 1) - np.maximum(begin, place)
    return np.clip(shared, 0.0, None) / length


def _float32(features: tf.Tensor) -> tf.Tensor:
    return tf.cast(features, tf.float32)
