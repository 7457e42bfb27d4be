"""Outputs that tell classes apart: of an example, of each pixel, or each of several labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pocketkube.measures import Classes, Maps, MultiLabel
from pocketkube.measures.counts import mean_overlap
from pocketkube.training.head import Head, keras_loss, mean_over_positions, of_shape
from pocketkube.training.losses import (
    TINY,
    loss_of_each,
    mask_weights,
    of_rank,
    rank_of_loss,
    sum_of_each,
)

# Keras's losses of classes: those that take class numbers, and those that take rows over classes.
TAKE_NUMBERS = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy")
TAKE_ROWS = (
    *("categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge"),
    *("binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge"),
    *("kl_divergence", "dice", "tversky"),
)
# A loss with its labels and outputs, which positions count, and their weights.
_Posed = tuple[keras.losses.Loss, tf.Tensor, Any, tf.Tensor | None, tf.Tensor | None]


@dataclass(frozen=True, eq=False)
class ClassHead(Head):
    """Tells classes apart; the score is 1 where the likeliest class is right.

    The distance is `T² KL(teachers ‖ student)` of the distributions softened by the temperature `T`
    (Hinton et al., 2015): the sum over as many axes as a loss that is reduced to a sum has before, else
    the mean over positions.
    A loss of the user's own is given labels as the user gives them, those of a single unit as a column;
    Keras's take class numbers or rows, whichever the labels are.

    Attributes:
        num_classes: How many the output tells apart; a single unit two.
        from_logits: Whether the output is logits, not probabilities.
        class_weights: What the loss of each class is multiplied by; empty where all count alike.
    """

    measure: Classes
    num_classes: int = 2
    from_logits: bool = True
    class_weights: tuple[float, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """See `Head`."""
        known = {"num_classes": self.num_classes, "from_logits": self.from_logits}
        weighted = {"class_weights": self.class_weights} if self.class_weights else {}
        return super().config | known | weighted

    def losses(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Head`."""
        return loss_of_each(*self._posed(labels, outputs, smoothing))

    @property
    def leaves_out(self) -> bool:
        """See `Head`."""
        return self._ignores and self.loss is not None and self.loss.reduction != "sum"

    def counted(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        return mean_over_positions(self._named(labels, outputs)[2])

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`; of positions the part that are right."""
        right, counted = self._right(labels, outputs)
        if self.measure.ignore is None:
            return mean_over_positions(right)
        return tf.math.divide_no_nan(*map(_sum_over_positions, (right, counted)))

    @property
    def is_tallied(self) -> bool:
        """See `Head`: where some positions do not count, all others of all examples count alike."""
        return self.measure.ignore is not None

    def tally(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`: positions that are right, and those that count."""
        return tf.stack([*map(_sum_over_positions, self._right(labels, outputs))], axis=1)

    def score_of_tally(self, tally: tf.Tensor) -> tf.Tensor:
        """See `Head`."""
        return tf.math.divide_no_nan(tally[0], tally[1])

    def softened(self, outputs: Any, temperature: float) -> tf.Tensor:
        """See `Head`."""
        return tf.nn.log_softmax(self._logits(outputs) / temperature)

    def answers(self, said: Any) -> tf.Tensor:
        """See `Head`: the likeliest class."""
        return tf.argmax(said, -1, output_type=tf.int32)

    def mean_of_softened(self, said: Sequence[tf.Tensor]) -> tf.Tensor:
        """See `Head`."""
        return tf.reduce_logsumexp(tf.stack(said), axis=0) - math.log(len(said))

    def distance_to(
        self, outputs: Any, wanted: tf.Tensor, temperature: float, labels: Any = None
    ) -> tf.Tensor:
        """See `Head`."""
        divergence = self._divergence(outputs, wanted, temperature)
        if labels is not None and (rank := self._summed_rank(labels, outputs)):
            if self._ignores:
                divergence *= self._named(labels, outputs)[2]
            divergence *= mask_weights(outputs, divergence, are_summed=True)
            return sum_of_each(of_rank(divergence, rank))
        if labels is None or not self.leaves_out:
            return mean_over_positions(divergence * mask_weights(outputs, divergence))
        counted = self._named(labels, outputs)[2]
        weighted = counted * divergence * mask_weights(outputs, divergence, counted)
        sums = _sum_over_positions(weighted), _sum_over_positions(counted)
        return tf.math.divide_no_nan(*sums)

    @property
    def _ignores(self) -> bool:
        """Whether some labels do not count in the loss; one of the user's own is given all."""
        if self.loss is None or self.measure.ignore is None:
            return False
        return keras_loss(self.loss) is not None

    def _summed_rank(self, labels: Any, outputs: Any) -> int:
        """Of how many axes the loss is reduced to a sum; 0 where there is none, or it is a mean."""
        if self.loss is None or self.loss.reduction != "sum":
            return 0
        return rank_of_loss(*self._posed(labels, outputs, 0.0)[:3])

    def _posed(self, labels: Any, outputs: Any, smoothing: float) -> _Posed:
        """What `loss_of_each` takes: labels are in the form in which the loss takes them."""
        assert self.loss is not None
        labels, given, outputs = tf.convert_to_tensor(labels), outputs, _with_units(outputs)
        function, are_rows = keras_loss(self.loss), _are_rows(labels, outputs)
        weights, counted = self._weights(labels, outputs), None
        if function is not None and self.measure.ignore is not None and not are_rows:
            labels, counted = self._known(labels, outputs)
        if not are_rows and not smoothing and (function is None or function in TAKE_NUMBERS):
            labels = _as_column(labels, outputs) if function is None else _numbers(labels, outputs)
            return self.loss, labels, given, counted, weights
        rows = self._rows(labels, outputs)
        rows = rows * (1 - smoothing) + smoothing / self.num_classes
        loss = self.loss
        if function == "sparse_categorical_crossentropy":
            loss = keras.losses.CategoricalCrossentropy(self.from_logits, reduction=loss.reduction)
        return loss, rows, outputs, counted, weights

    def _divergence(self, outputs: Any, wanted: tf.Tensor, temperature: float) -> tf.Tensor:
        """The distance of each position, `[batch, ...]`."""
        divergence = tf.exp(wanted) * (wanted - self.softened(outputs, temperature))
        return temperature**2 * tf.reduce_sum(divergence, axis=-1)

    def _noise(self, said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # With it, the largest logarithm is each class's as often as the class is likely.
        return rng.gumbel(size=said.shape).astype(said.dtype)

    def _right(self, labels: Any, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """1.0 for positions that are right, and for those that count, `[batch, ...]`."""
        truth, named, counted = self._named(labels, outputs)
        return tf.cast(truth == named, tf.float32) * counted, counted

    def _named(self, labels: Any, outputs: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The true class and the likeliest one, and 1.0 where it counts, `[batch, ...]`."""
        labels, outputs = tf.convert_to_tensor(labels), _with_units(outputs)
        # Shares as they are: the logarithm of one that is none, as of a wrong loss, says nothing.
        named = tf.argmax(self._logits(outputs) if outputs.shape[-1] == 1 else outputs, -1)
        if _are_rows(labels, outputs):
            truth = tf.argmax(labels, -1)
            return truth, named, tf.ones_like(truth, tf.float32)
        truth, counted = self._known(labels, outputs)
        if outputs.shape[-1] == 1 and labels.dtype.is_floating:
            truth = truth > 0.5
        return tf.cast(truth, tf.int64), named, tf.cast(counted, tf.float32)

    def _known(self, labels: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Class numbers, 0 for a label that does not count; and whether it does, `[batch, ...]`."""
        numbers = _without_last(labels, outputs)
        if self.measure.ignore is None:
            return numbers, tf.ones_like(numbers, tf.bool)
        counted = numbers != tf.cast(self.measure.ignore, numbers.dtype)
        return tf.where(counted, numbers, tf.zeros_like(numbers)), counted

    def _weights(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor | None:
        """What each position's loss is multiplied by, `[batch, ...]`."""
        if not self.class_weights:
            return None
        of_class = tf.constant(self.class_weights)
        if _are_rows(labels, outputs):
            rows = tf.cast(labels, tf.float32)
            return tf.linalg.matvec(rows, of_class[: rows.shape[-1]])
        numbers, _ = self._known(labels, outputs)
        if outputs.shape[-1] == 1:
            # Labels of a unit may be shares.
            return of_class[0] + (of_class[1] - of_class[0]) * tf.cast(numbers, tf.float32)
        return tf.gather(of_class, tf.cast(numbers, tf.int32))

    def _rows(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Labels as rows of as many entries as the output has units."""
        units = outputs.shape[-1]
        if units == 1 and not _are_rows(labels, outputs):
            return tf.cast(_without_last(labels, outputs), tf.float32)[..., None]
        if not _are_rows(labels, outputs):
            labels = tf.one_hot(_numbers(labels, outputs), units)
        labels = tf.cast(labels, tf.float32)
        if units == 1:
            return labels[..., -1:]
        missing = units - labels.shape[-1]
        return tf.pad(labels, [[0, 0]] * (len(labels.shape) - 1) + [[0, missing]])

    def _logits(self, outputs: Any) -> tf.Tensor:
        outputs = tf.cast(_with_units(outputs), tf.float32)
        if outputs.shape[-1] == 1:
            # One output stands for the second of two classes.
            logit = outputs if self.from_logits else _log(outputs) - _log(1 - outputs)
            return tf.concat([tf.zeros_like(logit), logit], axis=-1)
        return outputs if self.from_logits else _log(outputs)


@dataclass(frozen=True, eq=False)
class MapHead(ClassHead):
    """Gives each pixel a class; the score is the mean IoU (see `Maps`).

    Over many examples pixels are counted together. The score of one example is the mean over the
    classes that it has or is given.
    """

    measure: Maps

    @property
    def is_tallied(self) -> bool:
        """See `Head`."""
        return True

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        return self.score_of_tally(self.tally(labels, outputs))

    def tally(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`: of each class the pixels that are right, then those that are wrong."""
        truth, named, counted = (_by_example(each) for each in self._named(labels, outputs))
        right = counted * tf.cast(truth == named, tf.float32)
        hits = self._by_class(truth, right)
        either = self._by_class(truth, counted) + self._by_class(named, counted)
        return tf.concat([hits, either - 2 * hits], axis=1)

    def score_of_tally(self, tally: tf.Tensor) -> tf.Tensor:
        """See `Head`."""
        hits, errors = tf.split(tally, 2, axis=-1)
        return mean_overlap(hits, errors, ops)

    def _by_class(self, classes: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        """`[batch, classes]`: how many of the pixels `[batch, pixels]` count for each class."""
        batch = tf.shape(classes, tf.int64)[0]
        places = classes + self.num_classes * tf.range(batch)[:, None]
        found = tf.math.unsorted_segment_sum(counted, places, batch * self.num_classes)
        return tf.reshape(found, [-1, self.num_classes])


@dataclass(frozen=True, eq=False)
class MultiLabelHead(ClassHead):
    """Says of each of several labels whether an example has it; the score is the macro F1.

    Over many examples each label's F1 is of all of them together (see `MultiLabel`). The score of one
    example is the F1 of its own labels; 1 where it has none and none is given. The distance to teachers
    is that of two classes, yes and no, for each label.
    """

    measure: MultiLabel  # type: ignore[assignment]

    @property
    def is_tallied(self) -> bool:
        """See `Head`."""
        return True

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        hits, errors = (_sum_over_positions(each) for each in self._counts(labels, outputs))
        return tf.where(hits + errors > 0, tf.math.divide_no_nan(2 * hits, 2 * hits + errors), 1.0)

    def tally(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`: of each label how often it is found, then how often the answer is wrong."""
        found = [_sum_to_classes(each) for each in self._counts(labels, outputs)]
        return tf.concat(found, axis=1)

    def score_of_tally(self, tally: tf.Tensor) -> tf.Tensor:
        """See `Head`."""
        hits, errors = tf.split(tally, 2, axis=-1)
        return mean_overlap(2 * hits, errors, ops)

    def answers(self, said: Any) -> tf.Tensor:
        """See `Head`: 1 for each label that is likelier there than not."""
        return tf.cast(super().answers(said), tf.float32)

    @property
    def _ignores(self) -> bool:
        return False

    def _posed(self, labels: Any, outputs: Any, smoothing: float) -> _Posed:
        assert self.loss is not None
        labels = tf.cast(of_shape(labels, outputs), tf.float32)
        return self.loss, labels * (1 - smoothing) + smoothing / 2, outputs, None, None

    def _divergence(self, outputs: Any, wanted: tf.Tensor, temperature: float) -> tf.Tensor:
        # As Keras's losses of such labels are.
        return tf.reduce_mean(super()._divergence(outputs, wanted, temperature), axis=-1)

    def _counts(self, labels: Any, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """1.0 for labels that are found, and for answers that are wrong, `[batch, ..., labels]`."""
        truth = tf.cast(of_shape(labels, outputs), tf.float32) > 0.5
        said = tf.argmax(self._logits(outputs), -1) == 1
        return tf.cast(truth & said, tf.float32), tf.cast(truth != said, tf.float32)

    def _logits(self, outputs: Any) -> tf.Tensor:
        return super()._logits(tf.convert_to_tensor(outputs)[..., None])


def _sum_over_positions(values: tf.Tensor) -> tf.Tensor:
    """`[batch]` of `[batch, …]`."""
    return tf.reduce_sum(values, axis=list(range(1, len(values.shape))))


def _sum_to_classes(values: tf.Tensor) -> tf.Tensor:
    """`[batch, classes]` of `[batch, …, classes]`."""
    return tf.reduce_sum(values, axis=list(range(1, len(values.shape) - 1)))


def _by_example(values: tf.Tensor) -> tf.Tensor:
    """`[batch, pixels]` of `[batch, …]`."""
    shape = tf.shape(values)
    return tf.reshape(values, [shape[0], tf.reduce_prod(shape[1:])])


def _are_rows(labels: tf.Tensor, outputs: tf.Tensor) -> bool:
    """Whether labels are rows over classes, not a number for each row `[units]` of outputs."""
    return len(labels.shape) == len(outputs.shape) and labels.shape[-1] > 1


def _without_last(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """One label for each row of outputs."""
    return tf.squeeze(labels, -1) if len(labels.shape) == len(outputs.shape) else labels


def _as_column(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Labels of a single unit in its shape: `[B]` against `[B, 1]` would broadcast to `[B, B]`."""
    if outputs.shape[-1] == 1 and len(labels.shape) == len(outputs.shape) - 1:
        return labels[..., None]
    return labels


def _numbers(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Class numbers, one for each row of outputs; floats may hold them, too."""
    numbers = _without_last(labels, outputs)
    return tf.cast(tf.round(numbers), tf.int32) if numbers.dtype.is_floating else numbers


def _with_units(outputs: Any) -> tf.Tensor:
    """An output `[batch]` as one unit `[batch, 1]`."""
    outputs = tf.convert_to_tensor(outputs)
    return outputs[:, None] if len(outputs.shape) == 1 else outputs


def _log(probabilities: tf.Tensor) -> tf.Tensor:
    return ops.log(ops.clip(probabilities, TINY, 1.0))
